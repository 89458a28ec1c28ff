// What only the memory storage does: its bounds, and that a call is done before its promise is given out.
// The contract is in test/storage.test.ts.
import { describe, expect, it } from "vitest";
import { InvalidOptionError, StorageFullError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import { TestClock } from "../../testing/test-clock.ts";
import type { NewJob } from "../storage.ts";
import { Batches } from "./batches.ts";
import { MemoryStorage, type MemoryStorageOptions } from "./index.ts";

function newJob(more: Partial<NewJob> = {}): NewJob {
  return {
    ...{
      name: "a",
      queue: "q",
      payload: "1",
      maxRetries: 0,
      backoff: { kind: "fixed", delayMs: 0 },
      tags: [],
    },
    ...{ timeoutMs: null, retention: { completedMs: 10, cancelledMs: 10, deadMs: 10 }, priority: 0 },
    ...more,
  };
}

async function opened(options: MemoryStorageOptions = {}): Promise<MemoryStorage> {
  const storage = new MemoryStorage({ clock: new TestClock(), ...options });
  await storage.open();
  await storage.beat({
    ...{ id: "p1", host: "h", pid: 1, lostAfterMs: 60_000, queues: [], holds: [], starts: [], first: true },
  });
  return storage;
}

const claim = {
  processId: "p1",
  token: "p1:1",
  starts: [],
  queues: [{ queue: "q", names: ["a"], room: 9, readAhead: 0 }],
};

describe("MemoryStorage", () => {
  it("is named memory, or as it is told", () => {
    expect(new MemoryStorage().label).toBe("memory");
    expect(new MemoryStorage({ label: "memory:test" }).label).toBe("memory:test");
  });

  it("follows the machine's clocks unless it is given others", async () => {
    const storage = new MemoryStorage();
    const before = Date.now();
    expect(storage.clock.now()).toBeGreaterThanOrEqual(before);
    await storage.open();
    await storage.beat({
      ...{ id: "p", host: "h", pid: 1, lostAfterMs: 60_000, queues: [], holds: [], starts: [], first: true },
    });
    const [info] = await storage.processes();
    expect(info?.silentMs).toBeGreaterThanOrEqual(0);
    expect(info?.lost).toBe(false);
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])("refuses maxJobs %s", (maxJobs) => {
    expect(() => new MemoryStorage({ maxJobs })).toThrow(InvalidOptionError);
  });

  it("refuses jobs beyond maxJobs, whole calls, and names the bound and what to do", async () => {
    const storage = await opened({ maxJobs: 3 });
    await storage.enqueue([[newJob(), newJob()]]);
    const tooMany = storage.enqueue([[newJob()], [newJob()]], "batch");
    await expect(tooMany).rejects.toThrow(StorageFullError);
    await expect(tooMany).rejects.toThrow(/maxJobs = 3.*Raise maxJobs.*retention/);
    expect(await storage.count({})).toEqual({ n: 2, exact: true });
    // The refused batch was not remembered, and what fits is taken.
    const [answer] = await storage.enqueue([[newJob()]], "batch");
    expect(answer?.ok).toBe(true);
    await expect(storage.enqueue([[newJob()]])).rejects.toThrow(StorageFullError);
  });

  it("answers what exists already also when it is full", async () => {
    const storage = await opened({ maxJobs: 1 });
    const answer = await storage.enqueue([[newJob({ givenId: "x" })]], "batch");
    expect(await storage.enqueue([[newJob({ givenId: "x" })]], "batch")).toEqual(answer);
    const [again] = await storage.enqueue([[newJob({ givenId: "x" })]]);
    expect(again).toMatchObject({ ok: true, jobs: [{ status: "existing" }] });
    await expect(storage.enqueue([[newJob({ givenId: "y" })]])).rejects.toThrow(StorageFullError);
  });

  it("counts finished jobs until they are pruned", async () => {
    const clock = new TestClock();
    const storage = await opened({ maxJobs: 1, clock });
    await storage.enqueue([[newJob()]]);
    const { jobs } = await storage.claim(claim);
    const [job] = jobs;
    if (job === undefined) throw new Error("no job was given");
    await storage.settle([{ lease: job, outcome: { state: "completed" }, startedAt: 0 }]);
    await expect(storage.enqueue([[newJob()]])).rejects.toThrow(StorageFullError);
    await clock.advance(10);
    expect(await storage.prune(10)).toBe(1);
    expect(await storage.enqueue([[newJob()]])).toMatchObject([{ ok: true }]);
  });

  it("refuses a settle whose jobs do not fit, and applies nothing of it", async () => {
    const storage = await opened({ maxJobs: 2 });
    await storage.enqueue([[newJob(), newJob()]]);
    const { jobs } = await storage.claim(claim);
    const settlements = jobs.map((lease, index) => ({
      ...{ lease, outcome: { state: "completed" } as const, startedAt: 0 },
      ...(index === 1 ? { enqueue: [newJob()] } : {}),
    }));
    await expect(storage.settle(settlements)).rejects.toThrow(StorageFullError);
    expect(await storage.count({ state: "running" })).toEqual({ n: 2, exact: true });
    expect(await storage.settle(settlements.slice(0, 1))).toEqual(["settled"]);
  });

  it("bounds its lanes, because they are listed for ever", async () => {
    const storage = await opened();
    const lanes = 50_000;
    for (let from = 0; from < lanes; from += 5_000) {
      await storage.enqueue([Array.from({ length: 5_000 }, (_, n) => newJob({ queue: `q${from + n}` }))]);
    }
    const one = [[newJob({ queue: "q0" }), newJob({ queue: "one more" })]];
    await expect(storage.enqueue(one)).rejects.toThrow(StorageFullError);
    await expect(storage.configure({ queue: "q", name: "b" }, { paused: true })).rejects.toThrow(/50000/);
    expect(await storage.count({})).toEqual({ n: lanes, exact: true });
    expect(await storage.enqueue([[newJob({ queue: "q0" })]])).toMatchObject([{ ok: true }]);
  });

  it("lists jobs that ended in one millisecond newest end first", async () => {
    const storage = await opened();
    await storage.enqueue([[newJob(), newJob(), newJob()]]);
    const [a, b, c] = (await storage.claim(claim)).jobs;
    for (const lease of [b, c, a]) {
      if (lease === undefined) throw new Error("no job was given");
      await storage.settle([{ lease, outcome: { state: "completed" }, startedAt: 0 }]);
    }
    const { jobs } = await storage.list({ state: "completed", limit: 10 });
    expect(jobs.map(({ id }) => id)).toEqual([a?.id, c?.id, b?.id]);
  });

  it("refuses a cursor of another state's listing", async () => {
    const storage = await opened();
    await storage.enqueue([[newJob(), newJob()]]);
    const { next } = await storage.list({ state: "available", limit: 1 });
    if (next === undefined) throw new Error("no second page");
    await expect(storage.list({ state: "scheduled", limit: 1, after: next })).rejects.toThrow(
      InvalidOptionError,
    );
    await expect(storage.list({ state: "nonsense" as "dead", limit: 1 })).rejects.toThrow(InvalidOptionError);
  });

  it("wakes who waits for a job that is removed, so that he can learn of it", async () => {
    const storage = await opened();
    await storage.enqueue([[newJob()]]);
    const { jobs } = await storage.list({ state: "available", limit: 1 });
    let woken = 0;
    storage.watch({ finished: jobs.map(({ id }) => id) }, () => woken++);
    await storage.change(
      jobs.map(({ id }) => id),
      { kind: "remove" },
    );
    await Promise.resolve();
    expect(woken).toBe(1);
  });

  it("wakes once for all that happens in one call, and nobody who waits when it closes", async () => {
    const storage = await opened();
    let woken = 0;
    storage.watch(
      { available: [{ queue: "q" }, { queue: "q", names: ["a"] }, { queue: "r" }] },
      () => woken++,
    );
    await storage.enqueue([[newJob(), newJob({ queue: "r" })], [newJob()]]);
    await Promise.resolve();
    expect(woken).toBe(1);
    const last = storage.enqueue([[newJob()]]);
    await storage.close();
    await last;
    expect(woken).toBe(1);
  });

  it("has done its work when a call has returned, before its promise is awaited", async () => {
    const storage = await opened();
    const stored = storage.enqueue([[newJob()]]);
    const claimed = storage.claim(claim);
    const counted = storage.count({ state: "running" });
    expect((await claimed).jobs).toHaveLength(1);
    expect((await counted).n).toBe(1);
    await stored;
  });
});

describe("Batches", () => {
  const answer = (jobs: number) => [
    { ok: true as const, jobs: Array.from({ length: jobs }, () => ({ status: "created" as const, id: 1 })) },
  ];

  it("forgets the oldest answers when they are too many together", () => {
    const batches = new Batches();
    for (let n = 0; n < 150; n++) batches.remember(`batch ${n}`, answer(4_999), 0);
    expect(batches.answerOf("batch 0")).toBeUndefined();
    expect(batches.answerOf("batch 49")).toBeUndefined();
    expect(batches.answerOf("batch 50")).toHaveLength(1);
    expect(batches.answerOf("batch 149")).toHaveLength(1);
  });

  it("forgets answers after their time", () => {
    const batches = new Batches();
    batches.remember("old", answer(1), 0);
    batches.remember("new", answer(1), 1);
    batches.forgetOld(limits.batchMemoryMs - 1);
    expect(batches.answerOf("old")).toBeDefined();
    batches.forgetOld(limits.batchMemoryMs);
    expect(batches.answerOf("old")).toBeUndefined();
    expect(batches.answerOf("new")).toBeDefined();
  });
});
