// Rows of docs/features.md that no other test proves: each test names the row it is for.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { type Clock, systemClock } from "../src/clock.ts";
import { setDefaultClock } from "../src/connect.ts";
import {
  connect,
  defineJob,
  type JobContext,
  json,
  LeaseLostError,
  snooze,
  StorageFullError,
  UnrecoverableError,
} from "../src/index.ts";
import { Environments } from "../src/storage/lmdb/environments.ts";
import { LmdbStorage } from "../src/storage/lmdb/index.ts";
import type { BeatResult, Lease, NewJob, ProcessBeat, Settlement, Storage } from "../src/storage/storage.ts";
import { runUntilIdle, TestClock } from "../src/testing/index.ts";
import { Heartbeat } from "../src/worker/heartbeat.ts";
import { type StorageKind, storages } from "./support/storages.ts";
import { gate, turns, until, type World, world } from "./support/world.ts";

describe.each(storages)("rows on $label", (kind) => {
  let here: World | undefined;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("A7: a worker is given one state that fits all of its handlers", async () => {
    here = await world(kind);
    const mail = defineJob({
      name: "mail",
      run: (_payload, ctx: JobContext<{ readonly from: string }>) => ctx.state.from,
    });
    const image = defineJob({
      name: "image",
      run: (_payload, ctx: JobContext<{ readonly width: number }>) => ctx.state.width,
    });
    // @ts-expect-error nobody has a width
    here.jobs.worker([mail, image], { state: () => ({ from: "me" }) });
    // @ts-expect-error there is no state at all
    here.jobs.worker([mail, image]);
    const worker = here.jobs.worker([mail, image], { state: () => ({ from: "me", width: 3 }) });
    const [first, second] = [await here.jobs.enqueue(mail, 0), await here.jobs.enqueue(image, 0)];
    expect(await runUntilIdle(worker)).toBe(2);
    expect([(await first.get())?.result, (await second.get())?.result]).toEqual(["me", 3]);
  });

  it("A12: jobs whose names are made from data run like any others", async () => {
    here = await world(kind);
    const names = Array.from({ length: 30 }, (_, n) => `import ${n}`);
    const definitions = names.map((name) => defineJob({ name, run: (_payload, ctx) => ctx.job.name }));
    const handles = await Promise.all(definitions.map((definition) => here?.jobs.enqueue(definition, 0)));
    expect(await runUntilIdle(here.jobs.worker(definitions))).toBe(names.length);
    const results = await Promise.all(handles.map(async (handle) => (await handle?.get())?.result));
    expect(results).toEqual(names);
  });

  it("D8: workers that know different jobs share a queue, and each takes its own", async () => {
    here = await world(kind);
    const others = await here.another();
    const ran: [string, string][] = [];
    const [a, b] = ["a", "b"].map((name) => defineJob({ name, run: () => name }));
    if (a === undefined || b === undefined) throw new Error("two definitions");
    const workers = [here.jobs.worker([a]), others.worker([b])] as const;
    for (const [index, worker] of workers.entries()) {
      worker.on("completed", ({ name }) => ran.push([["first", "second"][index] ?? "", name]));
    }
    for (let n = 0; n < 20; n += 1) await here.jobs.enqueue(n % 2 === 0 ? a : b, n);
    // The jobs of the other one, in front of its own, do not hold it up.
    expect(await runUntilIdle(workers[1])).toBe(10);
    expect((await here.jobs.count({ state: "available", name: "a" })).n).toBe(10);
    expect(await runUntilIdle(workers[0])).toBe(10);
    expect(ran.filter(([who]) => who === "first").every(([, name]) => name === "a")).toBe(true);
    expect(ran.filter(([who]) => who === "second").every(([, name]) => name === "b")).toBe(true);
    expect(ran).toHaveLength(20);
  });

  it("E4: an idle worker is woken for a new job long before its next poll", async () => {
    here = await world(kind);
    const echo = defineJob({ name: "echo", run: (payload) => payload });
    const worker = here.jobs.worker([echo], { pollInterval: "1m" });
    await worker.start();
    await here.faults.called("exchange", 1);
    await turns(50);
    const handle = await (await here.another()).enqueue(echo, "woken");
    // A poll comes after three quarters of its interval at the earliest.
    expect(await handle.result({ timeout: "30s" })).toBe("woken");
    await worker.stop();
  });

  it("E5: a worker goes on polling while the next job it knows of is a year away", async () => {
    here = await world(kind);
    const { jobs, clock, faults } = here;
    faults.loseHints();
    const echo = defineJob({ name: "echo", run: (payload) => payload });
    await jobs.enqueue(echo, "far", { in: "365d" });
    const worker = jobs.worker([echo], { pollInterval: 20 });
    await worker.start();
    await faults.called("exchange", 2);
    const now = await jobs.enqueue(echo, "now");
    await until(async () => (await now.get())?.state === "completed");
    const soon = await jobs.enqueue(echo, "soon", { in: "30m" });
    await faults.called("exchange", (faults.calls.get("exchange") ?? 0) + 2);
    await turns(50);
    await clock.advance("30m");
    await until(async () => (await soon.get())?.state === "completed");
    expect((await jobs.count({ state: "scheduled" })).n).toBe(1);
    await worker.stop();
  });

  it("H12: what a lost process had only read ahead is given alone from then on, for a free slot", async () => {
    here = await world(kind, { movesLiveness: true });
    const { storage } = here.faults;
    await storage.enqueue([[JOB, JOB, JOB]]);
    await claim(storage, 3);
    here.passSilence(120_000);
    // It rescues the jobs and decides about them, but does not run them itself.
    const worker = here.jobs.worker([defineJob({ name: "other", run: () => 1 })]);
    await runUntilIdle(worker);
    await worker.stop();
    const heirs = { processId: "heir", starts: [] };
    await storage.beat({ ...PROCESS, id: "heir", first: true });
    const ask = async (token: string, room: number, readAhead: number): Promise<number> => {
      const queues = [{ queue: "q", names: ["a"], room, readAhead }];
      return (await storage.claim({ ...heirs, token, queues })).jobs.length;
    };
    expect(await ask("1", 0, 3)).toBe(0);
    expect(await ask("2", 3, 3)).toBe(1);
    expect(await ask("3", 3, 3)).toBe(1);
    expect((await storage.count({ state: "running" })).n).toBe(2);
  });

  it("H3: a handler whose lease is gone hears of it with the next beat, and ends for nothing", async () => {
    here = await world(kind, { lostAfter: "30s", beatEvery: 20 });
    const { faults, jobs } = here;
    const inside = gate<AbortSignal>();
    const leave = gate();
    const held = defineJob({
      name: "held",
      run: async (_payload, ctx) => {
        inside.open(ctx.signal);
        await leave.promise;
        return "too late";
      },
    });
    const handle = await jobs.enqueue(held, 0);
    const worker = jobs.worker([held]);
    await worker.start();
    const signal = await inside.promise;
    const holds = (): readonly Lease[] =>
      faults.args("beat").flatMap(([message]) => (message as ProcessBeat).holds);
    await until(() => holds().length > 0);
    expect(signal.aborted).toBe(false);
    // As whoever holds the lease may do: the worker itself knows nothing of it.
    const outcome = { state: "completed", result: '"elsewhere"' } as const;
    const lease = holds()[0] as Lease;
    expect(await faults.storage.settle([{ lease, outcome, startedAt: 1 }])).toEqual(["settled"]);
    await until(() => signal.aborted);
    expect(signal.reason).toBeInstanceOf(LeaseLostError);
    leave.open();
    await worker.stop();
    expect(await handle.get()).toMatchObject({ state: "completed", result: "elsewhere", attempt: 1 });
  });

  it("F11: a cancel that was meant for an earlier run leaves the next one alone", async () => {
    here = await world(kind);
    const { faults, jobs } = here;
    const runs = [1, 2].map(() => ({ inside: gate<AbortSignal>(), leave: gate() }));
    let count = 0;
    const held = defineJob({
      name: "held",
      run: async (_payload, ctx) => {
        const run = runs[count];
        count += 1;
        run?.inside.open(ctx.signal);
        await run?.leave.promise;
        return count;
      },
    });
    const [first, second] = runs;
    if (first === undefined || second === undefined) throw new Error("two runs");
    const handle = await jobs.enqueue(held, 0);
    const worker = jobs.worker([held], { pollInterval: "1m" });
    await worker.start();
    await first.inside.promise;
    // The answer that tells of the request is under way until the next run has begun.
    const answer = gate();
    faults.plan("claim", { kind: "late-answer", until: answer.promise });
    expect(await handle.cancel("the first one")).toBe("asked");
    await faults.called("claim", 1);
    first.leave.open();
    await until(async () => (await handle.get())?.state === "completed");
    expect(await jobs.retry(handle.id)).toBe(true);
    const signal = await second.inside.promise;
    answer.open();
    await turns(50);
    expect(signal.aborted).toBe(false);
    second.leave.open();
    await until(async () => (await handle.get())?.state === "completed");
    expect(await handle.get()).toMatchObject({ result: 2 });
    await worker.stop();
  });

  it("H11: what has ended is told again until the storage has answered, and never run again", async () => {
    here = await world(kind);
    let runs = 0;
    const counted = defineJob({ name: "counted", run: () => (runs += 1) });
    const handle = await here.jobs.enqueue(counted, 0);
    const tells = ([settlements]: readonly unknown[]): boolean => (settlements as unknown[]).length > 0;
    here.faults.plan("exchange", { kind: "reject" }, 2, tells);
    here.faults.plan("exchange", { kind: "commit-then-reject" }, 1, tells);
    expect(await runUntilIdle(here.jobs.worker([counted]))).toBe(1);
    expect(await handle.get()).toMatchObject({ state: "completed", attempt: 1, result: 1 });
    const told = here.faults.args("exchange").flatMap(([settlements]) => settlements as Settlement[]);
    expect(told).toHaveLength(4);
    expect(new Set(told.map(({ lease, outcome }) => JSON.stringify([lease, outcome]))).size).toBe(1);
    expect(runs).toBe(1);
  });

  it("K7: one call has one time: whatever it stores and settles bears the same", async () => {
    let now = 1_000_000;
    const ticking: Clock = { now: () => (now += 1_000), at: systemClock.at };
    await using open = await opened(kind, { clock: ticking });
    const { storage } = open;
    const [group] = await storage.enqueue([Array.from({ length: 50 }, () => JOB)]);
    if (group?.ok !== true) throw new Error("refused");
    const ids = group.jobs.map(({ id }) => id);
    const stored = await storage.get(ids);
    expect(new Set(stored.map((job) => job?.createdAt)).size).toBe(1);
    expect(new Set(stored.map((job) => job?.runAt)).size).toBe(1);
    const settlements = await claim(storage, 50);
    expect(settlements).toHaveLength(50);
    await storage.settle(settlements);
    expect(new Set((await storage.get(ids)).map((job) => job?.endedAt)).size).toBe(1);
  });

  it("J5: a handle made from a kept id looks, waits and cancels like the first one", async () => {
    here = await world(kind);
    const echo = defineJob({ name: "echo", run: (payload) => payload });
    const [kept, other] = await here.jobs.enqueueMany(echo, ["kept", "other"]);
    const ids = JSON.parse(JSON.stringify([kept?.id, other?.id])) as [string, string];
    const later = await here.another();
    const [handle, cancelled] = ids.map((id) => later.handle<string>(id));
    expect(handle?.id).toBe(ids[0]);
    expect(await handle?.get()).toMatchObject({ state: "available", payload: "kept" });
    expect(await cancelled?.cancel("enough")).toBe("cancelled");
    expect(await other?.get()).toMatchObject({ state: "cancelled", reason: "enough" });
    expect(await runUntilIdle(here.jobs.worker([echo]))).toBe(1);
    expect(await handle?.result({ timeout: "30s" })).toBe("kept");
  });

  it("J17: no log line holds a payload, however a job ends", async () => {
    here = await world(kind);
    const ends: Record<string, () => unknown> = {
      completes: () => "fine",
      retries: () => Promise.reject(new Error("not now")),
      dies: () => Promise.reject(new UnrecoverableError("never")),
      snoozes: () => snooze("1h"),
      odd: () => 10n,
    };
    const jobs = Object.entries(ends).map(([name, run]) => defineJob({ name, run }));
    const checked = defineJob({ name: "checked", payload: json<{ secret: string }>(), run: () => 1 });
    for (const job of [...jobs, checked]) await here.jobs.enqueue(job, { secret: "hunter2" });
    // The schema has changed since: what it says of the payload is logged, the payload is not.
    const changed = defineJob({ name: "checked", payload: z.object({ secret: z.number() }), run: () => 1 });
    expect(await runUntilIdle(here.jobs.worker([...jobs, changed]))).toBe(jobs.length + 1);
    expect(here.lines.length).toBeGreaterThanOrEqual(4);
    expect(JSON.stringify(here.lines)).not.toContain("hunter2");
  });

  it("K4: the timeouts of all runs share one timer of the clock", async () => {
    here = await world(kind);
    const started = gate();
    const leave = gate();
    let running = 0;
    const held = defineJob({
      name: "held",
      timeout: "1m",
      run: async () => {
        running += 1;
        if (running === 100) started.open();
        await leave.promise;
      },
    });
    const before = here.clock.pending;
    await here.jobs.enqueueMany(held, Array.from({ length: 100 }));
    const worker = here.jobs.worker([held], { concurrency: 100 });
    await worker.start();
    await started.promise;
    expect(here.clock.pending - before).toBe(1);
    leave.open();
    await until(async () => (await here?.jobs.count({ state: "completed" }))?.n === 100);
    await worker.stop();
  });

  it("K5: a default clock is the clock of every later connect by URL", async () => {
    const clock = new TestClock();
    setDefaultClock(clock);
    try {
      await using jobs = await connect(await kind.url());
      expect(jobs.clock).toBe(clock);
      const echo = defineJob({ name: "echo", run: (payload) => payload });
      const handle = await jobs.enqueue(echo, 1, { in: "1h" });
      const worker = jobs.worker([echo]);
      expect(await runUntilIdle(worker)).toBe(0);
      await clock.advance("1h");
      expect(await runUntilIdle(worker)).toBe(1);
      expect((await handle.get())?.endedAt).toEqual(new Date(clock.now()));
      setDefaultClock(systemClock);
      await using others = await connect("memory:");
      expect(others.clock).toBe(systemClock);
    } finally {
      setDefaultClock(systemClock);
      await kind.cleanup();
    }
  });
});

describe("rows of lmdb alone", () => {
  afterEach(() => void vi.restoreAllMocks());

  it("B3: a job for later is still there after close and open, and starts at its time", async () => {
    const path = mkdtempSync(join(tmpdir(), "jobwright-rows-"));
    const clock = new TestClock();
    const echo = defineJob({ name: "echo", run: (payload) => payload });
    try {
      const first = await connect(new LmdbStorage({ path, clock }));
      const { id } = await first.enqueue(echo, "later", { in: "1h" });
      await first.close();
      await using jobs = await connect(new LmdbStorage({ path, clock }));
      const worker = jobs.worker([echo]);
      await clock.advance("59m");
      expect(await runUntilIdle(worker)).toBe(0);
      await clock.advance("1m");
      expect(await runUntilIdle(worker)).toBe(1);
      expect(await jobs.get(id)).toMatchObject({ state: "completed", result: "later" });
    } finally {
      rmSync(path, { recursive: true, force: true });
    }
  });

  it("C3: a settle whose durable write fails leaves its lease standing", async () => {
    const kind = storages.find(({ label }) => label === "lmdb");
    if (kind === undefined) throw new Error("There is no such storage.");
    await using open = await opened(kind);
    const { storage } = open;
    await storage.enqueue([[JOB, JOB, JOB]]);
    const [done, released, retried] = await claim(storage, 3);
    if (done === undefined || released === undefined || retried === undefined) throw new Error("three jobs");
    const settlements: Settlement[] = [
      done,
      { ...released, outcome: { state: "available", marked: false } },
      { ...retried, outcome: { state: "scheduled", later: { delayMs: 0 }, attempt: "kept" } },
    ];
    const real = Environments.prototype.writeDurable;
    vi.spyOn(Environments.prototype, "writeDurable").mockImplementationOnce(function (
      this: Environments,
      body,
    ) {
      real.call(this, () => {
        body();
        throw new Error("No space left on device");
      });
    });
    await expect(storage.settle(settlements)).rejects.toThrow(StorageFullError);
    expect((await storage.count({ state: "running" })).n).toBe(3);
    expect(await storage.settle(settlements)).toEqual(["settled", "settled", "settled"]);
    const left = await claim(storage, 3, "t2");
    expect(left.map(({ lease }) => lease.id)).toEqual([released.lease.id, retried.lease.id]);
  });
});

describe("rows of no storage", () => {
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  it.each([
    ["the first", 1],
    ["a later", 2],
  ])("H3: the fence counts from the moment %s beat was sent, not from its answer", async (_which, late) => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    // Without jitter a beat goes out every 180 ms.
    vi.spyOn(Math, "random").mockReturnValue(0);
    const fine: BeatResult = { known: true, lost: [], asks: [] };
    let sent = 0;
    let sentAt: number | undefined;
    let fences = 0;
    const ignore = (): void => undefined;
    const heartbeat = new Heartbeat({
      beat: () => {
        sent += 1;
        if (sent > late) return new Promise(ignore);
        if (sent < late) return Promise.resolve(fine);
        sentAt = performance.now();
        return new Promise((resolve) => void setTimeout(() => resolve(fine), 15));
      },
      describe: () => PROCESS,
      fence: () => (fences += 1),
      ...{ reported: ignore, asks: ignore, lost: ignore, failed: ignore },
      ...{ beatEveryMs: 200, lostAfterMs: 400 },
    });
    void heartbeat.start();
    await vi.advanceTimersByTimeAsync((late - 1) * 180 + 15);
    if (sentAt === undefined) throw new Error("It was not sent.");
    // Safe for lostAfter − beatEvery after that beat was sent.
    await vi.advanceTimersByTimeAsync(sentAt + 199 - performance.now());
    expect([heartbeat.isSafe, fences]).toEqual([true, 0]);
    await vi.advanceTimersByTimeAsync(4);
    expect([heartbeat.isSafe, fences]).toEqual([false, 1]);
  });
});

const JOB: NewJob = {
  ...{ name: "a", queue: "q", payload: "1", maxRetries: 0, timeoutMs: null, tags: [], priority: 0 },
  backoff: { kind: "fixed", delayMs: 1 },
  retention: { completedMs: null, cancelledMs: null, deadMs: null },
};

const PROCESS = { id: "p", host: "h", pid: 0, lostAfterMs: 60_000, queues: [], holds: [], starts: [] };

async function opened(
  kind: StorageKind,
  options: { readonly clock?: Clock } = {},
): Promise<AsyncDisposable & { readonly storage: Storage }> {
  const storage = await kind.create(options);
  await storage.open();
  return {
    storage,
    [Symbol.asyncDispose]: async () => {
      await storage.close();
      await kind.cleanup();
    },
  };
}

/** Claims jobs for a process of its own and answers how they complete. */
async function claim(storage: Storage, room: number, token = "t1"): Promise<Settlement[]> {
  await storage.beat({ ...PROCESS, first: true });
  const queues = [{ queue: "q", names: ["a"], room, readAhead: 0 }];
  const { jobs } = await storage.claim({ processId: "p", token, queues, starts: [] });
  return jobs.map(({ id, generation, token: given }) => ({
    lease: { id, generation, token: given },
    outcome: { state: "completed" },
    startedAt: 1,
  }));
}
