import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { defineJob, InvalidValueError, json, StateError, StorageUnavailableError } from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import type { ProcessBeat, Settlement } from "../../src/storage/storage.ts";
import { storages } from "../support/storages.ts";
import { gate, turns, until, type World, world } from "../support/world.ts";

describe.each(storages)("a storage that fails, on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  function counted() {
    const runs = new Map<number, number>();
    const job = defineJob({
      name: "counted",
      payload: json<number>(),
      run: (n) => {
        runs.set(n, (runs.get(n) ?? 0) + 1);
        return n;
      },
    });
    return { job, runs };
  }

  it("is told, waited for with growing and capped patience, and loses nothing", async () => {
    here = await world(kind, { random: () => 0 });
    const { job, runs } = counted();
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    const errors: { during: string; retryInMs: number; error: unknown }[] = [];
    worker.on("storageError", (about) => errors.push(about));
    const recovered = once(worker, "recovered");
    await worker.start();
    here.faults.plan("exchange", { kind: "reject" }, 5);
    await here.jobs.enqueueMany(job, [1, 2, 3]);
    await recovered;
    await until(() => runs.size === 3);
    await worker.stop();
    expect([...runs.values()]).toEqual([1, 1, 1]);
    const waits = errors.filter(({ during }) => during === "exchange").map(({ retryInMs }) => retryInMs);
    expect(waits).toEqual([50, 100, 200, 400, 800]);
    expect(errors.every(({ error }) => error instanceof StorageUnavailableError)).toBe(true);
    expect((await here.jobs.count({ state: "completed" })).n).toBe(3);
  });

  it("does not make the worker spin: a failing call a retry, and no more", async () => {
    here = await world(kind);
    const { job } = counted();
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    await worker.start();
    let told = 0;
    worker.on("storageError", () => (told += 1));
    here.faults.plan("exchange", { kind: "reject" }, 1_000);
    const before = here.faults.calls.get("exchange") ?? 0;
    await here.jobs.enqueue(job, 1);
    await until(() => told >= 3);
    await turns(200);
    expect((here.faults.calls.get("exchange") ?? 0) - before).toBeLessThanOrEqual(told + 1);
    here.faults.heal();
    await worker.stop();
  });

  it("that commits and then fails makes no job run twice and leaves none behind", async () => {
    here = await world(kind);
    const { job, runs } = counted();
    const all = Array.from({ length: 300 }, (_, n) => n);
    await here.jobs.enqueueMany(job, all);
    const worker = here.jobs.worker([job], { concurrency: 4, pollInterval: 10 });
    let stale = 0;
    worker.on("stale", () => (stale += 1));
    let call = 0;
    here.faults.plan("exchange", { kind: "commit-then-reject" }, 6, () => (call += 1) % 3 === 0);
    await worker.start();
    await until(async () => (await here.jobs.count({ state: "completed" })).n === all.length);
    expect([...runs.values()].every((n) => n === 1)).toBe(true);
    expect(stale).toBe(0);
    expect((await here.jobs.count({ state: "running" })).n).toBe(0);
    const { jobs: done } = await here.jobs.list({ state: "completed", limit: 1_000 });
    expect(done.every(({ attempt }) => attempt === 1)).toBe(true);
    await worker.stop();
  });

  it("repeats a settle whose answer was lost: settled once, with the first outcome", async () => {
    here = await world(kind);
    const { job } = counted();
    const handle = await here.jobs.enqueue(job, 7);
    const hasSettlements = ([settlements]: readonly unknown[]): boolean =>
      (settlements as unknown[]).length > 0;
    here.faults.plan("exchange", { kind: "commit-then-reject" }, 2, hasSettlements);
    const worker = here.jobs.worker([job]);
    let stale = 0;
    worker.on("stale", () => (stale += 1));
    expect(await runUntilIdle(worker)).toBe(1);
    expect(stale).toBe(0);
    expect(await handle.get()).toMatchObject({ state: "completed", attempt: 1, result: 7 });
  });

  it("that moves a lost process's leases and then fails keeps none of them to itself", async () => {
    here = await world(kind, { movesLiveness: true });
    const { job, runs } = counted();
    const handle = await here.jobs.enqueue(job, 1, { maxRetries: 0 });
    const { storage } = here.faults;
    const gone: ProcessBeat = {
      id: "gone",
      host: "h",
      pid: process.pid,
      lostAfterMs: 1_000,
      queues: [],
      holds: [],
      starts: [],
      first: true,
    };
    await storage.beat(gone);
    const queues = [{ queue: "default", names: ["counted"], room: 1, readAhead: 0 }];
    await storage.claim({ processId: "gone", token: "gone.1", queues, starts: [] });
    here.passSilence(2_000);
    here.faults.plan("rescue", { kind: "commit-then-reject" });
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    await worker.start();
    await until(() => runs.size === 1);
    await until(async () => (await handle.get())?.state === "completed");
    expect(await handle.get()).toMatchObject({ attempt: 1 });
    await worker.stop();
  });

  it("lets one settlement that cannot be stored hold up no other", async () => {
    here = await world(kind);
    const { job } = counted();
    const handles = await here.jobs.enqueueMany(job, [0, 1, 2]);
    const bad = handles[1]?.id;
    const hasBad = ([settlements]: readonly unknown[]): boolean =>
      (settlements as Settlement[]).some(
        ({ lease, outcome }) => String(lease.id) === bad && outcome.state === "completed",
      );
    const error = new InvalidValueError("The result", "It is odd.");
    here.faults.plan("exchange", { kind: "reject", error }, 99, hasBad);
    here.faults.plan("settle", { kind: "reject", error }, 99, hasBad);
    await runUntilIdle(here.jobs.worker([job]));
    const states = await Promise.all(handles.map(async (handle) => (await handle.get())?.state));
    expect(states).toEqual(["completed", "dead", "completed"]);
    expect((await handles[1]?.get())?.error?.message).toMatch(/It is odd/);
  });

  it("that fails in upkeep is told and tried again", async () => {
    here = await world(kind, { lostAfter: kind.lostAfter, beatEvery: 80 });
    const { job, runs } = counted();
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    const during = new Set<string>();
    worker.on("storageError", (about) => during.add(about.during));
    here.faults.plan("rescue", { kind: "reject" }, 2);
    here.faults.plan("promote", { kind: "reject" }, 1);
    here.faults.plan("beat", { kind: "reject" }, 1, ([beat]) => (beat as ProcessBeat).first !== true);
    const recovered = once(worker, "recovered");
    await worker.start();
    await here.jobs.enqueue(job, 1, { in: "1s" });
    await turns();
    await here.clock.advance("1s");
    await until(() => runs.size === 1);
    await until(() => during.size === 3);
    await recovered;
    expect([...during].sort()).toEqual(["beat", "promote", "rescue"]);
    await worker.stop();
  });

  it("that never answers an exchange holds the worker up only until it is fenced", async () => {
    here = await world(kind, { lostAfter: kind.lostAfter });
    const { job, runs } = counted();
    const worker = here.jobs.worker([job], { pollInterval: 10 });
    await worker.start();
    here.faults.plan("exchange", { kind: "silent" });
    here.faults.plan("beat", { kind: "silent" }, 3);
    const fenced = once(worker, "fenced");
    const handle = await here.jobs.enqueue(job, 1);
    await fenced;
    expect(await handle.result({ timeout: "20s" })).toBe(1);
    expect(runs.get(1)).toBe(1);
    await worker.stop();
  });

  it("that never answers does not keep a stop waiting for ever", async () => {
    here = await world(kind);
    const inside = gate();
    const job = defineJob({ name: "done", run: () => inside.open() });
    await here.jobs.enqueue(job, 0);
    const worker = here.jobs.worker([job]);
    await worker.start();
    await inside.promise;
    await until(() => worker.running === 0);
    here.faults.plan("beat", { kind: "silent" }, 99);
    await worker.stop();
    await expect(worker.start()).rejects.toThrow(StateError);
  });
});
