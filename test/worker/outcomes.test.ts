// oxlint-disable no-throw-literal, unicorn/no-thenable -- what handlers should not do is what is tested here
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  cancel,
  defineJob,
  exponential,
  fixed,
  json,
  linear,
  type NoResult,
  reschedule,
  RetryAfter,
  snooze,
  type StandardSchema,
  UnrecoverableError,
  type WorkerEvents,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import type { Worker } from "../../src/worker/worker.ts";
import { storages } from "../support/storages.ts";
import { type World, world } from "../support/world.ts";

/** Every event of a worker in order: its name and what it said. */
export function record(worker: Worker): [string, Record<string, unknown>][] {
  const seen: [string, Record<string, unknown>][] = [];
  const names: (keyof WorkerEvents)[] = [
    "started",
    "completed",
    "failed",
    "dead",
    "cancelled",
    "snoozed",
    "rescheduled",
    "released",
    "stale",
    "overdue",
    "rescued",
  ];
  for (const name of names) {
    worker.on(name, (about: unknown) => void seen.push([name, about as Record<string, unknown>]));
  }
  return seen;
}

describe.each(storages)("how a run ends, on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("retries by its backoff to the millisecond, and is dead after maxRetries + 1 attempts", async () => {
    here = await world(kind);
    const { jobs, clock } = here;
    const attempts: number[] = [];
    const failing = defineJob({
      name: "failing",
      maxRetries: 3,
      backoff: exponential({ first: "2s", factor: 3, max: "10s", jitter: 0 }),
      run: (_payload, ctx) => {
        attempts.push(ctx.job.attempt);
        throw new Error(`attempt ${ctx.job.attempt}`);
      },
    });
    const handle = await jobs.enqueue(failing, 0);
    const worker = jobs.worker([failing]);
    const events = record(worker);
    expect(await runUntilIdle(worker)).toBe(1);
    for (const delay of [2_000, 6_000, 10_000]) {
      expect(await handle.get()).toMatchObject({
        state: "scheduled",
        runAt: new Date(clock.now() + delay),
        error: { message: `attempt ${attempts.length}` },
      });
      await clock.advance(delay - 1);
      expect(await runUntilIdle(worker)).toBe(0);
      await clock.advance(1);
      expect(await runUntilIdle(worker)).toBe(1);
    }
    expect(attempts).toEqual([1, 2, 3, 4]);
    expect(await handle.get()).toMatchObject({ state: "dead", attempt: 4, error: { message: "attempt 4" } });
    const kept = await jobs.attempts(handle.id);
    expect(kept.map(({ attempt, error, processId }) => [attempt, error.message, processId])).toEqual(
      [1, 2, 3, 4].map((n) => [n, `attempt ${n}`, worker.processId]),
    );
    expect(kept[3]?.startedAt).toEqual(new Date(clock.now()));
    expect(events.map(([name]) => name)).toEqual(
      [..."123"].flatMap(() => ["started", "failed"]).concat("started", "dead"),
    );
    expect(events[1]?.[1]).toMatchObject({ id: handle.id, name: "failing", attempt: 1, retryInMs: 2_000 });
    // From the fourth attempt on it is an error that someone should look at.
    const levels = here.lines.filter(({ message }) => message.includes("failing")).map(({ level }) => level);
    expect(levels).toEqual(["warn", "warn", "warn", "error"]);
  });

  it("adds jitter from the random numbers handed in", async () => {
    here = await world(kind, { random: () => 0.5 });
    const failing = defineJob({
      name: "failing",
      backoff: linear({ step: "10s", max: "1m", jitter: 0.4 }),
      run: () => Promise.reject(new Error("no")),
    });
    const handle = await here.jobs.enqueue(failing, 0);
    await runUntilIdle(here.jobs.worker([failing]));
    expect((await handle.get())?.runAt).toEqual(new Date(here.clock.now() + 12_000));
  });

  it("retries at once with a backoff of 0, without end when asked, and counts every run", async () => {
    here = await world(kind);
    let runs = 0;
    const stubborn = defineJob({
      name: "stubborn",
      maxRetries: Number.POSITIVE_INFINITY,
      backoff: fixed(0),
      run: () => {
        runs += 1;
        if (runs < 60) throw new Error(`run ${runs}`);
        return runs;
      },
    });
    const handle = await here.jobs.enqueue(stubborn, 0);
    expect(await runUntilIdle(here.jobs.worker([stubborn]))).toBe(60);
    expect(await handle.get()).toMatchObject({ state: "completed", attempt: 60, result: 60 });
    expect((await handle.get())?.error).toBeUndefined();
    const kept = await here.jobs.attempts(handle.id);
    expect(kept).toHaveLength(50);
    expect(kept.map(({ number }) => number)).toEqual([...span(1, 10), ...span(20, 59)]);
  });

  it("ends at once what cannot be helped, and waits as long as the handler asks", async () => {
    here = await world(kind);
    class QuotaError extends UnrecoverableError {}
    const hopeless = defineJob({ name: "hopeless", run: () => Promise.reject(new QuotaError("no more")) });
    const busy = defineJob({
      name: "busy",
      maxRetries: 1,
      run: () => {
        throw new RetryAfter("90s", "come back");
      },
    });
    const dead = await here.jobs.enqueue(hopeless, 0);
    const later = await here.jobs.enqueue(busy, 0);
    const worker = here.jobs.worker([hopeless, busy]);
    expect(await runUntilIdle(worker)).toBe(2);
    expect(await dead.get()).toMatchObject({ state: "dead", attempt: 1, error: { name: "QuotaError" } });
    expect((await later.get())?.runAt).toEqual(new Date(here.clock.now() + 90_000));
    await here.clock.advance("90s");
    await runUntilIdle(worker);
    // It asks for a retry, but there is none left.
    expect(await later.get()).toMatchObject({ state: "dead", attempt: 2, error: { message: "come back" } });
  });

  it("snoozes without spending an attempt, and reschedules with attempts anew", async () => {
    here = await world(kind);
    const { jobs, clock } = here;
    const steps: (() => NoResult | string)[] = [
      () => {
        throw new Error("once");
      },
      () => snooze("10s"),
      () => snooze(new Date(clock.now() + 20_000)),
      () => reschedule("1h"),
      () => "done",
    ];
    const seen: [number, string | undefined][] = [];
    const moody = defineJob({
      name: "moody",
      backoff: fixed("1s"),
      run: async (_payload, ctx): Promise<string | NoResult> => {
        seen.push([ctx.job.attempt, ctx.checkpoint.get("step")]);
        await ctx.checkpoint.set("step", `after ${seen.length}`);
        return (steps[seen.length - 1] as () => NoResult | string)();
      },
    });
    const handle = await jobs.enqueue(moody, 0);
    const worker = jobs.worker([moody]);
    const events = record(worker);
    for (const delay of [1_000, 10_000, 20_000, 3_600_000]) {
      expect(await runUntilIdle(worker)).toBe(1);
      await clock.advance(delay - 1);
      expect(await runUntilIdle(worker)).toBe(0);
      await clock.advance(1);
    }
    expect(await handle.get()).toMatchObject({ state: "scheduled", attempt: 0, snoozes: 2 });
    expect(await runUntilIdle(worker)).toBe(1);
    expect(seen).toEqual([
      [1, undefined],
      [2, "after 1"],
      [2, "after 2"],
      [2, "after 3"],
      [1, "after 4"],
    ]);
    expect(await handle.get()).toMatchObject({ state: "completed", attempt: 1, result: "done" });
    expect(events.map(([name]) => name).filter((name) => name !== "started")).toEqual([
      "failed",
      "snoozed",
      "snoozed",
      "rescheduled",
      "completed",
    ]);
  });

  it("cancels by return value", async () => {
    here = await world(kind);
    const quitter = defineJob({ name: "quitter", run: () => cancel("nothing to do") });
    const handle = await here.jobs.enqueue(quitter, 0);
    const worker = here.jobs.worker([quitter]);
    const events = record(worker);
    await runUntilIdle(worker);
    expect(await handle.get()).toMatchObject({ state: "cancelled", reason: "nothing to do", attempt: 1 });
    expect(events.at(-1)).toMatchObject(["cancelled", { reason: "nothing to do" }]);
  });

  describe("whatever is thrown", () => {
    const message = {
      get message(): string {
        throw new Error("the getter of message");
      },
    };
    const trap = new Proxy(
      {},
      {
        get: () => {
          throw new Error("from the proxy");
        },
        has: () => {
          throw new Error("from the proxy");
        },
        getPrototypeOf: () => {
          throw new Error("from the proxy");
        },
        ownKeys: () => {
          throw new Error("from the proxy");
        },
      },
    );
    const foreign = { then: (_ok: unknown, no: (reason: unknown) => void) => no(new Error("foreign")) };
    const huge = Object.assign(new Error("x".repeat(1_000_000)), { cause: { cause: "y".repeat(1_000_000) } });
    const cyclic = new Error("cyclic");
    cyclic.cause = cyclic;
    const thrown: [string, () => unknown][] = [
      ["null", () => { throw null; }], // oxfmt-ignore
      ["undefined", () => { throw undefined; }], // oxfmt-ignore
      ["42", () => { throw 42; }], // oxfmt-ignore
      ["a symbol", () => { throw Symbol("s"); }], // oxfmt-ignore
      ["an object whose message getter throws", () => { throw message; }], // oxfmt-ignore
      ["a proxy that throws for everything", () => { throw trap; }], // oxfmt-ignore
      ["an error that causes itself", () => { throw cyclic; }], // oxfmt-ignore
      ["an error of megabytes", () => { throw huge; }], // oxfmt-ignore
      ["a rejection with null", () => Promise.reject(null)],
      ["a foreign thenable that rejects", () => foreign],
      ["a proxy as a rejection", () => Promise.reject(trap)],
      ["a thenable whose then throws", () => ({ then: () => { throw new Error("then"); } })], // oxfmt-ignore
    ];

    it("is that job's own failure, bounded, and its neighbours go on", async () => {
      here = await world(kind);
      const odd = defineJob({
        name: "odd",
        payload: json<number>(),
        maxRetries: 0,
        run: (n) => (thrown[n] as (typeof thrown)[number])[1](),
      });
      const fine = defineJob({ name: "fine", run: () => "fine" });
      const handles = await here.jobs.enqueueMany(
        odd,
        thrown.map((_, n) => n),
      );
      const neighbours = await here.jobs.enqueueMany(
        fine,
        thrown.map((_, n) => n),
      );
      const worker = here.jobs.worker([odd, fine], { concurrency: 3 });
      expect(await runUntilIdle(worker)).toBe(2 * thrown.length);
      for (const [n, handle] of handles.entries()) {
        const job = await handle.get();
        expect([thrown[n]?.[0], job?.state]).toEqual([thrown[n]?.[0], "dead"]);
        expect(typeof job?.error?.message).toBe("string");
        expect(JSON.stringify(job?.error).length).toBeLessThan(40_000);
      }
      for (const handle of neighbours) expect((await handle.get())?.state).toBe("completed");
    });
  });

  it("takes the first answer of a thenable that calls back twice, and then throws", async () => {
    here = await world(kind);
    const twice = defineJob({
      name: "twice",
      run: () => ({
        then: (ok: (value: unknown) => void, no: (reason: unknown) => void) => {
          ok("first");
          ok("second");
          no(new Error("third"));
          throw new Error("fourth");
        },
      }),
    });
    const callable = defineJob({
      name: "callable",
      run: () => Object.assign(() => 0, { then: (ok: (value: unknown) => void) => ok("from a function") }),
    });
    const handle = await here.jobs.enqueue(twice, 0);
    const other = await here.jobs.enqueue(callable, 0);
    expect(await runUntilIdle(here.jobs.worker([twice, callable], { concurrency: 1 }))).toBe(2);
    expect(await handle.get()).toMatchObject({ state: "completed", result: "first", attempt: 1 });
    expect(await other.get()).toMatchObject({ state: "completed", result: "from a function" });
  });

  it("completes with a reason what returned something JSON cannot carry: the work is done", async () => {
    here = await world(kind);
    const cycle: unknown[] = [];
    cycle.push(cycle);
    const trap = (): never => {
      throw new Error("from the proxy");
    };
    const proxy = new Proxy({}, { ownKeys: trap, getPrototypeOf: trap });
    const results = [10n, cycle, new Date(), () => 1, "x".repeat(1_100_000), Symbol("s"), proxy];
    const odd = defineJob({ name: "odd", payload: json<number>(), run: async (n) => results[n] });
    const handles = await here.jobs.enqueueMany(
      odd,
      results.map((_, n) => n),
    );
    expect(await runUntilIdle(here.jobs.worker([odd]))).toBe(results.length);
    for (const handle of handles) {
      const job = await handle.get();
      expect(job).toMatchObject({
        state: "completed",
        attempt: 1,
        reason: expect.stringMatching(/cannot be stored/),
      });
      expect(job?.result).toBeUndefined();
    }
  });

  it("gives up without a retry when the stored payload no longer fits the schema", async () => {
    here = await world(kind);
    const before = defineJob({ name: "grown", payload: json<{ to: string }>() });
    let runs = 0;
    const after = defineJob({
      name: "grown",
      payload: z.object({ to: z.email() }),
      run: () => void (runs += 1),
    });
    const handle = await here.jobs.enqueue(before, { to: "nobody" });
    const good = await here.jobs.enqueue(before, { to: "a@example.org" });
    expect(await runUntilIdle(here.jobs.worker([after]))).toBe(2);
    expect(runs).toBe(1);
    expect(await handle.get()).toMatchObject({
      state: "dead",
      attempt: 1,
      error: { name: "InvalidPayloadError", code: "JOBWRIGHT_INVALID_PAYLOAD" },
    });
    expect((await good.get())?.state).toBe("completed");
  });

  it("waits for an asynchronous schema before it runs the handler with its output", async () => {
    here = await world(kind);
    let bad = false;
    const slow: StandardSchema<number, string> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: async (value) => {
          await new Promise((resolve) => setTimeout(resolve, 3));
          return bad ? { issues: [{ message: "not any more" }] } : { value: `<${String(value)}>` };
        },
      },
    };
    const job = defineJob({ name: "slow", payload: slow, run: (text) => text });
    const [first, second] = await here.jobs.enqueueMany(job, [1, 2]);
    const worker = here.jobs.worker([job], { concurrency: 1 });
    worker.once("completed", () => (bad = true));
    expect(await runUntilIdle(worker)).toBe(2);
    expect(await first?.get()).toMatchObject({ state: "completed", result: "<1>" });
    expect(await second?.get()).toMatchObject({ state: "dead", error: { message: /not any more/ } });
  });

  it("tells a handler's own InvalidPayloadError from a bad payload: it is retried", async () => {
    here = await world(kind);
    const child = defineJob({ name: "child", payload: z.object({ n: z.number() }) });
    const parent = defineJob({
      name: "parent",
      run: async (_payload, ctx) => void (await ctx.jobs.enqueue(child, { n: "x" } as never)),
    });
    const handle = await here.jobs.enqueue(parent, 0);
    await runUntilIdle(here.jobs.worker([parent]));
    expect(await handle.get()).toMatchObject({ state: "scheduled", error: { name: "InvalidPayloadError" } });
  });

  it("is not disturbed by listeners and loggers that throw", async () => {
    const angry = (): never => {
      throw new Error("listener");
    };
    here = await world(kind);
    const mixed = defineJob({
      name: "mixed",
      payload: json<number>(),
      maxRetries: 0,
      run: async (n) => {
        if (n % 2 === 1) throw new Error("odd");
        await undefined;
        return n;
      },
    });
    await here.jobs.enqueueMany(mixed, span(0, 9));
    const worker = here.jobs.worker([mixed], { concurrency: 2 });
    for (const name of ["started", "completed", "dead", "registered"] as const) worker.on(name, angry);
    expect(await runUntilIdle(worker)).toBe(10);
    expect((await here.jobs.count({ state: "completed" })).n).toBe(5);
    expect((await here.jobs.count({ state: "dead" })).n).toBe(5);
    expect(
      here.lines.some(({ message }) => /listener of "completed" threw Error: listener/.test(message)),
    ).toBe(true);
  });
});

function span(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, n) => first + n);
}
