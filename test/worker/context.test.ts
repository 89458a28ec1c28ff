import { afterEach, describe, expect, it } from "vitest";
import {
  defineJob,
  fixed,
  InvalidOptionError,
  InvalidValueError,
  type JobContext,
  json,
  LeaseLostError,
  limits,
  reschedule,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { gate, type World, world } from "../support/world.ts";

describe.each(storages)("what a handler gets, on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("knows its job, the clock, and logs with the job's name on it", async () => {
    here = await world(kind);
    const { jobs, clock } = here;
    let seen: unknown;
    const curious = defineJob({
      name: "curious",
      run: (payload, ctx) => {
        seen = { payload, job: ctx.job, now: ctx.clock.now(), state: ctx.state, aborted: ctx.signal.aborted };
        ctx.log.info("hello", { extra: 1 });
      },
    });
    const handle = await jobs.enqueue(curious, "p", { in: "5s", tags: ["a", "b"], maxRetries: 7 });
    const createdAt = new Date(clock.now());
    await clock.advance("5s");
    await runUntilIdle(jobs.worker([curious]));
    expect(seen).toEqual({
      payload: "p",
      job: {
        id: handle.id,
        name: "curious",
        queue: "default",
        attempt: 1,
        maxRetries: 7,
        createdAt,
        runAt: new Date(clock.now()),
        tags: ["a", "b"],
      },
      now: clock.now(),
      state: undefined,
      aborted: false,
    });
    expect(here.lines).toContainEqual({
      level: "info",
      message: "hello",
      details: { job: handle.id, name: "curious", attempt: 1, extra: 1 },
    });
  });

  it("fans out with everything that works outside, recursion included", async () => {
    here = await world(kind);
    const leaves: number[] = [];
    const tree = defineJob({
      name: "tree",
      payload: json<number>(),
      run: async (depth, ctx): Promise<void> => {
        if (depth === 0) return void leaves.push(Number(ctx.job.id));
        await ctx.jobs.enqueueMany(tree as never, [depth - 1, depth - 1] as never);
      },
    });
    await here.jobs.enqueue(tree, 6);
    expect(await runUntilIdle(here.jobs.worker([tree]))).toBe(2 ** 7 - 1);
    expect(new Set(leaves).size).toBe(64);
  });

  it("keeps checkpoints by key through retries and reschedules, and drops them at the end", async () => {
    here = await world(kind);
    const seen: unknown[] = [];
    const stepwise = defineJob({
      name: "stepwise",
      backoff: fixed(0),
      run: async (_payload, ctx) => {
        const step = ctx.checkpoint.get<number>("step") ?? 0;
        seen.push([step, ctx.checkpoint.get("__proto__"), ctx.checkpoint.get("gone")]);
        await ctx.checkpoint.set("step", step + 1);
        await ctx.checkpoint.set("__proto__", { deep: [step] });
        await ctx.checkpoint.set("gone", 1);
        await ctx.checkpoint.remove("gone");
        expect(ctx.checkpoint.get("step")).toBe(step + 1);
        if (step === 0) throw new Error("again");
        if (step === 1) return reschedule(0);
        return "done";
      },
    });
    const handle = await here.jobs.enqueue(stepwise, 0);
    const worker = here.jobs.worker([stepwise]);
    expect(await runUntilIdle(worker)).toBe(3);
    expect(seen).toEqual([
      [0, undefined, undefined],
      [1, { deep: [0] }, undefined],
      [2, { deep: [1] }, undefined],
    ]);
    await here.jobs.retry(handle.id);
    await runUntilIdle(worker);
    expect(seen[3]).toEqual([0, undefined, undefined]);
  });

  it("refuses checkpoints and results that cannot be stored, and goes on", async () => {
    here = await world(kind);
    const caught: unknown[] = [];
    const half = "x".repeat(limits.checkpointBytes / 2);
    const greedy = defineJob({
      name: "greedy",
      run: async (_payload, ctx) => {
        const tries = [
          () => ctx.checkpoint.set("a", 1n),
          () => ctx.checkpoint.set("a", undefined),
          () => ctx.checkpoint.set("", 1),
          () => ctx.checkpoint.set("a\n", 1),
          () => ctx.checkpoint.set("a", `${half}${half}`),
          () => ctx.setResult(undefined),
          () => ctx.setResult(new Map()),
        ];
        for (const attempt of tries) caught.push(await attempt().catch((error: unknown) => error));
        await ctx.checkpoint.set("half", half);
        caught.push(await ctx.checkpoint.set("other", half).catch((error: unknown) => error));
        // What was refused has changed nothing.
        expect(ctx.checkpoint.get("other")).toBeUndefined();
        await ctx.checkpoint.remove("half");
        await ctx.checkpoint.set("other", half);
        return "fine";
      },
    });
    const handle = await here.jobs.enqueue(greedy, 0);
    await runUntilIdle(here.jobs.worker([greedy]));
    expect(await handle.get()).toMatchObject({ state: "completed", result: "fine" });
    expect(caught.map((error) => (error as Error).constructor)).toEqual([
      InvalidValueError,
      InvalidOptionError,
      InvalidOptionError,
      InvalidOptionError,
      InvalidValueError,
      InvalidOptionError,
      InvalidValueError,
      InvalidValueError,
    ]);
  });

  it("keeps a result set before the end, whatever becomes of the run; a returned one replaces it", async () => {
    here = await world(kind);
    const partial = defineJob({
      name: "partial",
      payload: json<"return" | "throw" | "nothing">(),
      maxRetries: 0,
      run: async (how, ctx) => {
        await ctx.setResult({ half: true });
        if (how === "throw") throw new Error("no");
        return how === "return" ? { half: false } : undefined;
      },
    });
    const [returned, threw, nothing] = await here.jobs.enqueueMany(partial, ["return", "throw", "nothing"]);
    await runUntilIdle(here.jobs.worker([partial]));
    expect(await returned?.get()).toMatchObject({ state: "completed", result: { half: false } });
    expect(await threw?.get()).toMatchObject({ state: "dead", result: { half: true } });
    expect(await nothing?.get()).toMatchObject({ state: "completed", result: { half: true } });
  });

  it("fences checkpoints and results of a run whose lease is gone", async () => {
    here = await world(kind, { movesLiveness: true });
    const inside = gate<JobContext>();
    const leave = gate();
    let runs = 0;
    const held = defineJob({
      name: "held",
      backoff: fixed(0),
      run: async (_payload, ctx) => {
        runs += 1;
        if (runs > 1) return ctx.checkpoint.get("who") ?? "nobody";
        inside.open(ctx);
        await leave.promise;
        return "zombie";
      },
    });
    const handle = await here.jobs.enqueue(held, 0);
    const zombie = here.jobs.worker([held]);
    const zombieDone = runUntilIdle(zombie);
    const ctx = await inside.promise;
    await ctx.checkpoint.set("who", "first");
    here.cutOff(zombie.processId);
    here.passSilence(30_000);
    const rescuer = (await here.another()).worker([held]);
    expect(await runUntilIdle(rescuer)).toBe(1);
    await expect(ctx.checkpoint.set("who", "zombie")).rejects.toThrow(LeaseLostError);
    await expect(ctx.checkpoint.remove("who")).rejects.toThrow(LeaseLostError);
    await expect(ctx.setResult("zombie")).rejects.toThrow(LeaseLostError);
    expect(ctx.signal.reason).toBeInstanceOf(LeaseLostError);
    leave.open();
    await zombieDone;
    expect(await handle.get()).toMatchObject({ state: "completed", result: "first" });
  });
});
