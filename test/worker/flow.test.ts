import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { defineJob, json, limits } from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import type { ClaimRequest } from "../../src/storage/storage.ts";
import { storages } from "../support/storages.ts";
import { gate, turns, until, type World, world } from "../support/world.ts";

describe.each(storages)("the flow of jobs through a worker on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("runs one slot's jobs in order of priority, then of their coming, across names", async () => {
    here = await world(kind);
    const seen: string[] = [];
    const make = (name: string) =>
      defineJob({ name, payload: json<string>(), run: (text) => void seen.push(text) });
    const [a, b] = [make("a"), make("b")];
    await here.jobs.enqueue(a, "third", { priority: 1 });
    await here.jobs.enqueue(b, "fourth", { priority: 1 });
    await here.jobs.enqueue(a, "fifth", { priority: 1 });
    await here.jobs.enqueue(b, "first", { priority: -1 });
    await here.jobs.enqueue(a, "second");
    await runUntilIdle(here.jobs.worker([a, b], { concurrency: 1 }));
    expect(seen).toEqual(["first", "second", "third", "fourth", "fifth"]);
  });

  it("keeps the order of hundreds of jobs that end in other turns of the event loop", async () => {
    here = await world(kind);
    const seen: number[] = [];
    const count = defineJob({
      name: "count",
      payload: json<number>(),
      run: async (n) => {
        if (n % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
        seen.push(n);
      },
    });
    const all = Array.from({ length: 700 }, (_, n) => n);
    await here.jobs.enqueueMany(count, all);
    const worker = here.jobs.worker([count], { concurrency: 1 });
    await worker.start();
    await until(() => seen.length >= all.length);
    expect(seen).toEqual(all);
    // Read-ahead makes that a few calls, not one a job.
    expect(here.faults.calls.get("exchange")).toBeLessThan(400);
  });

  it("runs up to its slots of each queue at once, and never more", async () => {
    here = await world(kind);
    const most = new Map<string, number>();
    const now = new Map<string, number>();
    const busy = defineJob({
      name: "busy",
      run: async (_payload, ctx) => {
        const { queue } = ctx.job;
        now.set(queue, (now.get(queue) ?? 0) + 1);
        most.set(queue, Math.max(most.get(queue) ?? 0, now.get(queue) ?? 0));
        await turns(3);
        now.set(queue, (now.get(queue) ?? 0) - 1);
      },
    });
    for (const queue of ["mail", "images"]) {
      await here.jobs.enqueueMany(busy, Array.from({ length: 40 }), { queue });
    }
    const worker = here.jobs.worker([busy], { queues: { mail: 5, images: 2 } });
    expect(await runUntilIdle(worker)).toBe(80);
    expect(Object.fromEntries(most)).toEqual({ mail: 5, images: 2 });
  });

  it("holds maxConcurrency over all queues, refills only below its threshold, and lets every queue in", async () => {
    here = await world(kind);
    const gates: (() => void)[] = [];
    const order: string[] = [];
    const held = defineJob({
      name: "held",
      run: async (_payload, ctx) => {
        order.push(ctx.job.queue);
        await new Promise<void>((resolve) => gates.push(resolve));
      },
    });
    const queues = ["a", "b", "c"];
    for (const queue of queues) await here.jobs.enqueueMany(held, Array.from({ length: 20 }), { queue });
    const worker = here.jobs.worker([held], { queues, concurrency: 20, maxConcurrency: 6, refillBelow: 3 });
    await worker.start();
    await until(() => gates.length === 6);
    expect(new Set(order)).toEqual(new Set(queues));
    const before = here.faults.args("exchange").length;
    for (let n = 0; n < 3; n += 1) (gates[n] as () => void)();
    await turns(50);
    // Three still run: not below three, so nothing new was asked for.
    expect(gates).toHaveLength(6);
    const asked = (here.faults.args("exchange").slice(before) as [unknown, ClaimRequest][]).filter(
      ([, request]) => request.queues.length > 0,
    );
    expect(asked).toEqual([]);
    (gates[3] as () => void)();
    await until(() => gates.length === 10);
    await turns(50);
    expect(worker.running).toBe(6);
    let opened = 4;
    await until(() => {
      for (; opened < gates.length; opened += 1) (gates[opened] as () => void)();
      return order.length === 60;
    });
    await worker.stop();
  });

  it("does not let a flood in one queue, or many of one name, keep another queue waiting", async () => {
    here = await world(kind);
    let flooded = 0;
    const flood = defineJob({ name: "flood", run: () => void (flooded += 1) });
    const quick = defineJob({ name: "quick", queue: "quick", run: () => flooded });
    await here.jobs.enqueueMany(flood, Array.from({ length: 4_000 }));
    const handle = await here.jobs.enqueue(quick, 0);
    const worker = here.jobs.worker([flood, quick], { concurrency: 2 });
    await runUntilIdle(worker);
    expect((await handle.get())?.result).toBeLessThan(100);
  });

  it("reads ahead only what it can soon start, at most 500 jobs, and gives back what waits too long", async () => {
    here = await world(kind);
    let block = gate();
    let ran = 0;
    let blocks = false;
    const quick = defineJob({
      name: "quick",
      run: async () => {
        ran += 1;
        if (blocks) await block.promise;
      },
    });
    const total = 6_000;
    await here.jobs.enqueueMany(quick, Array.from({ length: 5_000 }));
    await here.jobs.enqueueMany(quick, Array.from({ length: total - 5_000 }));
    const worker = here.jobs.worker([quick], { concurrency: 2 });
    let released = 0;
    worker.on("released", () => (released += 1));
    // In this worker's hands and neither started nor given back.
    let given = 0;
    let most = 0;
    here.faults.listen("exchange", ({ claimed }) => {
      given += claimed.jobs.length;
      most = Math.max(most, given - ran - released);
    });
    await worker.start();
    await until(() => ran > 1_500);
    // Until a moment is met at which something was read ahead.
    for (let inHand = 0; inHand <= 2;) {
      blocks = true;
      await until(() => worker.running === 2);
      inHand = (await here.jobs.count({ state: "running" })).n;
      if (inHand > 2) break;
      blocks = false;
      block.open();
      block = gate();
      const before = ran;
      await until(() => ran > before + 50);
    }
    await until(() => released > 0);
    // All that was read ahead went back to its place, unspent, and the slots are still taken.
    await until(async () => (await here.jobs.count({ state: "running" })).n === 2);
    expect(most).toBeGreaterThan(2);
    expect(most).toBeLessThanOrEqual(limits.readAhead + 2);
    const asks = (here.faults.args("exchange") as [unknown, ClaimRequest][]).flatMap(
      ([, { queues }]) => queues,
    );
    expect(asks[0]).toMatchObject({ room: 2, readAhead: 0 });
    expect(Math.max(...asks.map(({ readAhead }) => readAhead))).toBeLessThanOrEqual(limits.readAhead);
    const { jobs: waiting } = await here.jobs.list({ state: "available", limit: 1_000 });
    expect(waiting.filter(({ releases }) => releases > 0).length).toBe(released);
    expect(waiting.every(({ attempt }) => attempt === 0)).toBe(true);
    // Given back to their old places: the list is still in order of the ids.
    expect(waiting.map(({ id }) => Number(id))).toEqual(
      waiting.map(({ id }) => Number(id)).sort((a, b) => a - b),
    );
    blocks = false;
    block.open();
    await until(() => ran === total);
    await worker.stop();
    expect((await here.jobs.count({ state: "completed" })).n).toBe(total);
  });

  it("does not start what was read ahead and then cancelled", async () => {
    here = await world(kind);
    let block = gate();
    const started: number[] = [];
    let blockAt = Number.POSITIVE_INFINITY;
    const quick = defineJob({
      name: "quick",
      payload: json<number>(),
      run: async (n) => {
        started.push(n);
        if (n >= blockAt) await block.promise;
      },
    });
    const handles = await here.jobs.enqueueMany(
      quick,
      Array.from({ length: 3_000 }, (_, n) => n),
    );
    const worker = here.jobs.worker([quick], { concurrency: 1 });
    await worker.start();
    await until(() => started.length > 500);
    // Until a moment is met at which the next one is in this worker's hands.
    for (let held = 0; held <= 1;) {
      blockAt = 0;
      await until(() => worker.running === 1);
      held = (await here.jobs.count({ state: "running" })).n;
      if (held > 1) break;
      blockAt = Number.POSITIVE_INFINITY;
      block.open();
      block = gate();
      const before = started.length;
      await until(() => started.length > before + 50);
    }
    const { jobs: running } = await here.jobs.list({ state: "running", limit: 1_000 });
    const next = running.map(({ payload }) => payload as number).sort((a, b) => a - b)[1] as number;
    const cancelled = once(worker, "cancelled");
    expect(await handles[next]?.cancel("not this one")).toBe("asked");
    expect(await cancelled).toMatchObject([{ id: handles[next]?.id, reason: "not this one" }]);
    blockAt = Number.POSITIVE_INFINITY;
    block.open();
    await until(() => started.length === 2_999);
    await worker.stop();
    expect(started).not.toContain(next);
    expect(await handles[next]?.get()).toMatchObject({ state: "cancelled", reason: "not this one" });
  });

  it("takes only the names it handles, and asks for nothing else however long it waits", async () => {
    here = await world(kind);
    const known = defineJob({ name: "known", run: () => 1 });
    const unknown = defineJob({ name: "unknown" });
    await here.jobs.enqueueMany(unknown, Array.from({ length: 10 }));
    await here.jobs.enqueue(unknown, 0, { queue: "elsewhere" });
    const worker = here.jobs.worker([known], { pollInterval: 10 });
    const told: unknown[] = [];
    worker.on("unhandled", (about) => told.push(about));
    worker.on("unserved", (about) => told.push(about));
    await worker.start();
    await until(() => told.length === 2);
    expect(told).toContainEqual({ queue: "default", name: "unknown", waiting: 10 });
    expect(told).toContainEqual({ queue: "elsewhere", waiting: 1 });
    // Ten polls are ten calls: nothing goes round in between. A poll comes after three quarters of its interval.
    const from = here.faults.calls.get("exchange") ?? 0;
    const began = performance.now();
    await here.faults.called("exchange", from + 10);
    await turns(200);
    const polls = (performance.now() - began) / 7.5;
    expect((here.faults.calls.get("exchange") ?? 0) - from).toBeLessThanOrEqual(polls + 3);
    expect((await here.jobs.count({ state: "available" })).n).toBe(11);
    expect(here.faults.calls.get("claim") ?? 0).toBe(0);
    await worker.stop();
  });

  it("finds new queues when it serves them all, started or stepped", async () => {
    here = await world(kind);
    const seen: string[] = [];
    const any = defineJob({ name: "any", run: (_payload, ctx) => void seen.push(ctx.job.queue) });
    const stepped = here.jobs.worker([any], { queues: "*" });
    expect(await runUntilIdle(stepped)).toBe(0);
    await here.jobs.enqueue(any, 0, { queue: "one" });
    expect(await runUntilIdle(stepped)).toBe(1);
    await stepped.stop();
    const worker = here.jobs.worker([any], { queues: "*", pollInterval: 20 });
    await worker.start();
    await here.jobs.enqueue(any, 0, { queue: "two" });
    await until(() => seen.length === 2);
    expect(seen).toEqual(["one", "two"]);
    await worker.stop();
  });

  it("looks again for what came while a claim that did not see it was under way", async () => {
    here = await world(kind);
    const echo = defineJob({ name: "echo", run: (payload) => payload });
    const late = gate();
    here.faults.plan("exchange", { kind: "late-answer", until: late.promise });
    const worker = here.jobs.worker([echo], { pollInterval: "1m" });
    await worker.start();
    await here.faults.done("exchange", 1);
    const handle = await here.jobs.enqueue(echo, "just too late");
    late.open();
    // A poll comes after three quarters of its interval at the earliest.
    expect(await handle.result({ timeout: "30s" })).toBe("just too late");
    await worker.stop();
  });

  it("finds work by polling alone when every hint is lost", async () => {
    here = await world(kind);
    here.faults.loseHints();
    const echo = defineJob({ name: "echo", run: (payload) => payload });
    const worker = here.jobs.worker([echo], { pollInterval: 20 });
    await worker.start();
    await turns();
    const handle = await here.jobs.enqueue(echo, "found");
    expect(await handle.result({ timeout: "20s" })).toBe("found");
    const later = await here.jobs.enqueue(echo, "later", { in: "10s" });
    await here.clock.advance("10s");
    expect(await later.result({ timeout: "20s" })).toBe("later");
    await worker.stop();
  });

  it("starts scheduled jobs at their times by the clock", async () => {
    here = await world(kind);
    const ran: number[] = [];
    const later = defineJob({ name: "later", run: () => void ran.push(here.clock.now()) });
    const worker = here.jobs.worker([later], { pollInterval: 20 });
    await worker.start();
    const start = here.clock.now();
    await here.jobs.enqueue(later, 0, { in: "1h" });
    await here.jobs.enqueue(later, 0, { in: "30m" });
    const polls = here.faults.calls.get("exchange") ?? 0;
    await here.faults.called("exchange", polls + 2);
    await turns();
    await here.clock.advance("29m");
    expect(ran).toEqual([]);
    await here.clock.advance("1m");
    await until(() => ran.length === 1);
    await here.clock.advance("30m");
    await until(() => ran.length === 2);
    expect(ran).toEqual([start + 1_800_000, start + 3_600_000]);
    await worker.stop();
  });

  it("pauses and resumes by itself: running handlers go on, nothing new starts", async () => {
    here = await world(kind);
    const inside = gate();
    const leave = gate();
    let runs = 0;
    const held = defineJob({
      name: "held",
      run: async () => {
        runs += 1;
        inside.open();
        await leave.promise;
      },
    });
    const worker = here.jobs.worker([held], { concurrency: 1, pollInterval: 10 });
    const events: string[] = [];
    worker.on("paused", () => events.push("paused"));
    worker.on("resumed", () => events.push("resumed"));
    await worker.start();
    await here.jobs.enqueueMany(held, [1, 2, 3]);
    await inside.promise;
    worker.pause();
    worker.pause();
    expect(worker.isPaused).toBe(true);
    leave.open();
    await until(async () => (await here.jobs.count({ state: "completed" })).n === 1);
    const polls = here.faults.calls.get("exchange") ?? 0;
    await turns(50);
    expect(runs).toBe(1);
    expect((await here.jobs.count({ state: "available" })).n).toBe(2);
    expect((here.faults.calls.get("exchange") ?? 0) - polls).toBeLessThan(3);
    worker.resume();
    worker.resume();
    await until(() => runs === 3);
    expect(events).toEqual(["paused", "resumed"]);
    await worker.stop();
  });

  it("counts in runUntilIdle what ended, waits for handlers that wait, and leaves later retries alone", async () => {
    here = await world(kind);
    const slow = defineJob({
      name: "slow",
      payload: json<number>(),
      run: async (n) => {
        // A handler may well need the machine's own time: files, sockets, timers.
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (n === 1) throw new Error("later");
      },
    });
    const worker = here.jobs.worker([slow], { concurrency: 2 });
    expect(await runUntilIdle(worker)).toBe(0);
    const [, failed] = await here.jobs.enqueueMany(slow, [0, 1, 2, 3, 4]);
    expect(await runUntilIdle(worker)).toBe(5);
    expect(await failed?.get()).toMatchObject({ state: "scheduled", attempt: 1 });
    expect(await runUntilIdle(worker)).toBe(0);
    // Between the calls nothing moves by itself.
    const handle = await here.jobs.enqueue(slow, 0);
    await turns(50);
    expect((await handle.get())?.state).toBe("available");
    const both = await Promise.all([runUntilIdle(worker), runUntilIdle(worker)]);
    expect(Math.max(...both)).toBe(1);
    expect((await handle.get())?.state).toBe("completed");
  });
});
