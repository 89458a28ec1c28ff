import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { toMs } from "../../src/duration.ts";
import { defineJob, fixed, json, LeaseLostError } from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import type { ClaimRequest, ProcessBeat } from "../../src/storage/storage.ts";
import type { Fault } from "../support/faulty-storage.ts";
import { storages } from "../support/storages.ts";
import { gate, turns, until, type World, world } from "../support/world.ts";

describe.each(storages)("living and dying processes on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  /** The first run waits for its gate, whatever its signal says; later ones say which run they were. */
  function zombie(options: object = {}) {
    const inside = gate<AbortSignal>();
    const leave = gate();
    let runs = 0;
    const job = defineJob({
      name: "zombie",
      backoff: fixed(0),
      ...options,
      run: async (_payload, ctx) => {
        runs += 1;
        const run = runs;
        if (run === 1) {
          inside.open(ctx.signal);
          await leave.promise;
        }
        return `run ${run} attempt ${ctx.job.attempt}`;
      },
    });
    return { job, inside, leave, runs: () => runs };
  }

  it("keeps the leases of handlers that run for many times the silence limit", async () => {
    here = await world(kind, { movesLiveness: true, lostAfter: "5s", beatEvery: 20 });
    const { job, inside, leave, runs } = zombie();
    const handle = await here.jobs.enqueue(job, 0);
    const worker = here.jobs.worker([job]);
    const rescuer = (await here.another()).worker([job], { pollInterval: 10 });
    let fenced = 0;
    worker.on("fenced", () => (fenced += 1));
    await worker.start();
    const signal = await inside.promise;
    await rescuer.start();
    const beats = (id: string): number =>
      here.faults.args("beat").filter(([beat]) => (beat as ProcessBeat).id === id).length;
    for (let silence = 0; silence < 50_000; silence += 4_000) {
      here.passSilence(4_000);
      for (const { processId } of [worker, rescuer]) {
        const before = beats(processId);
        // The second to begin shows that the first was answered.
        await until(() => beats(processId) >= before + 2);
      }
    }
    await here.faults.called("rescue", (here.faults.calls.get("rescue") ?? 0) + 5);
    expect([signal.aborted, fenced, runs()]).toEqual([false, 0, 1]);
    leave.open();
    expect(await handle.result({ timeout: "20s" })).toBe("run 1 attempt 1");
    await Promise.all([worker.stop(), rescuer.stop()]);
  });

  it.each<[string, Fault]>([
    ["are rejected", { kind: "reject" }],
    ["are never answered", { kind: "silent" }],
  ])("fences itself when its beats %s, and works on without a restart", async (_what, fault) => {
    here = await world(kind, { lostAfter: kind.lostAfter });
    const { job, inside, leave } = zombie();
    const handle = await here.jobs.enqueue(job, 0);
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    await worker.start();
    const signal = await inside.promise;
    const oldId = worker.processId;
    const fenced = once(worker, "fenced");
    const stale: unknown[] = [];
    worker.on("stale", (about) => stale.push(about));
    const told = once(worker, "rescued");
    here.faults.plan("beat", fault, 1_000);
    expect(await fenced).toMatchObject([{ processId: oldId, aborted: 1 }]);
    expect(signal.reason).toBeInstanceOf(LeaseLostError);
    // While it is not registered it asks for nothing, whatever waits.
    const before = here.faults.args("exchange").length;
    const waiting = await here.jobs.enqueue(job, 1);
    await here.faults.called("beat", (here.faults.calls.get("beat") ?? 0) + 2);
    const asked = here.faults.args("exchange").slice(before) as [unknown, ClaimRequest][];
    expect(asked.flatMap(([, { queues }]) => queues)).toEqual([]);
    const registered = once(worker, "registered");
    here.faults.heal();
    await registered;
    expect(worker.processId).not.toBe(oldId);
    expect(await waiting.result({ timeout: "20s" })).toMatch(/attempt 1$/);
    // It rescues what it held itself, under its old name, but does not run it beside the run that goes on.
    expect(await told).toMatchObject([{ id: handle.id, lostProcessId: oldId }]);
    leave.open();
    // It may have put the job off, perhaps only now.
    await until(async () => {
      await here.clock.advance("1s");
      return (await handle.get())?.state === "completed";
    });
    expect((await handle.get())?.result).toMatch(/^run [23]/);
    await worker.stop();
  });

  it("fences itself when the storage does not know it any more", async () => {
    here = await world(kind, { movesLiveness: true, lostAfter: "5s", beatEvery: 20 });
    const { job, inside, leave } = zombie();
    const handle = await here.jobs.enqueue(job, 0);
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    await worker.start();
    const signal = await inside.promise;
    const fenced = once(worker, "fenced");
    const registered = once(worker, "registered");
    here.passSilence(6_000);
    await fenced;
    await registered;
    expect(signal.reason).toBeInstanceOf(LeaseLostError);
    leave.open();
    await until(async () => (await handle.get())?.state !== "running");
    await here.clock.advance("10s");
    expect(await handle.result({ timeout: "20s" })).toMatch(/^run 2/);
    await worker.stop();
  });

  it("drops the outcome of a zombie: counted as stale, with no effect", async () => {
    here = await world(kind, { movesLiveness: true });
    const { job, inside, leave } = zombie();
    const handle = await here.jobs.enqueue(job, 0);
    const lost = here.jobs.worker([job]);
    const stale: unknown[] = [];
    lost.on("stale", (about) => stale.push(about));
    const done = runUntilIdle(lost);
    await inside.promise;
    here.cutOff(lost.processId);
    here.passSilence(30_000);
    const rescuer = (await here.another()).worker([job]);
    const rescued: unknown[] = [];
    rescuer.on("rescued", (about) => rescued.push(about));
    expect(await runUntilIdle(rescuer)).toBe(1);
    const before = await handle.get();
    expect(before).toMatchObject({ state: "completed", result: expect.stringMatching(/^run 2/) });
    expect(rescued).toMatchObject([{ id: handle.id, lostProcessId: lost.processId }]);
    leave.open();
    await done;
    expect(stale).toMatchObject([{ id: handle.id, name: "zombie" }]);
    expect(await handle.get()).toEqual(before);
  });

  it("spends an attempt of what ran in a lost process, and gives up after maxRetries", async () => {
    here = await world(kind, { movesLiveness: true });
    const never = gate();
    let runs = 0;
    const killer = defineJob({
      name: "killer",
      maxRetries: 1,
      backoff: fixed("5s"),
      run: async () => {
        runs += 1;
        await never.promise;
      },
    });
    const handle = await here.jobs.enqueue(killer, 0);
    const lostIds: string[] = [];
    const told: unknown[] = [];
    const between: unknown[] = [];
    for (const n of [1, 2]) {
      const victim = (await here.another()).worker([killer]);
      await victim.start();
      await until(() => runs === n);
      lostIds.push(victim.processId);
      here.cutOff(victim.processId);
      // Its start is known from the look that a worker with running jobs takes, once the next one begins.
      const looked = here.faults.calls.get("claim") ?? 0;
      await here.faults.called("claim", looked + 2);
      here.passSilence(30_000);
      const rescuer = (await here.another()).worker([killer], { queues: ["elsewhere"] });
      rescuer.on("rescued", (about) => told.push(["rescued", about]));
      rescuer.on("dead", (about) => told.push(["dead", about]));
      await runUntilIdle(rescuer);
      await rescuer.stop();
      between.push(await handle.get());
      await victim.stop({ timeout: 0 });
      await here.clock.advance("5s");
    }
    expect(told).toMatchObject([
      ["rescued", { started: true, lostProcessId: lostIds[0], attempt: 1 }],
      ["rescued", { started: true, lostProcessId: lostIds[1], attempt: 2 }],
      ["dead", { id: handle.id, attempt: 2, error: { name: "ProcessLostError" } }],
    ]);
    expect(between[0]).toMatchObject({
      state: "scheduled",
      attempt: 1,
      runAt: new Date(here.clock.now() - 5_000),
      error: { name: "ProcessLostError", code: "JOBWRIGHT_PROCESS_LOST" },
    });
    expect(await handle.get()).toMatchObject({
      state: "dead",
      attempt: 2,
      error: { name: "ProcessLostError" },
    });
    expect((await here.jobs.attempts(handle.id)).map(({ processId }) => processId)).toEqual(lostIds);
    never.open();
  });

  it("spends nothing of what a lost process had only read ahead, and claims it alone from then on", async () => {
    here = await world(kind, { movesLiveness: true });
    const once1 = defineJob({ name: "once", payload: json<number>(), maxRetries: 0, run: (n) => n });
    const handles = await here.jobs.enqueueMany(once1, [0, 1, 2]);
    // A process that claims three jobs and dies before it starts one.
    const beat: ProcessBeat = {
      id: "gone",
      host: "h",
      pid: process.pid,
      lostAfterMs: 1_000,
      queues: [],
      holds: [],
      starts: [],
      first: true,
    };
    await here.faults.storage.beat(beat);
    await here.faults.storage.claim({
      processId: "gone",
      token: "gone.1",
      queues: [{ queue: "default", names: ["once"], room: 1, readAhead: 2 }],
      starts: [],
    });
    expect((await here.jobs.count({ state: "running" })).n).toBe(3);
    here.passSilence(2_000);
    const worker = here.jobs.worker([once1], { concurrency: 3 });
    const rescued: unknown[] = [];
    worker.on("rescued", (about) => rescued.push(about));
    let most = 0;
    worker.on("started", () => (most = Math.max(most, worker.running)));
    expect(await runUntilIdle(worker)).toBe(3);
    expect(rescued).toHaveLength(3);
    expect(rescued).toMatchObject([{ started: false }, { started: false }, { started: false }]);
    // None is dead without having started.
    for (const [n, handle] of handles.entries()) {
      expect(await handle.get()).toMatchObject({ state: "completed", attempt: 1, result: n });
    }
    expect(most).toBe(1);
  });

  it("starts no marked job that arrives while the worker stops or pauses", async () => {
    here = await world(kind, { movesLiveness: true });
    let runs = 0;
    const counted = defineJob({ name: "counted", run: () => void (runs += 1) });
    const handle = await here.jobs.enqueue(counted, 0);
    const { storage } = here.faults;
    await storage.beat({
      id: "gone",
      host: "h",
      pid: process.pid,
      lostAfterMs: 1_000,
      queues: [],
      holds: [],
      starts: [],
      first: true,
    });
    const queues = [{ queue: "default", names: ["counted"], room: 1, readAhead: 0 }];
    await storage.claim({ processId: "gone", token: "gone.1", queues, starts: [] });
    here.passSilence(2_000);
    const rescuer = here.jobs.worker([counted], { queues: ["elsewhere"] });
    await runUntilIdle(rescuer);
    expect(await handle.get()).toMatchObject({ state: "available", attempt: 0, releases: 1 });
    const late = gate();
    here.faults.plan("exchange", { kind: "late-answer", until: late.promise });
    const worker = here.jobs.worker([counted]);
    await worker.start();
    await until(async () => (await handle.get())?.state === "running");
    const stopping = worker.stop();
    await turns();
    late.open();
    await stopping;
    expect(runs).toBe(0);
    expect(await handle.get()).toMatchObject({ state: "available", attempt: 0 });
  });

  it("tells of a blocked event loop by the names of the jobs that ran, and of slow runs once", async () => {
    here = await world(kind);
    const leave = gate();
    const slow = defineJob({ name: "slow", run: () => leave.promise });
    const blocking = defineJob({
      name: "blocking",
      run: async () => {
        await turns(5);
        const end = performance.now() + 1_200;
        while (performance.now() < end);
        await leave.promise;
      },
    });
    const worker = here.jobs.worker([slow, blocking], { slowAfter: "1m", blockedAfter: 100 });
    const slowOnes: unknown[] = [];
    worker.on("slow", (about) => slowOnes.push(about));
    const blocked: { blockedMs: number; running: readonly { name: string }[] }[] = [];
    worker.on("blocked", (about) => {
      // A busy machine may have kept the process waiting before.
      if (about.running.some(({ name }) => name === "blocking")) blocked.push(about);
    });
    await here.jobs.enqueue(slow, 0);
    await worker.start();
    await until(() => worker.running === 1);
    await here.jobs.enqueue(blocking, 0);
    await until(() => blocked.length > 0);
    expect(blocked[0]?.blockedMs).toBeGreaterThan(100);
    await here.clock.advance("61s");
    await until(() => slowOnes.length === 2);
    const looks = here.faults.calls.get("claim") ?? 0;
    await here.faults.called("claim", looks + 2);
    expect(slowOnes).toMatchObject([
      { name: "slow", runningMs: 61_000 },
      { name: "blocking", runningMs: 61_000 },
    ]);
    leave.open();
    await worker.stop();
  });

  it("starts nothing of what it had read ahead once a handler has blocked it beyond its leases", async () => {
    here = await world(kind, { lostAfter: kind.lostAfter });
    const forTooLong = toMs(kind.lostAfter, "lostAfter") * 1.5;
    const ran: number[] = [];
    let hasBlocked = false;
    const quick = defineJob({
      name: "quick",
      payload: json<number>(),
      run: async (n) => {
        ran.push(n);
        if (n !== 800 || hasBlocked) return;
        hasBlocked = true;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, forTooLong);
      },
    });
    await here.jobs.enqueueMany(
      quick,
      Array.from({ length: 1_000 }, (_, n) => n),
    );
    const worker = here.jobs.worker([quick], { concurrency: 1, pollInterval: 10 });
    // A machine with much else to do may fence it at any time; the first fence after the block is its own.
    let fences = 0;
    let lastBefore: number | undefined;
    const fenced = gate();
    worker.on("fenced", () => {
      fences += 1;
      if (!hasBlocked || lastBefore !== undefined) return;
      lastBefore = ran.at(-1);
      fenced.open();
    });
    await worker.start();
    await fenced.promise;
    expect(lastBefore).toBe(800);
    await until(async () => {
      await here.clock.advance("1s");
      return (await here.jobs.count({ state: "completed" })).n === 1_000;
    });
    await worker.stop();
    // Only the job that ran when it was fenced may have run twice: the one that blocked.
    expect(ran.length - new Set(ran).size).toBeLessThanOrEqual(fences);
    expect(new Set(ran).size).toBe(1_000);
  });
});
