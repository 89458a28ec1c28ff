import { afterEach, describe, expect, it } from "vitest";
import { defineJob, fixed, InvalidOptionError, json, limits } from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages, type StorageKind } from "../support/storages.ts";
import { gate, until, type World, world } from "../support/world.ts";

// Goal: what a run says of itself (progress, log lines) is there when the run has ended, in its order, costs few
// calls, and can never be the reason why a run fails.

const memory = storages[0] as StorageKind;
const notes = (here: World): number => here.faults.calls.get("note") ?? 0;

describe.each(storages)("progress and logs on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("are kept with the job, whatever became of the run, in one call", async () => {
    here = await world(kind);
    const talks = defineJob({
      name: "talks",
      payload: json<string>(),
      maxRetries: 1,
      backoff: fixed(0),
      run: (how, ctx) => {
        ctx.progress(0);
        ctx.log.info(`attempt ${ctx.job.attempt} \u{1F600} "quoted"`, { secret: "not kept" });
        ctx.progress(0.5, "half way");
        ctx.log.warn("second line");
        if (how === "dies") throw new Error("boom");
      },
    });
    const [lives, dies] = await here.jobs.enqueueMany(talks, ["lives", "dies"]);
    await runUntilIdle(here.jobs.worker([talks]));
    expect(await lives?.get()).toMatchObject({
      state: "completed",
      progress: { done: 0.5, note: "half way" },
    });
    expect(await dies?.get()).toMatchObject({ state: "dead", progress: { done: 0.5, note: "half way" } });
    const at = new Date(here.clock.now());
    const lines = (first: number, attempt: number): unknown[] => [
      { number: first, attempt, at, level: "info", text: `attempt ${attempt} \u{1F600} "quoted"` },
      { number: first + 1, attempt, at, level: "warn", text: "second line" },
    ];
    expect(await here.jobs.logs(lives?.id ?? "")).toEqual(lines(1, 1));
    expect(await here.jobs.logs(dies?.id ?? "")).toEqual([...lines(1, 1), ...lines(3, 2)]);
    expect(notes(here)).toBe(3);
    // The logger heard all of it as ever.
    const heard = here.lines.filter(({ message }) => message === "second line");
    expect(heard.map(({ details }) => details)).toContainEqual({ job: lives?.id, name: "talks", attempt: 1 });
  });

  it("of a long run are seen while it goes on", async () => {
    here = await world(kind);
    const held = gate();
    const long = defineJob({
      name: "long",
      run: async (_payload, ctx) => {
        ctx.progress(0.25);
        ctx.log.debug("begun");
        await held.promise;
      },
    });
    const handle = await here.jobs.enqueue(long, 1);
    const done = runUntilIdle(here.jobs.worker([long]));
    await until(async () => (await handle.get())?.progress !== undefined);
    expect(await handle.get()).toMatchObject({ state: "running", progress: { done: 0.25 } });
    expect((await here.jobs.logs(handle.id)).map(({ text }) => text)).toEqual(["begun"]);
    held.open();
    await done;
    expect(notes(here)).toBe(1);
  });
});

describe("what a run says", () => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("is bounded: the last 100 lines, cut, and progress that fits", async () => {
    here = await world(memory);
    const talks = defineJob({
      name: "talks",
      run: (_payload, ctx) => {
        for (let line = 1; line <= 250; line += 1) ctx.log.info(`line ${line}`);
        ctx.log.info("x".repeat(limits.logText - 1) + "\u{1F600}");
        // As JavaScript calls it.
        ctx.log.info(Object.create(null) as string);
        ctx.progress(1, `\u0000"${"\u{1F600}".repeat(3_000)}`);
      },
    });
    const handle = await here.jobs.enqueue(talks, 1);
    await runUntilIdle(here.jobs.worker([talks]));
    const lines = await here.jobs.logs(handle.id);
    expect(lines).toHaveLength(limits.logLines);
    expect(lines[0]?.text).toBe("line 153");
    expect(lines[98]?.text).toBe(`${"x".repeat(limits.logText - 1)}\ufffd`);
    expect(lines[99]?.text).toBe("an object");
    const { progress } = (await handle.get()) ?? {};
    expect(progress?.done).toBe(1);
    expect(progress?.note?.length).toBeGreaterThan(100);
    expect(notes(here)).toBe(1);
  });

  it("refuses progress that is none, where it is said", async () => {
    here = await world(memory);
    const thrown: unknown[] = [];
    const wrong = defineJob({
      name: "wrong",
      run: (_payload, ctx) => {
        for (const done of [-0.1, 1.1, Number.NaN, "1", undefined] as number[]) {
          try {
            ctx.progress(done);
          } catch (error) {
            thrown.push(error);
          }
        }
        expect(() => ctx.progress(1, 5 as never)).toThrow("note is 5.");
      },
    });
    const handle = await here.jobs.enqueue(wrong, 1);
    await runUntilIdle(here.jobs.worker([wrong]));
    expect(thrown.map((one) => one instanceof InvalidOptionError)).toEqual([true, true, true, true, true]);
    expect(await handle.get()).toMatchObject({ state: "completed" });
    expect(notes(here)).toBe(0);
  });

  it("is not kept where nobody wants it; the logger hears it all the same", async () => {
    here = await world(memory, { keepLogs: false });
    const talks = defineJob({ name: "talks", run: (_payload, ctx) => ctx.log.info("hello") });
    const handle = await here.jobs.enqueue(talks, 1);
    await runUntilIdle(here.jobs.worker([talks]));
    expect(await here.jobs.logs(handle.id)).toEqual([]);
    expect(notes(here)).toBe(0);
    expect(here.lines.map(({ message }) => message)).toContain("hello");
  });

  it("costs the run nothing when it cannot be saved", async () => {
    here = await world(memory);
    here.faults.plan("note", { kind: "reject" }, Number.POSITIVE_INFINITY);
    const talks = defineJob({ name: "talks", run: (_payload, ctx) => ctx.log.info("hello") });
    const handle = await here.jobs.enqueue(talks, 1);
    await runUntilIdle(here.jobs.worker([talks]));
    expect(await handle.get()).toMatchObject({ state: "completed", attempt: 1 });
    expect(notes(here)).toBe(1);
  });
});

describe("attempts that begin anew", () => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it.each(["checkpoint", "never"] as const)("resetAttempts: %j", async (resetAttempts) => {
    here = await world(memory);
    const attempts: number[] = [];
    const crawls = defineJob({
      name: "crawls",
      maxRetries: 2,
      backoff: fixed(0),
      resetAttempts,
      run: async (_payload, ctx) => {
        attempts.push(ctx.job.attempt);
        const row = ctx.checkpoint.get<number>("row") ?? 0;
        // The same again is no progress.
        await ctx.checkpoint.set("row", Math.min(row + 1, 3));
        throw new Error("again");
      },
    });
    const handle = await here.jobs.enqueue(crawls, 1);
    await runUntilIdle(here.jobs.worker([crawls]));
    expect((await handle.get())?.state).toBe("dead");
    // Three runs got further; the one that failed after the last of them is the second of its series.
    expect(attempts).toEqual(resetAttempts === "checkpoint" ? [1, 2, 2, 2, 3] : [1, 2, 3]);
  });
});
