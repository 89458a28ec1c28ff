import { afterEach, describe, expect, it } from "vitest";
import {
  defineJob,
  InvalidOptionError,
  InvalidValueError,
  JobCancelledError,
  JobFailedError,
  ResultGoneError,
  ResultTimeoutError,
  StorageClosedError,
  UnrecoverableError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { turns, until, type World, world } from "../support/world.ts";

const echo = defineJob({ name: "echo", run: (payload) => payload });
const timeout = "20s";

describe.each(storages)("result() on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("waits from before any worker exists", async () => {
    here = await world(kind);
    const handle = await here.jobs.enqueue(echo, { a: [1, null] });
    const result = handle.result({ timeout });
    await turns();
    await runUntilIdle(here.jobs.worker([echo]));
    expect(await result).toEqual({ a: [1, null] });
    // And again, and by an id that was kept somewhere.
    expect(await handle.result({ timeout })).toEqual({ a: [1, null] });
    const minted = here.jobs.handle<{ a: unknown[] }>(handle.id);
    expect((await minted.result({ timeout })).a).toHaveLength(2);
    expect(minted.created).toBe(false);
  });

  it("arrives when every hint is lost, and storage calls fail on the way", async () => {
    here = await world(kind);
    here.faults.loseHints();
    const handle = await here.jobs.enqueue(echo, 7);
    here.faults.plan("get", { kind: "reject" }, 3);
    const result = handle.result({ timeout });
    await turns();
    await runUntilIdle(here.jobs.worker([echo]));
    expect(await result).toBe(7);
  });

  it("serves many who wait with few looks", async () => {
    here = await world(kind);
    const handles = await here.jobs.enqueueMany(
      echo,
      Array.from({ length: 200 }, (_, n) => n),
    );
    const results = handles.map((handle) => handle.result({ timeout }));
    await runUntilIdle(here.jobs.worker([echo]));
    expect(await Promise.all(results)).toEqual(Array.from({ length: 200 }, (_, n) => n));
    expect(here.faults.calls.get("get")).toBeLessThan(60);
  });

  it("tells how else a job ends: dead with its error as the cause, cancelled with its reason", async () => {
    here = await world(kind);
    const fails = defineJob({
      name: "fails",
      run: () => {
        throw new UnrecoverableError("no such file", { cause: new RangeError("inner") });
      },
    });
    const dead = await here.jobs.enqueue(fails, 0);
    const cancelled = await here.jobs.enqueue(echo, 0);
    expect(await cancelled.cancel("not needed")).toBe("cancelled");
    await runUntilIdle(here.jobs.worker([fails, echo]));
    const failure = (await dead.result({ timeout }).catch((error: unknown) => error)) as JobFailedError;
    expect(failure).toBeInstanceOf(JobFailedError);
    expect(failure).toMatchObject({ jobId: dead.id, code: "JOBWRIGHT_JOB_FAILED" });
    expect(failure.message).toMatch(/no such file/);
    expect(failure.cause).toMatchObject({ name: "UnrecoverableError", message: "no such file" });
    expect((failure.cause as Error).cause).toMatchObject({ name: "RangeError", message: "inner" });
    const ended = (await cancelled.result({ timeout }).catch((error: unknown) => error)) as JobCancelledError;
    expect(ended).toBeInstanceOf(JobCancelledError);
    expect(ended.reason).toBe("not needed");
  });

  it("ends at its timeout with no effect on the job, and at its signal with the signal's reason", async () => {
    here = await world(kind);
    const handle = await here.jobs.enqueue(echo, 1);
    await expect(handle.result({ timeout: 20 })).rejects.toThrow(ResultTimeoutError);
    const controller = new AbortController();
    const waiting = handle.result({ timeout, signal: controller.signal });
    const reason = new Error("gone home");
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(handle.result({ timeout, signal: controller.signal })).rejects.toBe(reason);
    expect((await handle.get())?.state).toBe("available");
    // Whoever is left still gets it.
    const patient = handle.result({ timeout });
    await expect(handle.result({ timeout: 20 })).rejects.toThrow(ResultTimeoutError);
    await runUntilIdle(here.jobs.worker([echo]));
    expect(await patient).toBe(1);
  });

  it("is handed to those who wait at that moment when the job is not kept; later it is gone", async () => {
    here = await world(kind);
    const gone = { retention: { completed: 0, cancelled: 0, dead: 0 } };
    const handle = await here.jobs.enqueue(echo, "now", gone);
    const unseen = await here.jobs.enqueue(echo, "unseen", gone);
    const waiting = [handle.result({ timeout }), here.jobs.handle(handle.id).result({ timeout })];
    await turns();
    const worker = here.jobs.worker([echo]);
    expect(await runUntilIdle(worker)).toBe(2);
    expect(await Promise.all(waiting)).toEqual(["now", "now"]);
    await expect(unseen.result({ timeout })).rejects.toThrow(ResultGoneError);
    // Kept for a minute for those who watched, and no longer.
    await here.clock.advance("61s");
    await runUntilIdle(worker);
    await expect(handle.result({ timeout })).rejects.toThrow(ResultGoneError);
    expect(await handle.get()).toBeUndefined();
    await expect(here.jobs.handle("4711").result({ timeout })).rejects.toThrow(ResultGoneError);
  });

  it("rejects when the result could not be kept, and answers undefined for none", async () => {
    here = await world(kind);
    const odd = defineJob({ name: "odd", run: () => ({ big: 10n }) });
    const none = defineJob({ name: "none", run: () => undefined });
    const first = await here.jobs.enqueue(odd, 0);
    const second = await here.jobs.enqueue(none, 0);
    await runUntilIdle(here.jobs.worker([odd, none]));
    expect(await first.get()).toMatchObject({ state: "completed", reason: expect.stringMatching(/BigInt/) });
    await expect(first.result({ timeout })).rejects.toThrow(InvalidValueError);
    // One sentence of each kind: the reason that is kept says by itself that the result cannot be stored.
    await expect(first.result({ timeout })).rejects.toThrow(
      new RegExp(`^The result of job ${first.id} cannot be stored\\. (?!.*cannot be stored)`),
    );
    expect(await second.result({ timeout })).toBeUndefined();
  });

  it("refuses to wait without a bound", async () => {
    here = await world(kind);
    const handle = await here.jobs.enqueue(echo, 1);
    for (const bad of [Number.POSITIVE_INFINITY, Number.NaN, 0, -1, "25d", "soon", undefined]) {
      await expect(handle.result({ timeout: bad as never })).rejects.toThrow(InvalidOptionError);
    }
    await expect(handle.result(undefined as never)).rejects.toThrow(InvalidOptionError);
    for (const bad of ["", "0", "-1", "1.5", "x", "99999999999999999", "9007199254740993", 7, null]) {
      expect(() => here.jobs.handle(bad as never)).toThrow(InvalidOptionError);
    }
  });

  it("ends when the jobs are closed, and keeps no timer behind when they are closed already", async () => {
    here = await world(kind);
    const handle = await here.jobs.enqueue(echo, 1);
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const waiting = handle.result({ timeout }).catch((error: unknown) => error);
    await turns();
    await here.jobs.close();
    expect(await waiting).toBeInstanceOf(StorageClosedError);
    await turns();
    const before = timers();
    await expect(handle.result({ timeout: "20d" })).rejects.toThrow(StorageClosedError);
    await until(() => timers() <= before);
  });
});
