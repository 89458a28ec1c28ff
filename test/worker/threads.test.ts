// Goal: a handler in a thread can do what one in the main thread can: every outcome, its context, its errors.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type AnyJobDefinition,
  defineJob,
  fixed,
  InvalidOptionError,
  type Job,
  json,
  limits,
  MissingHandlerError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { turns, until, type World, world } from "../support/world.ts";
import { child, late } from "./thread-handlers/definitions.ts";

interface Act {
  readonly act: string;
  readonly more?: unknown;
}

const ACTS = new URL("./thread-handlers/acts.ts", import.meta.url);
const acts = defineJob({
  name: "acts",
  payload: json<Act>(),
  maxRetries: 1,
  backoff: fixed("10s"),
  thread: ACTS,
});

beforeAll(async () => {
  // The sources are compiled for threads once, and kept: not by several threads of a test at once.
  const warm = await world(storages[0] as (typeof storages)[0]);
  await warm.jobs.enqueue(acts, { act: "return" });
  await runUntilIdle(warm.jobs.worker([acts]));
  await warm[Symbol.asyncDispose]();
});

describe.each(storages)("handlers in threads on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  /** Runs one of each act until nothing is left to do at this instant, and answers the jobs. */
  async function perform(names: readonly string[], definitions: readonly AnyJobDefinition[] = [acts]) {
    here = await world(kind);
    const handles = await here.jobs.enqueueMany(
      acts,
      names.map((act) => ({ act })),
    );
    await runUntilIdle(here.jobs.worker(definitions, { threads: 2 }));
    const jobs: Record<string, Job> = {};
    for (const [i, name] of names.entries()) jobs[name] = (await handles[i]?.get()) as Job;
    return jobs;
  }

  it("carries every outcome out of the thread", async () => {
    const jobs = await perform([
      ...["return", "nothing", "unfit", "thenable", "snooze", "reschedule", "cancel", "throw", "throw text"],
      ...["throw odd", "throw proxy", "retry after", "unrecoverable"],
    ]);
    const at = (ms: number) => new Date(here.clock.now() + ms);
    expect(jobs["return"]).toMatchObject({
      state: "completed",
      result: { from: "a thread", isMain: false },
    });
    expect(jobs["nothing"]).toMatchObject({ state: "completed" });
    expect(jobs["nothing"]?.result).toBeUndefined();
    expect(jobs["unfit"]).toMatchObject({ state: "completed", reason: expect.stringMatching(/when/) });
    expect(jobs["thenable"]).toMatchObject({ state: "completed", result: "first" });
    expect(jobs["snooze"]).toMatchObject({ state: "scheduled", attempt: 0, runAt: at(60_000) });
    expect(jobs["reschedule"]).toMatchObject({ state: "scheduled", attempt: 0, runAt: at(3_600_000) });
    expect(jobs["cancel"]).toMatchObject({ state: "cancelled", reason: "not wanted" });
    expect(jobs["throw"]).toMatchObject({
      state: "scheduled",
      attempt: 1,
      runAt: at(10_000),
      error: {
        name: "TypeError",
        message: "outer",
        code: "E_OUTER",
        stack: expect.stringMatching(/acts\.ts/),
        cause: { name: "RangeError", message: "inner" },
      },
    });
    expect(jobs["throw text"]).toMatchObject({ state: "scheduled", error: { message: "just text" } });
    expect(jobs["throw odd"]).toMatchObject({ error: { message: expect.stringMatching(/odd: true/) } });
    expect(jobs["throw proxy"]).toMatchObject({ state: "scheduled", attempt: 1 });
    expect(jobs["retry after"]).toMatchObject({ state: "scheduled", attempt: 1, runAt: at(7 * 60_000) });
    expect(jobs["unrecoverable"]).toMatchObject({ state: "dead", error: { name: "UnrecoverableError" } });
  });

  it("gives the handler its context, but what cannot reach that far", async () => {
    const withChild = { ...child, run: () => undefined };
    const jobs = await perform(["look around", "count and fail", "not there"], [acts, withChild]);
    const around = jobs["look around"] as Job;
    expect(around.result).toEqual({
      job: {
        ...{ id: around.id, name: "acts", queue: "default", attempt: 1, maxRetries: 1, tags: [] },
        ...{ createdAt: around.createdAt.getTime(), runAt: around.runAt.getTime() },
      },
      now: here.clock.now(),
      before: null,
      count: 1,
      gone: true,
    });
    expect(jobs["not there"]?.result).toMatchObject([
      {
        is: "StateError",
        code: "JOBWRIGHT_STATE",
        message: expect.stringMatching(/ctx\.state .*main thread/),
      },
      { is: "StateError", message: expect.stringMatching(/ctx\.completeIn .*`run`/) },
      { is: "StateError", message: expect.stringMatching(/ctx\.clock\.at/) },
      { name: "InvalidOptionError", message: expect.stringMatching(/unknown/) },
      { is: "InvalidPayloadError", code: "JOBWRIGHT_INVALID_PAYLOAD" },
      { is: "InvalidPayloadError", code: "JOBWRIGHT_INVALID_PAYLOAD" },
      { name: "InvalidOptionError", message: expect.stringMatching(/priority is 5000/) },
      { name: "DataCloneError" },
      { name: "InvalidValueError", code: "JOBWRIGHT_INVALID_VALUE" },
    ]);
    // A checkpoint outlives the attempt, and the next one sees it.
    const failed = jobs["count and fail"] as Job;
    expect(failed.state).toBe("scheduled");
    const [attempt] = await here.jobs.attempts(failed.id);
    expect(attempt?.error.message).toBe("once more");
  });

  it("enqueues through the main thread, also what that has never heard of", async () => {
    const withChild = { ...child, run: (n: number) => n };
    const { enqueue } = await perform(["enqueue"], [acts, withChild]);
    const results = enqueue?.result as { id: string; created: boolean }[];
    expect(results.map(({ created }) => created)).toEqual([true, false, true, true, true, true]);
    expect(results[1]?.id).toBe(results[0]?.id);
    const stored = await Promise.all(results.map(({ id }) => here.jobs.get(id)));
    expect(stored[0]).toMatchObject({ name: "child", payload: 1, state: "completed", result: 1 });
    expect(stored[2]).toMatchObject({ name: "child", payload: 2, state: "scheduled" });
    expect(stored[3]).toMatchObject({
      ...{ name: "late", payload: 3, queue: "late-1", priority: 3, maxRetries: 1 },
      ...{ tags: ["from the definition"] },
    });
    expect(stored[4]).toMatchObject({ payload: 4, queue: "late-0", priority: 4, tags: ["many"] });
    // As if the definition itself had been enqueued here.
    const direct = await here.jobs.enqueue(late, 3);
    const { id: _a, createdAt: _b, runAt: _c, ...asHere } = (await direct.get()) as Job;
    const { id: _d, createdAt: _e, runAt: _f, ...asThere } = stored[3] as Job;
    expect(asThere).toEqual(asHere);
  });
});

describe("threads", () => {
  const [memory] = storages;
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("say what they log in order, before the end, with the job it is about", async () => {
    here = await world(memory as (typeof storages)[0]);
    const worker = here.jobs.worker([acts], { threads: 1 });
    await here.jobs.enqueue(acts, { act: "return" });
    await runUntilIdle(worker);
    let seen = -1;
    worker.on("completed", () => (seen = here.lines.filter(({ level }) => level === "info").length));
    worker.on("started", () =>
      setImmediate(() => {
        // The thread has said all of it and ended before this one hears anything, and it hears the end first.
        for (const end = performance.now() + 300; performance.now() < end;);
      }),
    );
    const handle = await here.jobs.enqueue(acts, { act: "log in order" });
    await runUntilIdle(worker);
    expect(seen).toBe(10);
    const lines = here.lines.filter(({ level }) => level === "info");
    expect(lines.map(({ message }) => message)).toEqual(Array.from({ length: 10 }, (_, i) => `line ${i}`));
    expect(lines[3]?.details).toEqual({ job: handle.id, name: "acts", attempt: 1, i: 3 });
  });

  it("lose no call that the handler did not wait for", async () => {
    here = await world(memory as (typeof storages)[0]);
    const n = limits.threadCalls * 5;
    await here.jobs.enqueue(acts, { act: "enqueue and forget", more: n });
    await runUntilIdle(here.jobs.worker([acts]));
    expect(await here.jobs.count({ name: "late" })).toEqual({ n, exact: true });
  });

  it("load JavaScript, TypeScript that needs more than its types taken away, and `.ts` where `.js` is said", async () => {
    here = await world(memory as (typeof storages)[0]);
    const url = (file: string): URL => new URL(`./thread-handlers/${file}`, import.meta.url);
    const plain = defineJob({ name: "plain", payload: json<{ file: string }>(), thread: url("plain.js") });
    const typed = defineJob({ name: "typed", payload: json<number>(), thread: url("typescript-only.js") });
    const noDefault = defineJob({ name: "no-default", maxRetries: 0, thread: url("no-default.ts") });
    const broken = defineJob({ name: "broken", maxRetries: 0, thread: url("throws-at-load.ts") });
    const handles = [
      await here.jobs.enqueue(plain, { file: "/a/b.png" }),
      await here.jobs.enqueue(typed, 3),
      await here.jobs.enqueue(noDefault, 0),
      await here.jobs.enqueue(broken, 0),
    ];
    await runUntilIdle(here.jobs.worker([plain, typed, noDefault, broken]));
    const jobs = await Promise.all(handles.map((handle) => handle.get()));
    expect(jobs[0]?.result).toEqual({ name: "b.png", attempt: 1 });
    expect(jobs[1]?.result).toBe("Odd");
    expect(jobs[2]?.error).toMatchObject({
      name: "InvalidOptionError",
      message: expect.stringMatching(/default/),
    });
    expect(jobs[3]?.error).toMatchObject({ message: "cannot be loaded" });
  });

  it("check the payload before, and hand the schema's output over", async () => {
    here = await world(memory as (typeof storages)[0]);
    const { z } = await import("zod");
    const strict = defineJob({
      name: "strict",
      payload: z.object({ act: z.literal("return") }),
      thread: ACTS,
    });
    const uncloneable = defineJob({
      name: "uncloneable",
      payload: z.object({ act: z.string() }).transform((value) => ({ ...value, more: () => 1 })),
      thread: ACTS,
    });
    const asynchronous = defineJob({
      name: "asynchronous",
      payload: z.object({ act: z.string() }).refine(async ({ act }) => act !== "refused"),
      thread: ACTS,
    });
    // As an older version of the program may have stored it.
    const loose = defineJob({ name: "strict", payload: json<unknown>() });
    const handles = [
      await here.jobs.enqueue(strict, { act: "return" }),
      await here.jobs.enqueue(loose, { act: "exit" }),
      await here.jobs.enqueue(uncloneable, { act: "return" }),
      await here.jobs.enqueue(asynchronous, { act: "return" }),
    ];
    await runUntilIdle(here.jobs.worker([strict, uncloneable, asynchronous]));
    const jobs = await Promise.all(handles.map((handle) => handle.get()));
    expect(jobs.map((job) => job?.state)).toEqual(["completed", "dead", "dead", "completed"]);
    expect(jobs[1]?.error).toMatchObject({ name: "InvalidPayloadError" });
    expect(jobs[2]?.error).toMatchObject({
      name: "InvalidPayloadError",
      message: expect.stringMatching(/cannot be handed to a thread/),
    });
  });

  it("run at most as many at once as there are, beside handlers of the same queue, whose slots they share", async () => {
    here = await world(memory as (typeof storages)[0]);
    let inMain = 0;
    let mainMost = 0;
    const opens: (() => void)[] = [];
    const main = defineJob({
      name: "main",
      run: () => {
        inMain += 1;
        mainMost = Math.max(mainMost, inMain);
        return new Promise<void>((resolve) =>
          opens.push(() => {
            inMain -= 1;
            resolve();
          }),
        );
      },
    });
    const stuck = await here.jobs.enqueueMany(
      acts,
      Array.from({ length: 5 }, () => ({ act: "until the signal" })),
    );
    await here.jobs.enqueueMany(main, [1, 2, 3, 4]);
    const worker = here.jobs.worker([acts, main], { concurrency: 4, threads: 2, pollInterval: 20 });
    await worker.start();
    const waits = (): number => here.lines.filter(({ message }) => message === "waits").length;
    await until(() => waits() === 2 && inMain === 2);
    expect(worker.running).toBe(4);
    // No more threads than two, and no job is leased to wait for one.
    const states = async (): Promise<string[]> =>
      (await Promise.all(stuck.map((handle) => handle.get()))).map((job) => job?.state ?? "");
    expect((await states()).filter((state) => state === "running")).toHaveLength(2);
    // Nor is the storage asked again and again for what there is no thread for.
    const asked = here.faults.calls.get("exchange") ?? 0;
    await turns(300);
    expect((here.faults.calls.get("exchange") ?? 0) - asked).toBeLessThan(30);
    // Each slot that becomes free is taken by who may have it.
    opens[0]?.();
    opens[1]?.();
    await until(() => opens.length === 4);
    expect(waits()).toBe(2);
    opens[2]?.();
    opens[3]?.();
    for (const [i, handle] of stuck.entries()) {
      await until(() => waits() > i);
      await handle.cancel();
    }
    await until(async () => (await states()).every((state) => state === "cancelled"));
    expect(mainMost).toBe(2);
    await worker.stop();
  });

  it("are refused where they make no sense, before anything runs", async () => {
    here = await world(memory as (typeof storages)[0]);
    const define = (more: object) => () =>
      defineJob({ name: "x", ...more } as { name: string; run: () => void });
    const thread = ACTS;
    for (const [more, says] of [
      [{ thread, run: () => 1 }, /either `run` or `thread`/],
      [{ thread: "./x.js" }, /new URL/],
      [{ thread: new URL("https://example.com/x.js") }, /new URL/],
      [{ threadMemoryMb: 64 }, /with `thread` only/],
      [{ thread, threadMemoryMb: 31 }, /integer from 32 to 65536/],
      [{ thread, threadMemoryMb: 64.5 }, /integer from 32 to 65536/],
    ] as const) {
      expect(define(more), String(says)).toThrow(says);
      expect(define(more)).toThrow(InvalidOptionError);
    }
    const missing = defineJob({ name: "missing", thread: new URL("./nowhere.js", import.meta.url) });
    expect(() => here.jobs.worker([missing])).toThrow(/nowhere\.js.*There is no such file/);
    expect(() => here.jobs.worker([acts], { threads: 0 })).toThrow(/threads is 0.*1 to 256/);
    expect(() => here.jobs.worker([defineJob({ name: "none" })])).toThrow(MissingHandlerError);
  });
});
