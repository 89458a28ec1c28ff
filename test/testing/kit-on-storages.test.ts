import { afterEach, describe, expect, it } from "vitest";
import {
  connect,
  defineJob,
  fixed,
  type Jobs,
  json,
  setDefaultClock,
  silentLogger,
  systemClock,
} from "../../src/index.ts";
import { assertEnqueued, faulty, refuteEnqueued, runUntilIdle, TestClock } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";

// Goal: the test kit is for every storage that takes a clock, not for the one in memory alone.

describe.each(storages)("the test kit on $label", (kind) => {
  let jobs: Jobs | undefined;
  afterEach(async () => {
    setDefaultClock(systemClock);
    await jobs?.close();
    await kind.cleanup();
  });

  it("K3: a clock that goes by itself starts jobs at their times, and not before", async () => {
    const clock = new TestClock();
    jobs = await connect(await kind.create({ clock }));
    const seen: [string, number][] = [];
    const job = defineJob({
      name: "timed",
      timeout: Infinity,
      retention: { completed: Infinity },
      payload: json<string>(),
      run: (name, ctx) => void seen.push([name, ctx.clock.now() - ctx.job.runAt.getTime()]),
    });
    const handles = [
      await jobs.enqueue(job, "third", { in: "12h" }),
      await jobs.enqueue(job, "second", { in: "6h" }),
      await jobs.enqueue(job, "first", { in: "3h" }),
    ];
    const worker = jobs.worker([job]);
    await worker.start();
    await clock.scale(500_000);
    await Promise.all(handles.map((handle) => handle.result({ timeout: "30s" })));
    await clock.toRealtime();
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(60_000);
    const soon = await jobs.enqueue(job, "real", { in: 5 });
    await soon.result({ timeout: "30s" });
    await worker.stop();
    expect(seen.map(([name]) => name)).toEqual(["first", "second", "third", "real"]);
    expect(seen.every(([, lateMs]) => lateMs >= 0)).toBe(true);
  });

  it("K5: the default clock is set once for all that connect by URL, and reset with the system's", async () => {
    const clock = new TestClock();
    setDefaultClock(clock);
    jobs = await connect(await kind.url());
    await using others = await connect("memory:");
    const own = new TestClock();
    await using mine = await connect("memory:", { clock: own });
    expect([jobs.clock, others.clock, mine.clock]).toEqual([clock, clock, own]);
    setDefaultClock(systemClock);
    await using later = await connect("memory:");
    // Who has connected keeps what it has.
    expect([later.clock, jobs.clock]).toEqual([systemClock, clock]);
  });

  it("a worker that was moved step by step goes on by itself when it is started", async () => {
    jobs = await connect(await kind.create(), { logger: silentLogger });
    const job = defineJob({ name: "moved", run: (payload) => payload });
    const worker = jobs.worker([job]);
    await jobs.enqueue(job, 1);
    expect(await runUntilIdle(worker)).toBe(1);
    await worker.start();
    const handle = await jobs.enqueue(job, 2);
    expect(await handle.result({ timeout: "1m" })).toBe(2);
    await worker.stop();
  });

  it("assertEnqueued and refuteEnqueued look at what is stored", async () => {
    jobs = await connect(await kind.create({ clock: new TestClock() }));
    const mail = defineJob({ name: "mail", payload: json<{ to: string; n: number }>(), run: () => 1 });
    await jobs.enqueueMany(mail, [
      { to: "ann", n: 1 },
      { to: "bob", n: 2 },
    ]);
    await jobs.enqueue(mail, { to: "ann", n: 3 }, { in: "1h", queue: "later" });
    const found = await assertEnqueued(jobs, mail, { to: "ann" }, { count: 2 });
    expect(found.map(({ payload, state }) => [payload.n, state])).toEqual([
      [1, "available"],
      [3, "scheduled"],
    ]);
    await assertEnqueued(jobs, mail, undefined, { queue: "later", runAt: new Date("2030-01-01T01:00:00Z") });
    await refuteEnqueued(jobs, mail, { to: "carl" });
    await expect(assertEnqueued(jobs, mail, { to: "carl" })).rejects.toThrow(/job 2, available/);
    expect(await runUntilIdle(jobs.worker([mail]))).toBe(2);
    await refuteEnqueued(jobs, mail, { to: "bob" });
    await assertEnqueued(jobs, mail, { to: "bob" }, { finished: true });
  });

  it("faulty lets an enqueue be stored once, and a job due again at once be run again, when answers are lost", async () => {
    // Of the worker's calls, the one that tells of the first run and is given the job again.
    let told = 0;
    const storage = faulty(await kind.create({ clock: new TestClock() }), ({ method, n, args }) => {
      if (method === "enqueue") return n === 1 ? "lose" : undefined;
      if (method !== "exchange" || (args[0] as unknown[]).length === 0) return undefined;
      told += 1;
      return told === 1 ? "lose" : undefined;
    });
    jobs = await connect(storage, { logger: silentLogger, random: () => 0 });
    let runs = 0;
    const job = defineJob({
      name: "again",
      backoff: fixed(0),
      run: () => {
        runs += 1;
        if (runs === 1) throw new Error("once");
        return runs;
      },
    });
    const handle = await jobs.enqueue(job);
    const worker = jobs.worker([job], { pollInterval: 20 });
    await worker.start();
    expect(await handle.result({ timeout: "20s" })).toBe(2);
    expect(await handle.get()).toMatchObject({ attempt: 2, state: "completed" });
    expect((await jobs.count({})).n).toBe(1);
    await worker.stop();
    expect(storage.faults.counts.lost).toBe(2);
  });
});
