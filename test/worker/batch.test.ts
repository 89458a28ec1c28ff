import { afterEach, describe, expect, it } from "vitest";
import {
  type BatchItem,
  cancel,
  defineBatchJob,
  defineJob,
  fixed,
  implementBatch,
  InvalidOptionError,
  json,
  type NoResult,
  reschedule,
  RetryAfter,
  snooze,
  StateError,
  UnrecoverableError,
  type Worker,
} from "../../src/index.ts";
import { collectExports } from "../../src/supervisor/collect-exports.ts";
import { perform, runUntilIdle } from "../../src/testing/index.ts";
import { engines, type StorageKind, storages } from "../support/storages.ts";
import { type World, world } from "../support/world.ts";

// Goal: jobs that one call does together are jobs like all others: each has its own end, attempts, signal and lease.

const memory = engines.find(({ label }) => label === "memory") as StorageKind;
const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

let here: World;
afterEach(() => here?.[Symbol.asyncDispose]());

/** What a worker tells of ends, in order. */
function told(worker: Worker): string[] {
  const lines: string[] = [];
  for (const event of [
    "completed",
    "failed",
    "dead",
    "cancelled",
    "snoozed",
    "rescheduled",
    "released",
  ] as const) {
    worker.on(
      event,
      ({ id, attempt }: { id: string; attempt: number }) => void lines.push(`${event} ${id} ${attempt}`),
    );
  }
  return lines;
}

describe.each(storages)("a batch, on $label", (kind) => {
  it("has what is ready, up to its bound, of one queue; each job has its own result", async () => {
    here = await world(kind);
    const { jobs } = here;
    const calls: string[] = [];
    const square = defineBatchJob({
      name: "square",
      payload: json<number>(),
      queue: (n) => (n < 30 ? "low" : "high"),
      run: (items, ctx) => {
        calls.push(`${ctx.queue} ${items.length}`);
        return items.map(({ payload }) => payload * payload);
      },
    });
    const handles = await jobs.enqueueMany(square, numbers(60));
    const worker = jobs.worker([square], { queues: ["low", "high"] });
    expect(await runUntilIdle(worker)).toBe(60);
    expect(calls.sort()).toEqual(["high 25", "high 5", "low 25", "low 5"]);
    const results: number[] = await Promise.all(handles.map((handle) => handle.result({ timeout: "1m" })));
    expect(results).toEqual(numbers(60).map((n) => n * n));
  });

  it("fails by itself what fails, each with its own attempts", async () => {
    here = await world(kind);
    const { jobs, clock } = here;
    const seen: number[][] = [];
    const shaky = defineBatchJob({
      name: "shaky",
      maxRetries: 1,
      backoff: fixed("1s"),
      run: (items) => {
        seen.push(items.map(({ job }) => job.attempt));
        return items.map(({ payload, job }) => (payload === "bad" ? new Error(`no ${job.attempt}`) : "done"));
      },
    });
    const handles = await jobs.enqueueMany(shaky, ["good", "bad", "good"]);
    const worker = jobs.worker([shaky]);
    expect(await runUntilIdle(worker)).toBe(3);
    await jobs.enqueue(shaky, "good");
    await clock.advance("1s");
    expect(await runUntilIdle(worker)).toBe(2);
    expect(seen[0]).toEqual([1, 1, 1]);
    expect(seen.slice(1).flat().sort()).toEqual([1, 2]);
    const states = await Promise.all(handles.map(async (handle) => (await handle.get())?.state));
    expect(states).toEqual(["completed", "dead", "completed"]);
    const attempts = await jobs.attempts((handles[1] as { id: string }).id);
    expect(attempts.map(({ error }) => error.message)).toEqual(["no 1", "no 2"]);
  });
});

describe("what is said of a job", () => {
  async function run(
    handler: (
      items: readonly BatchItem<unknown>[],
    ) => Promise<unknown[] | undefined> | unknown[] | undefined | void,
    payloads: unknown[],
  ): Promise<{ states: unknown[]; worker: Worker; ids: string[] }> {
    here = await world(memory);
    const batch = defineBatchJob({ name: "batch", backoff: fixed("1m"), run: handler });
    const handles = await here.jobs.enqueueMany(batch, payloads);
    const worker = here.jobs.worker([batch]);
    await runUntilIdle(worker);
    const states = await Promise.all(
      handles.map(async (handle) => {
        const job = await handle.get();
        return [job?.state, job?.attempt, job?.error?.message ?? job?.reason ?? job?.result];
      }),
    );
    return { states, worker, ids: handles.map(({ id }) => id) };
  }

  it("through its item counts, whatever the handler does then", async () => {
    const { states } = await run((items) => {
      const [a, b, c, d, e, f, g] = items;
      a?.complete("early");
      b?.fail(new UnrecoverableError("hopeless"));
      c?.snooze("5m");
      d?.reschedule("1h");
      e?.retryAfter("30s", "busy");
      f?.cancel("not wanted");
      g?.fail("first");
      g?.complete("the last word");
      throw new Error("all others");
    }, numbers(8));
    expect(states).toEqual([
      ["completed", 1, "early"],
      ["dead", 1, "hopeless"],
      ["scheduled", 0, undefined],
      ["scheduled", 0, undefined],
      ["scheduled", 1, "busy"],
      ["cancelled", 1, "not wanted"],
      ["completed", 1, "the last word"],
      ["scheduled", 1, "all others"],
    ]);
  });

  it("by the array counts where its item says nothing", async () => {
    const outcomes = (): (NoResult | Error | number | undefined)[] => [
      1,
      undefined,
      snooze("5m"),
      reschedule("1h"),
      cancel("no"),
      new RetryAfter("1s", "later"),
      new Error("failed"),
      2,
    ];
    const { states } = await run(async (items) => {
      items[7]?.cancel("by its item");
      return outcomes();
    }, numbers(8));
    expect(states).toEqual([
      ["completed", 1, 1],
      ["completed", 1, undefined],
      ["scheduled", 0, undefined],
      ["scheduled", 0, undefined],
      ["cancelled", 1, "no"],
      ["scheduled", 1, "later"],
      ["scheduled", 1, "failed"],
      ["cancelled", 1, "by its item"],
    ]);
  });

  it("is nothing when the handler just returns: then it is done", async () => {
    const { states } = await run(() => undefined, [1, 2]);
    expect(states).toEqual([
      ["completed", 1, undefined],
      ["completed", 1, undefined],
    ]);
  });

  it("is unclear when the array has another length: all have failed", async () => {
    const { states } = await run(() => [1], [1, 2]);
    const problem = expect.stringMatching(/Return an outcome for each of the 2 jobs.*these are 1\.$/);
    expect(states).toEqual([
      ["scheduled", 1, problem],
      ["scheduled", 1, problem],
    ]);
  });

  it("is not kept when it is no array: the work is done all the same", async () => {
    const { states } = await run(() => ({ rows: 2 }) as unknown as undefined, [1]);
    expect(states).toEqual([["completed", 1, expect.stringContaining("returns nothing, or an array")]]);
  });

  it("is refused when the batch has ended, and when JSON cannot carry it", async () => {
    let kept: BatchItem | undefined;
    await run(
      (items) => {
        kept = items[0] as BatchItem;
        expect(() => kept?.complete(1n)).toThrow("cannot be stored");
      },
      [1],
    );
    expect(() => kept?.fail(new Error("late"))).toThrow(StateError);
  });

  it("is told as events, and settled in one call", async () => {
    here = await world(memory);
    const batch = defineBatchJob({
      name: "batch",
      run: (items) => items.map(({ payload }) => (payload === 1 ? new UnrecoverableError("no") : payload)),
    });
    const handles = await here.jobs.enqueueMany(batch, [0, 1, 2]);
    const worker = here.jobs.worker([batch]);
    const lines = told(worker);
    const [a, b, c] = handles.map(({ id }) => id);
    await runUntilIdle(worker);
    expect(lines).toEqual([`completed ${a} 1`, `dead ${b} 1`, `completed ${c} 1`]);
    const settled = here.faults.args("exchange").map(([settlements]) => (settlements as unknown[]).length);
    expect(settled.filter((n) => n > 0)).toEqual([3]);
  });
});

describe("a definition of batches", () => {
  it("can be bound to a definition that producers know", async () => {
    here = await world(memory);
    const { jobs } = here;
    const known = defineJob({ name: "known", payload: json<{ n: number }>(), maxRetries: 7 });
    const bound = implementBatch(known, {
      maxBatch: 2,
      run: (items) => items.map(({ payload }) => payload.n + 1),
    });
    const handle = await jobs.enqueue(known, { n: 1 });
    await runUntilIdle(jobs.worker([bound]));
    expect(await handle.result({ timeout: "1m" })).toBe(2);
    expect((await handle.get())?.maxRetries).toBe(7);
    expect(() => implementBatch(bound, { run: () => undefined })).toThrow(InvalidOptionError);
  });

  it("is a job like others to those who load modules, and to perform()", async () => {
    const double = defineBatchJob({
      name: "double",
      payload: json<number>(),
      run: (items) =>
        items.map(({ payload, job }) => (job.attempt === 1 ? new Error("not yet") : payload * 2)),
    });
    expect(collectExports([{ path: "jobs.js", exports: { double } }]).definitions).toEqual([double]);
    expect(await perform(double, 4, { attempt: 2 })).toMatchObject({ outcome: "completed", result: 8 });
    expect(await perform(double, 4)).toMatchObject({ outcome: "retry", error: { message: "not yet" } });
  });

  it("is refused when it makes no sense", () => {
    const run = (): undefined => undefined;
    expect(() => defineBatchJob({ name: "odd", maxBatch: 0, run })).toThrow(
      "maxBatch is 0. Use an integer from 1 to 1000.",
    );
    expect(() => defineBatchJob({ name: "odd", maxWait: "2m", run })).toThrow(InvalidOptionError);
    expect(() => defineBatchJob({ name: "odd", run: undefined as unknown as () => void })).toThrow(
      "Use a function of",
    );
    const thread = { name: "odd", run, thread: new URL(import.meta.url) };
    expect(() => defineBatchJob(thread)).toThrow("A batch runs in the worker's own thread");
    expect(() => defineBatchJob({ name: "odd", run, attempts: 3 } as never)).toThrow(InvalidOptionError);
    expect(() => defineBatchJob({ name: "odd", run, setup: run } as never)).toThrow("setup is ");
    const around = { run: () => undefined };
    expect(() => defineBatchJob({ name: "odd", run, middleware: [around] })).toThrow(
      "there is only `enqueue`",
    );
  });
});
