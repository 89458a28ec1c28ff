import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { defineBatchJob, defineJob, fixed, item as enqueueItem, json } from "../../src/index.ts";
import type { Observer } from "../../src/observer.ts";
import type { ClaimedJob } from "../../src/storage/storage.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { engines, type StorageKind } from "../support/storages.ts";
import { gate, turns, until, type World, world } from "../support/world.ts";

// Goal: a batch holds slots, leases, time and signals as single jobs do, beside whatever else the worker runs.

const memory = engines.find(({ label }) => label === "memory") as StorageKind;
const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

let here: World;
afterEach(() => here?.[Symbol.asyncDispose]());

describe("a batch", () => {
  it.each([
    ["at once", z.object({ n: z.number() })],
    ["later", z.object({ n: z.number() }).refine(() => turns(1).then(() => true))],
  ])(
    "sees no bad payload, judged %s: its job is dead alone, also when all are bad",
    async (_when, schema) => {
      here = await world(memory);
      const { jobs } = here;
      const seen: unknown[] = [];
      const loose = defineJob({ name: "checked" });
      const checked = defineBatchJob({
        name: "checked",
        payload: schema,
        run: (items) => void seen.push(...items.map(({ payload }) => payload)),
      });
      const handles = await jobs.enqueueMany(loose, [{ n: 1 }, { n: "two" }, { n: 3 }]);
      const worker = jobs.worker([checked]);
      await runUntilIdle(worker);
      const onlyBad = await jobs.enqueue(loose, {});
      expect(await runUntilIdle(worker)).toBe(1);
      expect(seen).toEqual([{ n: 1 }, { n: 3 }]);
      expect(await Promise.all(handles.map(async (handle) => (await handle.get())?.state))).toEqual([
        "completed",
        "dead",
        "completed",
      ]);
      expect((await onlyBad.get())?.error?.code).toBe("JOBWRIGHT_INVALID_PAYLOAD");
    },
  );

  it("takes one slot, so that concurrency counts calls", async () => {
    here = await world(memory);
    const { jobs } = here;
    const open = gate();
    const calls: number[] = [];
    const slow = defineBatchJob({
      name: "slow",
      maxBatch: 10,
      run: async (items) => {
        calls.push(items.length);
        await open.promise;
      },
    });
    await jobs.enqueueMany(slow, numbers(45));
    const worker = jobs.worker([slow], { concurrency: 3 });
    await worker.start();
    await until(() => calls.length === 3);
    await turns();
    expect([calls, worker.running]).toEqual([[10, 10, 10], 30]);
    open.open();
    await until(async () => (await jobs.count({ state: "completed" })).n === 45);
    await worker.stop();
    expect(calls).toEqual([10, 10, 10, 10, 5]);
  });

  it("waits for more where it says so, and no longer than it says", async () => {
    here = await world(memory);
    const { jobs } = here;
    const calls: number[] = [];
    const patient = defineBatchJob({
      name: "patient",
      maxBatch: 4,
      maxWait: "200ms",
      run: (items) => void calls.push(items.length),
    });
    const worker = jobs.worker([patient]);
    await worker.start();
    // One after the other, so that each comes with a claim of its own.
    const handles = [await jobs.enqueue(patient, 1), await jobs.enqueue(patient, 2)];
    const first = performance.now();
    await Promise.all(handles.map((handle) => handle.result({ timeout: "1m" })));
    // A timer may be a little early.
    expect(performance.now() - first).toBeGreaterThan(150);
    const more = [];
    for (const n of numbers(8)) more.push(await jobs.enqueue(patient, n));
    await Promise.all(more.map((handle) => handle.result({ timeout: "1m" })));
    await worker.stop();
    expect(calls).toEqual([2, 4, 4]);
  });

  it("waits for nobody when somebody waits for the end, and is given back at a stop while it waits", async () => {
    here = await world(memory);
    const { jobs } = here;
    const patient = defineBatchJob({ name: "patient", maxWait: "1m", run: () => undefined });
    await jobs.enqueueMany(patient, [1, 2]);
    // It would take a minute otherwise, which is longer than this test may.
    expect(await runUntilIdle(jobs.worker([patient]))).toBe(2);
    const worker = jobs.worker([patient]);
    await worker.start();
    const { id } = await jobs.enqueue(patient, 3);
    await until(async () => (await jobs.get(id))?.state === "running");
    await worker.stop();
    expect(await jobs.get(id)).toMatchObject({ state: "available", attempt: 0 });
  });

  it("has the time of the job that has most; what was said in time counts, the rest has failed", async () => {
    here = await world(memory);
    const { jobs, clock } = here;
    const begun = gate();
    let reason: unknown;
    const slow = defineBatchJob({
      name: "slow",
      backoff: fixed("1h"),
      run: async (items, ctx) => {
        items[0]?.complete("in time");
        begun.open();
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
        reason = ctx.signal.reason;
        items[1]?.complete("too late");
      },
    });
    const [a, b] = [
      await jobs.enqueue(slow, 1, { timeout: "10s" }),
      await jobs.enqueue(slow, 2, { timeout: "1m" }),
    ];
    const worker = jobs.worker([slow]);
    await worker.start();
    await begun.promise;
    await clock.advance("59s");
    expect(reason).toBeUndefined();
    await clock.advance("1s");
    await until(async () => (await b.get())?.state === "scheduled");
    await worker.stop();
    expect(reason).toMatchObject({ code: "JOBWRIGHT_TIMEOUT", message: expect.stringContaining("60000 ms") });
    expect(await a.get()).toMatchObject({ state: "completed", result: "in time" });
    expect((await b.get())?.error?.code).toBe("JOBWRIGHT_TIMEOUT");
  });

  it("goes on when one of its jobs is cancelled, which has a signal of its own", async () => {
    here = await world(memory);
    const { jobs } = here;
    const begun = gate();
    const aborted: unknown[] = [];
    const slow = defineBatchJob({
      name: "slow",
      run: async (items, ctx) => {
        const asked = new Promise((resolve) => items[0]?.signal.addEventListener("abort", resolve));
        begun.open();
        await asked;
        aborted.push(...items.map(({ signal }) => signal.aborted), ctx.signal.aborted);
        items[0]?.fail(items[0].signal.reason);
      },
    });
    const handles = await jobs.enqueueMany(slow, [1, 2, 3]);
    const worker = jobs.worker([slow]);
    await worker.start();
    await begun.promise;
    expect(await handles[0]?.cancel("changed my mind")).toBe("asked");
    await Promise.all([handles[1], handles[2]].map((handle) => handle?.result({ timeout: "1m" })));
    await worker.stop();
    expect(aborted).toEqual([true, false, false, false]);
    expect(await handles[0]?.get()).toMatchObject({ state: "cancelled", reason: "changed my mind" });
  });

  it("gives back at a stop what nothing was said of, unspent, and settles the rest", async () => {
    here = await world(memory);
    const { jobs } = here;
    const begun = gate();
    let reason: unknown;
    const endless = defineBatchJob({
      name: "endless",
      run: async (items, ctx) => {
        items[0]?.complete("done");
        ctx.signal.addEventListener("abort", () => (reason = ctx.signal.reason));
        begun.open();
        await new Promise(() => undefined);
      },
    });
    const handles = await jobs.enqueueMany(endless, [1, 2, 3]);
    const worker = jobs.worker([endless]);
    await worker.start();
    await begun.promise;
    await worker.stop({ timeout: 0 });
    expect(reason).toMatchObject({ code: "JOBWRIGHT_SHUTDOWN" });
    const found = await Promise.all(handles.map((handle) => handle.get()));
    expect(found.map((job) => [job?.state, job?.attempt])).toEqual([
      ["completed", 1],
      ["available", 0],
      ["available", 0],
    ]);
  });

  it("is aborted with all its jobs when the process is fenced, and others do them", async () => {
    here = await world(memory, { movesLiveness: true, beatEvery: "20ms", lostAfter: "400ms" });
    const { jobs } = here;
    const begun = gate();
    let lost: unknown;
    let runs = 0;
    const slow = defineBatchJob({
      name: "slow",
      run: async (items, ctx) => {
        runs += 1;
        if (runs > 1) return items.map(() => "by another");
        begun.open();
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
        lost = ctx.signal.reason;
        return items.map(() => "too late");
      },
    });
    const handles = await jobs.enqueueMany(slow, [1, 2]);
    const worker = jobs.worker([slow]);
    await worker.start();
    await begun.promise;
    here.cutOff(worker.processId);
    await until(() => lost !== undefined);
    here.faults.heal();
    here.passSilence(1_000);
    const another = (await here.another()).worker([slow]);
    await another.start();
    await until(async () => (await handles[1]?.get())?.attempt === 1);
    await here.clock.advance("1h");
    for (const handle of handles) expect(await handle.result({ timeout: "1m" })).toBe("by another");
    await Promise.all([worker.stop(), another.stop()]);
    expect(lost).toMatchObject({ code: "JOBWRIGHT_LEASE_LOST" });
  });

  it("keeps the concurrency of a limit key: at most that many of its jobs are in it", async () => {
    here = await world(memory);
    const { jobs } = here;
    const calls: number[][] = [];
    const keyed = defineBatchJob({
      name: "keyed",
      payload: json<number>(),
      limit: { key: (n) => String(n % 2), concurrency: 2 },
      run: (items) => void calls.push(items.map(({ payload }) => payload % 2)),
    });
    await jobs.enqueueMany(keyed, numbers(12));
    expect(await runUntilIdle(jobs.worker([keyed]))).toBe(12);
    for (const call of calls) {
      for (const key of [0, 1]) expect(call.filter((one) => one === key).length).toBeLessThanOrEqual(2);
    }
    expect(calls.flat()).toHaveLength(12);
  });

  it("has a job that may have killed a process to itself", async () => {
    here = await world(memory);
    const { jobs, faults } = here;
    const calls: number[][] = [];
    const batch = defineBatchJob({
      name: "batch",
      payload: json<number>(),
      run: (items) => void calls.push(items.map(({ payload }) => payload)),
    });
    await jobs.enqueueMany(batch, [1, 2, 3]);
    const { storage } = faults;
    const process = {
      id: "suspect",
      host: "here",
      pid: 1,
      lostAfterMs: 10_000,
      queues: [],
      holds: [],
      starts: [],
    };
    await storage.beat({ ...process, first: true });
    const { jobs: claimed } = await storage.claim({
      ...{ processId: "suspect", token: "t", starts: [] },
      queues: [{ queue: "default", names: ["batch"], room: 1, readAhead: 0 }],
    });
    const [{ id, generation, token }] = claimed as [ClaimedJob];
    await storage.settle([
      { lease: { id, generation, token }, outcome: { state: "available", marked: true }, startedAt: 0 },
    ]);
    expect(await runUntilIdle(jobs.worker([batch]))).toBe(3);
    expect(calls.sort()).toEqual([[1], [2, 3]]);
  });

  it("has a bound of its own in calls, where its definition says one", async () => {
    here = await world(memory);
    const { jobs } = here;
    let running = 0;
    let most = 0;
    const single = defineBatchJob({
      name: "single",
      concurrency: 1,
      maxBatch: 5,
      run: async () => {
        most = Math.max(most, (running += 1));
        await turns(2);
        running -= 1;
      },
    });
    await jobs.enqueueMany(single, numbers(40));
    expect(await runUntilIdle(jobs.worker([single]))).toBe(40);
    expect(most).toBe(1);
  });

  it("runs beside jobs of one slot each in the same queue, none of them starving", async () => {
    here = await world(memory);
    const { jobs } = here;
    const order: string[] = [];
    const plain = defineJob({ name: "plain", run: () => void order.push("plain") });
    const batch = defineBatchJob({ name: "batch", maxBatch: 10, run: () => void order.push("batch") });
    await jobs.enqueueMany([
      ...numbers(500).map((n) => enqueueItem(plain, n)),
      ...numbers(100).map((n) => enqueueItem(batch, n)),
    ]);
    expect(await runUntilIdle(jobs.worker([plain, batch], { concurrency: 2 }))).toBe(600);
    expect(order.filter((name) => name === "batch")).toHaveLength(10);
    expect(order.lastIndexOf("batch")).toBeLessThan(400);
  });

  it("is watched as one run for each of its jobs, and those who watch can do it no harm", async () => {
    const seen: string[] = [];
    const observer: Observer = {
      enqueued: (_call, store) => store(undefined),
      ran: async (run, handled) => {
        seen.push(`${run.id} ${String(run.attributes()["n"])}`);
        await handled();
        seen.push(`handled ${run.id}`);
        throw new Error("no harm");
      },
      decided: ({ id, outcome }) => void seen.push(`${outcome} ${id}`),
    };
    here = await world(memory, { middleware: [observer] });
    const batch = defineBatchJob({
      name: "batch",
      payload: json<number>(),
      spanAttributes: (n) => ({ n }),
      run: () => void seen.push("handler"),
    });
    const handles = await here.jobs.enqueueMany(batch, [7, 8]);
    await runUntilIdle(here.jobs.worker([batch]));
    const [a, b] = handles.map(({ id }) => id);
    expect(seen.slice(0, 3)).toEqual([`${a} 7`, `${b} 8`, "handler"]);
    expect(seen.slice(3).sort()).toEqual([
      `completed ${a}`,
      `completed ${b}`,
      `handled ${a}`,
      `handled ${b}`,
    ]);
  });
});
