import { afterEach, describe, expect, it } from "vitest";
import {
  connect,
  defineJob,
  InvalidOptionError,
  StateError,
  StorageClosedError,
  UnrecoverableError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { gate, until, type World, world } from "../support/world.ts";

const echo = defineJob({ name: "echo", run: (payload) => payload });
const doomed = defineJob({
  name: "doomed",
  run: () => {
    throw new UnrecoverableError("no");
  },
});

describe.each(storages)("looking and steering on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("gets one consistent look at a job", async () => {
    here = await world(kind);
    const handle = await here.jobs.enqueue(echo, { a: 1 }, { tags: ["x"], priority: 4 });
    const now = new Date(here.clock.now());
    expect(await handle.get()).toEqual({
      id: handle.id,
      name: "echo",
      queue: "default",
      state: "available",
      payload: { a: 1 },
      priority: 4,
      attempt: 0,
      maxRetries: 5,
      createdAt: now,
      runAt: now,
      tags: ["x"],
      snoozes: 0,
      releases: 0,
    });
    expect(await here.jobs.get("987654321")).toBeUndefined();
    await expect(here.jobs.get("nonsense")).rejects.toThrow(InvalidOptionError);
    await here.clock.advance("1s");
    await runUntilIdle(here.jobs.worker([echo]));
    expect(await handle.get()).toMatchObject({
      state: "completed",
      attempt: 1,
      result: { a: 1 },
      startedAt: new Date(here.clock.now()),
      endedAt: new Date(here.clock.now()),
    });
  });

  it("lists by state in pages, counts, and refuses nonsense as a rejection", async () => {
    here = await world(kind);
    const { jobs } = here;
    await jobs.enqueueMany(
      echo,
      Array.from({ length: 25 }, (_, n) => n),
    );
    await jobs.enqueue(doomed, 0, { queue: "other" });
    const seen: unknown[] = [];
    let after: string | undefined;
    do {
      const page = await jobs.list({
        state: "available",
        name: "echo",
        limit: 10,
        ...(after === undefined ? {} : { after }),
      });
      seen.push(...page.jobs.map(({ payload }) => payload));
      after = page.next;
    } while (after !== undefined);
    expect(seen).toEqual(Array.from({ length: 25 }, (_, n) => n));
    expect(await jobs.count()).toEqual({ n: 26, exact: true });
    expect(await jobs.count({ queue: "other", name: "doomed", state: "available" })).toEqual({
      n: 1,
      exact: true,
    });
    expect(await jobs.count({ state: "dead" })).toEqual({ n: 0, exact: true });
    await expect(jobs.count({ state: "failed" as never })).rejects.toThrow(InvalidOptionError);
    await expect(jobs.list({ state: "failed" as never })).rejects.toThrow(InvalidOptionError);
    for (const limit of [0, 1_001, 1.5, Number.NaN]) {
      await expect(jobs.list({ state: "dead", limit })).rejects.toThrow(InvalidOptionError);
    }
    await expect(jobs.pause({ queue: "" })).rejects.toThrow(InvalidOptionError);
    await expect(jobs.resume(undefined as never)).rejects.toThrow(InvalidOptionError);
  });

  it("cancels what waits, asks what runs, and leaves what is finished", async () => {
    here = await world(kind);
    const { jobs } = here;
    const waiting = await jobs.enqueue(echo, 1);
    const scheduled = await jobs.enqueue(echo, 1, { in: "1h" });
    expect(await waiting.cancel("why not")).toBe("cancelled");
    expect(await jobs.cancel(scheduled.id)).toBe("cancelled");
    expect(await waiting.get()).toMatchObject({ state: "cancelled", reason: "why not", attempt: 0 });
    expect(await waiting.cancel()).toBe("finished");
    expect(await jobs.cancel("4711")).toBe("missing");
    const worker = jobs.worker([echo]);
    await here.clock.advance("2h");
    expect(await runUntilIdle(worker)).toBe(0);
    // Back again, by request.
    expect(await jobs.retry(waiting.id)).toBe(true);
    expect(await jobs.retry(waiting.id)).toBe(false);
    expect(await runUntilIdle(worker)).toBe(1);
    expect(await waiting.get()).toMatchObject({ state: "completed", attempt: 1 });
  });

  it("retries what is dead with attempts anew, and brings what is scheduled forward", async () => {
    here = await world(kind);
    const { jobs } = here;
    const dead = await jobs.enqueue(doomed, 0);
    const later = await jobs.enqueue(echo, 0, { in: "1d" });
    const worker = jobs.worker([doomed, echo]);
    await runUntilIdle(worker);
    expect(await dead.get()).toMatchObject({ state: "dead", attempt: 1, error: { message: "no" } });
    expect(await jobs.retry(dead.id)).toBe(true);
    expect(await dead.get()).toMatchObject({ state: "available", attempt: 0 });
    expect(await jobs.retry(later.id)).toBe(true);
    expect(await runUntilIdle(worker)).toBe(2);
    expect(await later.get()).toMatchObject({ state: "completed" });
    expect((await jobs.attempts(dead.id)).map(({ number, attempt }) => [number, attempt])).toEqual([
      [1, 1],
      [2, 1],
    ]);
    expect(await jobs.retry("4711")).toBe(false);
  });

  it("removes all but what runs", async () => {
    here = await world(kind);
    const { jobs } = here;
    const inside = gate();
    const leave = gate();
    const held = defineJob({
      name: "held",
      run: async () => {
        inside.open();
        await leave.promise;
      },
    });
    const running = await jobs.enqueue(held, 0);
    const waiting = await jobs.enqueue(echo, 0, { queue: "nobody" });
    const done = runUntilIdle(jobs.worker([held]));
    await inside.promise;
    expect(await jobs.remove(running.id)).toBe(false);
    expect((await running.get())?.state).toBe("running");
    expect(await jobs.remove(waiting.id)).toBe(true);
    expect(await jobs.remove(waiting.id)).toBe(false);
    leave.open();
    await done;
    expect(await jobs.remove(running.id)).toBe(true);
    expect((await jobs.count()).n).toBe(0);
  });

  it("pauses and resumes a queue, or one name in it, for every worker", async () => {
    here = await world(kind);
    const { jobs } = here;
    await jobs.enqueue(echo, 1);
    await jobs.enqueue(doomed, 1);
    const worker = jobs.worker([echo, doomed]);
    await jobs.pause({ queue: "default" });
    expect(await runUntilIdle(worker)).toBe(0);
    expect(await jobs.queues()).toMatchObject([{ queue: "default", paused: true }]);
    await jobs.resume({ queue: "default" });
    await jobs.pause({ queue: "default", name: "echo" });
    expect(await runUntilIdle(worker)).toBe(1);
    expect(await jobs.queues()).toMatchObject([
      {
        paused: false,
        counts: { available: 1, dead: 1 },
        servedBy: 1,
        names: [
          { name: "doomed", paused: false },
          { name: "echo", paused: true, counts: { available: 1 } },
        ],
      },
    ]);
    await jobs.resume({ queue: "default", name: "echo" });
    expect(await runUntilIdle(worker)).toBe(1);
  });

  it("shows the processes that work while they do", async () => {
    here = await world(kind);
    const { jobs } = here;
    expect(await jobs.processes()).toEqual([]);
    const worker = jobs.worker([echo], { name: "mailer-1", concurrency: 3 });
    await runUntilIdle(worker);
    expect(await jobs.processes()).toMatchObject([
      {
        id: worker.processId,
        name: "mailer-1",
        pid: process.pid,
        lost: false,
        running: 0,
        lostAfterMs: 25_000,
        queues: [{ queue: "default", names: ["echo"], concurrency: 3 }],
      },
    ]);
    await worker.stop();
    expect(await jobs.processes()).toEqual([]);
  });

  it("closes: workers stop, enqueues under way are stored, later ones are refused", async () => {
    here = await world(kind);
    const { jobs, faults } = here;
    const slow = gate();
    faults.plan("enqueue", { kind: "delay", until: slow.promise });
    const underWay = jobs.enqueue(echo, 1);
    const worker = jobs.worker([echo]);
    await worker.start();
    const closing = jobs.close();
    expect(jobs.close()).toBe(closing);
    slow.open();
    expect((await underWay).created).toBe(true);
    await closing;
    await expect(jobs.enqueue(echo, 2)).rejects.toThrow(StateError);
    expect(() => jobs.worker([echo])).toThrow(StateError);
    await expect(jobs.count()).rejects.toThrow(StorageClosedError);
    await expect(worker.start()).rejects.toThrow(StateError);
  });

  it("lets the handlers of a closing worker enqueue until they end", async () => {
    here = await world(kind);
    const { jobs } = here;
    const inside = gate();
    let id: string | undefined;
    let closing: Promise<void> | undefined;
    const parent = defineJob({
      name: "parent",
      run: async (_payload, ctx) => {
        inside.open();
        await until(() => closing !== undefined);
        id = (await ctx.jobs.enqueue(echo, "late")).id;
      },
    });
    await jobs.enqueue(parent, 0);
    const worker = jobs.worker([parent]);
    await worker.start();
    await inside.promise;
    closing = jobs.close();
    await closing;
    expect(id).toBeDefined();
  });

  it("closes the storage also when a worker's state cannot be disposed", async () => {
    here = await world(kind);
    const { jobs } = here;
    const state = (): Disposable => ({
      [Symbol.dispose]: () => {
        throw new Error("state is stuck");
      },
    });
    const worker = jobs.worker([echo], { state });
    await worker.start();
    await expect(jobs.close()).rejects.toThrow("state is stuck");
    await expect(jobs.count()).rejects.toThrow(StorageClosedError);
  });

  it("refuses unknown options, bad liveness and a foreign clock at connect", async () => {
    here = await world(kind);
    const { storage } = here.faults;
    const refused: object[] = [
      { retries: 3 },
      { lostAfter: "10s", beatEvery: "4s" },
      { lostAfter: Number.POSITIVE_INFINITY },
      { lostAfter: 10 },
      { beatEvery: 0 },
      { clock: { now: () => 0, at: () => ({ cancel: () => undefined }) } },
      { defaults: { id: "x" } },
      { defaults: { priority: Number.NaN } },
    ];
    for (const options of refused) {
      await expect(connect(storage, options)).rejects.toThrow(InvalidOptionError);
    }
    for (const target of ["", "redis://user:secret@host", "memory", "lmdb:", undefined, {}]) {
      const error = await connect(target as never).catch((problem: unknown) => problem);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect(String(error)).not.toMatch(/secret/);
    }
  });
});
