// Goal: what is quick for one stays bounded for ten thousand at once. Method: calls to the storage are counted.
import { describe, expect, it } from "vitest";
import {
  connect,
  defineJob,
  InvalidOptionError,
  type JobHandle,
  json,
  type Logger,
  systemClock,
} from "../../src/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import type { Interest, Unwatch } from "../../src/storage/storage.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { Due } from "../../src/worker/due.ts";
import { storages } from "../support/storages.ts";
import { turns, until, world } from "../support/world.ts";

const noop = defineJob({ name: "noop", payload: json<unknown>(), run: () => "done" });

function fail(): never {
  throw new Error("no");
}

describe.each(storages)("a crowd on $label", (kind) => {
  it("shares commits when many are cancelled, retried and removed at once", async () => {
    await using here = await world(kind);
    const handles = await here.jobs.enqueueMany(
      noop,
      Array.from({ length: 1_200 }, (_, i) => i),
    );
    const ids = handles.map(({ id }) => id);
    const before = here.faults.calls.get("change") ?? 0;
    const cancelled = await Promise.all(ids.map((id) => here.jobs.cancel(id, "all of them")));
    expect(new Set(cancelled)).toEqual(new Set(["cancelled"]));
    expect((here.faults.calls.get("change") ?? 0) - before).toBe(3);
    expect((await here.jobs.count({ state: "cancelled" })).n).toBe(1_200);
    // What is asked of one job happens in the order of asking.
    const [id] = ids as [string];
    const [retried, removed, missing] = await Promise.all([
      here.jobs.retry(id),
      here.jobs.remove(id),
      here.jobs.cancel(id),
    ]);
    expect([retried, removed, missing]).toEqual([true, true, "missing"]);
  });

  it("refuses exactly those whose change failed", async () => {
    await using here = await world(kind);
    const { id } = await here.jobs.enqueue(noop, 1);
    here.faults.plan("change", { kind: "reject", error: new Error("no") });
    await expect(here.jobs.cancel(id)).rejects.toThrow("no");
    expect(await here.jobs.cancel(id)).toBe("cancelled");
  });

  it("looks at each awaited job when there is news of it, not at all of them each time", async () => {
    await using here = await world(kind);
    const handles = await here.jobs.enqueueMany(
      noop,
      Array.from({ length: 600 }, (_, i) => i),
    );
    const results = Promise.all(handles.map((handle) => handle.result({ timeout: "5m" })));
    await turns();
    const worker = here.jobs.worker([noop]);
    expect(await runUntilIdle(worker)).toBe(600);
    expect(new Set(await results)).toEqual(new Set(["done"]));
    const looked = here.faults.args("get").flatMap(([ids]) => ids as number[]).length;
    // Once when the wait began, once at the end, and whatever the slow looks at all of them made of it.
    expect(looked).toBeLessThan(600 * 40);
  });

  it("ends a page of large jobs early, with a cursor to go on", async () => {
    await using here = await world(kind);
    const large = "x".repeat(1_000_000);
    for (let i = 0; i < 20; i += 10) {
      await here.jobs.enqueueMany(
        noop,
        Array.from({ length: 10 }, () => large),
      );
    }
    const first = await here.jobs.list({ state: "available", limit: 1_000 });
    expect(first.jobs.length).toBeLessThan(20);
    const second = await here.jobs.list({ state: "available", limit: 1_000, after: first.next as string });
    expect(first.jobs.length + second.jobs.length).toBe(20);
    expect(second.next).toBeUndefined();
  });

  it("refuses a filter that would not filter", async () => {
    await using here = await world(kind);
    const { jobs } = here;
    await expect(jobs.count({ tag: "a" } as object)).rejects.toThrow(/"tag".*Known keys/);
    await expect(jobs.count({ queue: 7 } as object)).rejects.toThrow(InvalidOptionError);
    await expect(jobs.list({ state: "dead", nmae: "a" } as never)).rejects.toThrow(/"nmae"/);
    await expect(jobs.list({ state: "dead", after: 7 } as never)).rejects.toThrow(InvalidOptionError);
    await expect(jobs.list(null as never)).rejects.toThrow(InvalidOptionError);
  });

  it("serves the queue that connect names as the default", async () => {
    await using here = await world(kind, { defaults: { queue: "elsewhere" } });
    const handle = await here.jobs.enqueue(noop, 1);
    expect((await handle.get())?.queue).toBe("elsewhere");
    expect(await runUntilIdle(here.jobs.worker([noop]))).toBe(1);
  });

  it("stops a worker whose state never comes, and one whose state is never disposed", async () => {
    await using here = await world(kind);
    const never = new Promise<never>(() => undefined);
    const stuck = here.jobs.worker([noop], { state: () => never });
    void stuck.start();
    await expect(stuck.stop({ timeout: 10 })).resolves.toBeUndefined();
    const clinging = here.jobs.worker([noop], { state: () => ({ [Symbol.asyncDispose]: () => never }) });
    await clinging.start();
    await expect(clinging.stop({ timeout: 10 })).resolves.toBeUndefined();
  });

  it("refuses a batch that is too large before it has serialized all of it", async () => {
    await using here = await world(kind);
    let serialized = 0;
    const payload = {
      text: "x".repeat(1_000_000),
      get counted() {
        serialized += 1;
        return 1;
      },
    };
    await expect(
      here.jobs.enqueueMany(
        noop,
        Array.from({ length: 100 }, () => payload),
      ),
    ).rejects.toThrow(/batch is .* bytes/i);
    expect(serialized).toBeLessThan(50);
    expect((await here.jobs.count()).n).toBe(0);
  });

  it("retries a job whose schema fails by itself, and gives up one whose payload it refuses", async () => {
    await using here = await world(kind);
    let isDown = true;
    const schema = {
      "~standard": {
        version: 1 as const,
        vendor: "test",
        validate: (value: unknown) => {
          if (value !== "enqueued first" || runs === 0) return { value };
          if (isDown) throw new Error("the service is down");
          return { value };
        },
      },
    };
    let runs = 0;
    const checked = defineJob({ name: "checked", payload: schema, run: () => "ran" });
    const handle = await here.jobs.enqueue(checked, "enqueued first");
    runs = 1;
    const worker = here.jobs.worker([checked]);
    await runUntilIdle(worker);
    expect(await handle.get()).toMatchObject({
      state: "scheduled",
      error: { message: "the service is down" },
    });
    isDown = false;
    await here.clock.advance("1m");
    await runUntilIdle(worker);
    expect(await handle.result({ timeout: "5s" })).toBe("ran");
  });

  it("is not harmed by a random that answers nonsense or throws", async () => {
    for (const random of [() => Number.NaN, () => -5, () => 9e9, (): never => fail()]) {
      await using here = await world(kind, { random });
      const fails = defineJob({ name: "fails", maxRetries: 1, run: () => fail() });
      const handle = await here.jobs.enqueue(fails);
      const worker = here.jobs.worker([fails]);
      await runUntilIdle(worker);
      const job = await handle.get();
      expect(job?.state).toBe("scheduled");
      expect(Number(job?.runAt) - here.clock.now()).toBeLessThanOrEqual(2_400);
      await here.clock.advance("1h");
      await runUntilIdle(worker);
      expect((await handle.get())?.state).toBe("dead");
    }
  });

  it("goes on when the logger throws, and refuses what is no logger", async () => {
    const full = (): never => {
      throw new Error("the disk of the log is full");
    };
    const logger: Logger = { debug: full, info: full, warn: full, error: full };
    await using here = await world(kind, { logger });
    const fails = defineJob({
      name: "fails",
      maxRetries: 0,
      run: () => {
        throw new Error("no");
      },
    });
    const handle = await here.jobs.enqueue(fails);
    expect(await runUntilIdle(here.jobs.worker([fails]))).toBe(1);
    expect((await handle.get())?.state).toBe("dead");
    await expect(here.another({ logger: {} as Logger })).rejects.toThrow(/logger/);
  });
});

// Guards: a machine that slept, or whose clock was set forward, kept due jobs waiting for a timer of the old time.
it("makes due jobs available when it is told of a due time that has passed, whatever its timer says", async () => {
  let now = 1_000;
  let promotions = 0;
  const due = new Due({
    clock: {
      now: () => now,
      at: (at, fire, keep) => systemClock.at(at <= now ? 0 : Date.now() + 3_600_000, fire, keep),
    },
    promote: async () => {
      promotions += 1;
      return undefined;
    },
    failed: (error) => expect.fail(String(error)),
  });
  due.next(5_000);
  due.next(5_000);
  now = 6_000;
  due.next(5_000);
  await until(() => promotions === 1);
  due.stop();
});

describe("a crowd that is waited for", () => {
  it("is no more than a job server lets one connection watch, and let go of at once", async () => {
    const open = new Set<object>();
    let most = 0;
    class Watched extends MemoryStorage {
      override watch(interest: Interest, wake: () => void): Unwatch {
        const end = super.watch(interest, wake);
        open.add(end);
        most = Math.max(most, open.size);
        return () => {
          open.delete(end);
          end();
        };
      }
    }
    await using jobs = await connect(new Watched());
    const handles: JobHandle[] = [];
    for (let i = 0; i < 3; i++) {
      handles.push(
        ...(await jobs.enqueueMany(
          noop,
          Array.from({ length: 3_400 }, () => 1),
        )),
      );
    }
    const warnings: Error[] = [];
    const warn = (warning: Error): void => void warnings.push(warning);
    process.on("warning", warn);
    const stop = new AbortController();
    const waiting = jobs.waitAll(handles, { timeout: "5m", signal: stop.signal });
    expect([open.size, most]).toEqual([5_000, 5_000]);
    stop.abort(new Error("enough"));
    expect(open.size).toBe(0);
    await expect(waiting).rejects.toThrow("enough");
    const again = jobs.waitAll(handles, { timeout: "5m" });
    await using worker = jobs.worker([noop], { concurrency: 100 });
    await worker.start();
    expect(new Set((await again).map(({ state }) => state))).toEqual(new Set(["completed"]));
    process.off("warning", warn);
    expect([warnings, open.size < 10]).toEqual([[], true]);
  });
});
