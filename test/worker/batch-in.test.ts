import { afterEach, describe, expect, it } from "vitest";
import {
  type BatchContext,
  type BatchItem,
  defineBatchJob,
  fixed,
  InvalidOptionError,
  type JobHandle,
  StateError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { joining, PretendedTransaction } from "../support/joining-storage.ts";
import { engines, type StorageKind } from "../support/storages.ts";
import { type World, world } from "../support/world.ts";

// Goal: jobs of a batch that are completed in a transaction end as that transaction ended, each for itself.
// Method: pretended transactions; the real ones, with their savepoints, are in test/postgres/batches.test.ts.

const memory = engines.find(({ label }) => label === "memory") as StorageKind;

let here: World;
afterEach(() => here?.[Symbol.asyncDispose]());

type Handle = (items: readonly BatchItem<number>[], ctx: BatchContext, tx: PretendedTransaction) => unknown;

/** One call with jobs 0 to n − 1, once more for what was retried. Answers state, spent attempts and what is kept of each. */
async function runs(n: number, ...handlers: Handle[]): Promise<unknown[]> {
  here = await world(joining(memory));
  let call = 0;
  const batch = defineBatchJob<"batch", number, number, Promise<unknown[] | undefined>>({
    name: "batch",
    backoff: fixed(0),
    maxRetries: handlers.length - 1,
    maxBatch: 100,
    run: async (items, ctx) => {
      const handler = handlers[call] as Handle;
      call += 1;
      return (await handler(items, ctx, new PretendedTransaction())) as undefined;
    },
  });
  const handles = await here.jobs.enqueueMany(
    batch,
    Array.from({ length: n }, (_, i) => i),
  );
  await runUntilIdle(here.jobs.worker([batch]));
  return endsOf(handles);
}

function endsOf(handles: readonly JobHandle[]): Promise<unknown[]> {
  return Promise.all(
    handles.map(async (handle) => {
      const job = await handle.get();
      return [job?.state, job?.attempt, job?.error?.code ?? job?.error?.message ?? job?.result];
    }),
  );
}

const numbersOf = (items: readonly BatchItem<number>[]): number[] => items.map(({ payload }) => payload);

describe("ctx.completeIn(tx) of a batch", () => {
  it("completes all of which nothing else was said, with the results that were", async () => {
    const ends = await runs(3, async (items, ctx, tx) => {
      items[0]?.complete("first");
      items[1]?.cancel("no");
      const { completed, stale } = await ctx.completeIn(tx);
      expect([numbersOf(completed as BatchItem<number>[]), stale]).toEqual([[0, 2], []]);
      await tx.commit();
      throw new Error("after the commit");
    });
    expect(ends).toEqual([
      ["completed", 1, "first"],
      ["cancelled", 1, undefined],
      ["completed", 1, undefined],
    ]);
  });

  it("completes those that are named; the others end with the handler", async () => {
    const ends = await runs(3, async (items, ctx, tx) => {
      await ctx.completeIn(tx, items.slice(1));
      await tx.commit();
      throw new Error("the first has failed");
    });
    expect(ends).toEqual([
      ["dead", 1, "the first has failed"],
      ["completed", 1, undefined],
      ["completed", 1, undefined],
    ]);
  });

  it("is void when the transaction does not commit, whatever was said or returned", async () => {
    const ends = await runs(2, async (items, ctx, tx) => {
      items[0]?.complete(1);
      await ctx.completeIn(tx);
      tx.rollback();
    });
    expect(ends).toEqual([
      ["dead", 1, "JOBWRIGHT_ROLLED_BACK"],
      ["dead", 1, "JOBWRIGHT_ROLLED_BACK"],
    ]);
  });

  it("fails with what is thrown when it does not commit, and may be made again in the next run", async () => {
    const ends = await runs(
      2,
      async (_items, ctx, tx) => {
        await ctx.completeIn(tx);
        tx.rollback();
        throw new Error("no luck");
      },
      async (_items, ctx, tx) => {
        await ctx.completeIn(tx);
        await tx.commit();
      },
    );
    expect(ends).toEqual([
      ["completed", 2, undefined],
      ["completed", 2, undefined],
    ]);
  });

  it("tells which jobs are not this worker's any more, and does nothing about them", async () => {
    const ends = await runs(2, async (items, ctx, tx) => {
      const first = new PretendedTransaction();
      await ctx.completeIn(first, [items[0] as BatchItem]);
      await first.commit();
      const { completed, stale } = await ctx.completeIn(tx);
      expect([numbersOf(completed as BatchItem<number>[]), numbersOf(stale as BatchItem<number>[])]).toEqual([
        [1],
        [0],
      ]);
      await tx.commit();
    });
    expect(ends).toEqual([
      ["completed", 1, undefined],
      ["completed", 1, undefined],
    ]);
  });

  it("refuses items of others", async () => {
    await runs(1, async (items, ctx, tx) => {
      await expect(ctx.completeIn(tx, [{ ...items[0] } as BatchItem])).rejects.toThrow(InvalidOptionError);
    });
  });
});

describe("ctx.isolate(tx, item, work)", () => {
  it("completes what goes well and fails the rest alone, with what it threw", async () => {
    const ends = await runs(3, async (items, ctx, tx) => {
      const done: boolean[] = [];
      for (const item of items) {
        done.push(
          await ctx.isolate(tx, item, async () => {
            if (item.payload === 1) throw new Error("bad one");
            item.complete(`row ${item.payload}`);
          }),
        );
      }
      expect(done).toEqual([true, false, true]);
      await tx.commit();
    });
    expect(ends).toEqual([
      ["completed", 1, "row 0"],
      ["dead", 1, "bad one"],
      ["completed", 1, "row 2"],
    ]);
  });

  it("fails all when the transaction is rolled back in the end, each with its own error where it has one", async () => {
    const ends = await runs(2, async (items, ctx, tx) => {
      for (const item of items) {
        await ctx.isolate(tx, item, async () => {
          if (item.payload === 1) throw new Error("bad one");
        });
      }
      tx.rollback();
      throw new Error("no commit");
    });
    expect(ends).toEqual([
      ["dead", 1, "no commit"],
      ["dead", 1, "bad one"],
    ]);
  });

  it("forgets a failure when the handler tries again in another transaction", async () => {
    const ends = await runs(2, async (items, ctx, tx) => {
      for (const item of items) {
        await ctx.isolate(tx, item, () => Promise.reject(new Error("first try")));
      }
      tx.rollback();
      const second = new PretendedTransaction();
      for (const item of items) await ctx.isolate(second, item, async () => undefined);
      await second.commit();
    });
    expect(ends).toEqual([
      ["completed", 1, undefined],
      ["completed", 1, undefined],
    ]);
  });

  it("is refused beside another one in the same transaction: savepoints stand inside of each other", async () => {
    await runs(2, async (items, ctx, tx) => {
      const [a, b] = items as [BatchItem, BatchItem];
      const both = [a, b].map((item) => ctx.isolate(tx, item, async () => undefined));
      expect((await Promise.allSettled(both)).map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
      await expect(both[1]).rejects.toThrow(StateError);
      await tx.commit();
    });
  });
});

describe("ctx.bisect(tx, items, work)", () => {
  it("finds what fails in halves, and calls with good ones alone no more often than it must", async () => {
    const calls: number[][] = [];
    const ends = await runs(16, async (items, ctx, tx) => {
      const done = await ctx.bisect(tx, items, async (_tx, some) => {
        calls.push(numbersOf(some));
        const bad = some.find(({ payload }) => payload === 5);
        if (bad !== undefined) throw new Error("five");
      });
      expect(numbersOf(done)).toEqual([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
      await tx.commit();
    });
    expect(ends.map((end) => (end as unknown[])[0])).toEqual(
      Array.from({ length: 16 }, (_, n) => (n === 5 ? "dead" : "completed")),
    );
    expect(ends[5]).toEqual(["dead", 1, "five"]);
    // 16, 8, (4 good), 4, 2, (2 good) …
    expect(calls.map(({ length }) => length)).toEqual([16, 8, 4, 4, 2, 1, 1, 2, 8]);
  });

  it("leaves out what is stale, and does the work of the others without it", async () => {
    const calls: number[][] = [];
    const ends = await runs(4, async (items, ctx, tx) => {
      const first = new PretendedTransaction();
      await ctx.completeIn(first, [items[2] as BatchItem]);
      await first.commit();
      const done = await ctx.bisect(tx, items, async (_tx, some) => void calls.push(numbersOf(some)));
      expect(numbersOf(done)).toEqual([0, 1, 3]);
      await tx.commit();
    });
    expect(calls).toEqual([
      [0, 1, 2, 3],
      [0, 1, 3],
    ]);
    expect(ends.map((end) => (end as unknown[])[0])).toEqual(Array(4).fill("completed"));
  });

  it("says what it needs where jobs are stored elsewhere", async () => {
    here = await world(memory);
    const problems: unknown[] = [];
    const batch = defineBatchJob({
      name: "batch",
      run: async (items, ctx) => {
        for (const call of [
          () => ctx.completeIn({}),
          () => ctx.isolate({}, items[0] as BatchItem, async () => undefined),
          () => ctx.bisect({}, items, async () => undefined),
        ]) {
          problems.push(await call().catch((error: unknown) => error));
        }
      },
    });
    const handle = await here.jobs.enqueue(batch, 0);
    await runUntilIdle(here.jobs.worker([batch]));
    expect(problems).toEqual([expect.any(StateError), expect.any(StateError), expect.any(StateError)]);
    expect((await handle.get())?.state).toBe("completed");
  });
});
