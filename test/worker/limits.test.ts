import { afterEach, describe, expect, it } from "vitest";
import {
  CancelledError,
  defineJob,
  fixed,
  type JobContext,
  json,
  TimeoutError,
  UnrecoverableError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { gate, turns, until, type World, world } from "../support/world.ts";

describe.each(storages)("timeouts and cancels on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("fires the signal at the timeout and fails the attempt, whatever the handler then does", async () => {
    here = await world(kind);
    const contexts: JobContext[] = [];
    const stubborn = defineJob({
      name: "stubborn",
      payload: json<"value" | "throw">(),
      timeout: "10s",
      maxRetries: 0,
      run: (how, ctx) =>
        new Promise((resolve, reject) => {
          contexts.push(ctx);
          ctx.signal.addEventListener("abort", () =>
            how === "value" ? resolve("too late") : reject(new UnrecoverableError("on its way out")),
          );
        }),
    });
    const quick = defineJob({ name: "quick", timeout: "10s", run: () => "in time" });
    const handles = await here.jobs.enqueueMany(stubborn, ["value", "throw"]);
    const fine = await here.jobs.enqueue(quick, 0);
    const done = runUntilIdle(here.jobs.worker([stubborn, quick]));
    await until(() => contexts.length === 2);
    await here.clock.advance(9_999);
    expect(contexts.map(({ signal }) => signal.aborted)).toEqual([false, false]);
    await here.clock.advance(1);
    expect(await done).toBe(3);
    for (const { signal } of contexts) expect(signal.reason).toBeInstanceOf(TimeoutError);
    for (const handle of handles) {
      expect(await handle.get()).toMatchObject({
        state: "dead",
        attempt: 1,
        error: {
          name: "TimeoutError",
          code: "JOBWRIGHT_TIMEOUT",
          message: expect.stringMatching(/10000 ms/),
        },
      });
    }
    expect(await fine.get()).toMatchObject({ state: "completed" });
  });

  it("lets no earlier timer decide for a later run, and none for a run without a timeout", async () => {
    here = await world(kind);
    const gates: (() => void)[] = [];
    const signals: AbortSignal[] = [];
    const waits = defineJob({
      name: "waits",
      maxRetries: 0,
      run: (_payload, ctx) =>
        new Promise<void>((resolve) => {
          signals.push(ctx.signal);
          gates.push(resolve);
        }),
    });
    const worker = here.jobs.worker([waits], { concurrency: 4 });
    await worker.start();
    await here.jobs.enqueue(waits, 0, { timeout: "10s" });
    await until(() => gates.length === 1);
    await here.clock.advance("5s");
    await here.jobs.enqueue(waits, 0, { timeout: "7s" });
    await here.jobs.enqueue(waits, 0, { timeout: Number.POSITIVE_INFINITY });
    await until(() => gates.length === 3);
    gates[0]?.();
    await here.clock.advance("6s");
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false, false]);
    await here.clock.advance("1s");
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, true, false]);
    await here.clock.advance("10d");
    expect(signals[2]?.aborted).toBe(false);
    for (const open of gates) open();
    await worker.stop();
  });

  it("gives a run up that ignores its timeout, keeps its slot taken, and lets a stop go by", async () => {
    here = await world(kind);
    const leave = gate();
    let runs = 0;
    const deaf = defineJob({
      name: "deaf",
      timeout: "10s",
      backoff: fixed("1m"),
      run: async () => {
        runs += 1;
        await leave.promise;
        return "much too late";
      },
    });
    const other = defineJob({ name: "other", run: () => 1 });
    const handle = await here.jobs.enqueue(deaf, 0);
    const worker = here.jobs.worker([deaf, other], { concurrency: 1, timeoutGrace: "20s", pollInterval: 20 });
    const overdue: unknown[] = [];
    worker.on("overdue", (about) => overdue.push(about));
    await worker.start();
    await until(() => runs === 1);
    await here.clock.advance("10s");
    await here.clock.advance(19_999);
    expect(overdue).toEqual([]);
    expect((await handle.get())?.state).toBe("running");
    await here.clock.advance(1);
    expect(overdue).toMatchObject([{ id: handle.id, name: "deaf", attempt: 1, runningMs: 30_000 }]);
    await until(async () => (await handle.get())?.state === "scheduled");
    expect(await handle.get()).toMatchObject({ attempt: 1, error: { name: "TimeoutError" } });
    // The slot is taken: another job waits, and so does the retry of this one.
    const waiting = await here.jobs.enqueue(other, 0);
    await here.clock.advance("2m");
    await until(async () => (await handle.get())?.state === "available");
    await turns(50);
    expect((await waiting.get())?.state).toBe("available");
    expect(runs).toBe(1);
    await worker.stop();
    expect(runs).toBe(1);
    leave.open();
    await turns();
    expect(await handle.get()).toMatchObject({ state: "available", attempt: 1 });
    expect(await runUntilIdle(here.jobs.worker([deaf, other]))).toBe(2);
    expect(await handle.get()).toMatchObject({ state: "completed", attempt: 2 });
  });

  it("does not run a job again beside its own run that will not end", async () => {
    here = await world(kind);
    const leave = gate();
    let now = 0;
    let most = 0;
    let runs = 0;
    const deaf = defineJob({
      name: "deaf",
      timeout: "1s",
      backoff: fixed(0),
      run: async () => {
        runs += 1;
        now += 1;
        most = Math.max(most, now);
        await leave.promise;
        now -= 1;
        return runs;
      },
    });
    const handle = await here.jobs.enqueue(deaf, 0);
    const worker = here.jobs.worker([deaf], { concurrency: 3, timeoutGrace: "1s", pollInterval: 20 });
    await worker.start();
    await until(() => runs === 1);
    await here.clock.advance("2s");
    await until(async () => ((await handle.get())?.snoozes ?? 0) > 0);
    expect(runs).toBe(1);
    leave.open();
    await turns();
    await here.clock.advance("5s");
    expect(await handle.result({ timeout: "20s" })).toBe(2);
    expect(most).toBe(1);
    await worker.stop();
  });

  describe("cancelling a run", () => {
    const held = defineJob({
      name: "held",
      payload: json<"value" | "throw" | "ignore">(),
      run: async (how, ctx) => {
        if (how !== "ignore") await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
        if (how === "throw") throw new Error(`because ${String(ctx.signal.reason)}`);
        return "done anyway";
      },
    });

    it("fires its signal with the reason; a throw then ends it, a value still wins", async () => {
      here = await world(kind);
      const [value, thrower] = await here.jobs.enqueueMany(held, ["value", "throw"]);
      const worker = here.jobs.worker([held]);
      await worker.start();
      await until(() => worker.running === 2);
      const results = [value, thrower].map((handle) =>
        handle?.result({ timeout: "20s" }).catch((error: unknown) => error),
      );
      // From another process of the fleet.
      const elsewhere = await here.another();
      for (const handle of [value, thrower]) {
        expect(await elsewhere.cancel(handle?.id ?? "", "changed our mind")).toBe("asked");
      }
      expect(await results[0]).toBe("done anyway");
      expect(await results[1]).toMatchObject({ name: "JobCancelledError", reason: "changed our mind" });
      expect(await thrower?.get()).toMatchObject({
        state: "cancelled",
        attempt: 1,
        error: { message: expect.stringMatching(/changed our mind/) },
      });
      await worker.stop();
    });

    it("gets there when every hint is lost", async () => {
      here = await world(kind);
      here.faults.loseHints();
      const signals: AbortSignal[] = [];
      const waits = defineJob({
        name: "waits",
        run: (_payload, ctx) =>
          new Promise((_resolve, reject) => {
            signals.push(ctx.signal);
            ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason));
          }),
      });
      const handle = await here.jobs.enqueue(waits, 0);
      const worker = here.jobs.worker([waits]);
      await worker.start();
      await until(() => signals.length === 1);
      expect(await handle.cancel("by poll")).toBe("asked");
      await until(() => signals[0]?.aborted === true);
      expect(signals[0]?.reason).toBeInstanceOf(CancelledError);
      expect(signals[0]?.reason).toMatchObject({ reason: "by poll" });
      await until(async () => (await handle.get())?.state === "cancelled");
      await worker.stop();
    });
  });
});
