import { afterEach, describe, expect, it } from "vitest";
import { defineJob, InvalidOptionError, type Worker, type WorkerEvents } from "../../src/index.ts";
import type { LaneInfo, Storage } from "../../src/storage/storage.ts";
import { WorkerEmitter } from "../../src/worker/emitter.ts";
import { silentLogger } from "../../src/logger.ts";
import { StuckReport } from "../../src/worker/stuck.ts";
import { engines, type StorageKind, storages } from "../support/storages.ts";
import { gate, turns, until, type World, world } from "../support/world.ts";

// Goal: jobs that are ready and not taken for too long are told of, with the reason, and nothing else is.

const memory = engines.find(({ label }) => label === "memory") as StorageKind;
type Stuck = WorkerEvents["stuck"][0];

let here: World;
afterEach(() => here?.[Symbol.asyncDispose]());

/** The first things that a worker tells, which looks when it starts and takes no jobs itself. */
async function toldAtStart(worker: Worker, atLeast: number): Promise<Stuck[]> {
  const told: Stuck[] = [];
  worker.on("stuck", (about) => void told.push(about));
  worker.pause();
  await worker.start();
  await here.faults.done("processes", 1);
  await until(() => told.length >= atLeast);
  await turns();
  await worker.stop();
  return told;
}

describe.each(storages)("stuck jobs, on $label", (kind) => {
  it("are told of with their reason, once they have waited for longer than stuckAfter", async () => {
    here = await world(kind);
    const { jobs, clock } = here;
    const served = defineJob({ name: "served", run: () => undefined });
    const other = defineJob({ name: "other" });
    const { id } = await jobs.enqueue(other, 0, { queue: "nobody's" });
    await jobs.enqueue(other, 0, { queue: "nobody's" });
    await clock.advance("299s");
    const worker = jobs.worker([served]);
    const told: Stuck[] = [];
    worker.on("stuck", (about) => void told.push(about));
    await clock.advance("1s");
    await worker.start();
    await until(() => told.length === 1);
    await worker.stop();
    expect(told).toEqual([
      { queue: "nobody's", name: "other", id, waiting: 2, waitedMs: 300_000, why: "unserved" },
    ]);
    expect(here.lines.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(
        /"other" has been ready in queue "nobody's" for 300 s and is not taken \(no process serves/,
      ),
    );
  });
});

describe("stuck jobs", () => {
  it("are unhandled, paused, or behind others; what waits for less is not told of", async () => {
    here = await world(memory);
    const { jobs, clock } = here;
    const busy = gate();
    const slow = defineJob({ name: "slow", run: () => busy.promise });
    const paused = defineJob({ name: "paused", run: () => undefined });
    const unknown = defineJob({ name: "unknown" });
    await jobs.pause({ queue: "default", name: "paused" });
    await jobs.enqueueMany(slow, [1, 2]);
    await jobs.enqueue(paused, 1);
    await jobs.enqueue(unknown, 1);
    await jobs.enqueue(defineJob({ name: "young" }), 1, { in: "5m", queue: "later" });
    const first = jobs.worker([slow, paused], { concurrency: 1 });
    await first.start();
    await until(() => first.running === 1);
    await clock.advance("10m");
    const told = await toldAtStart(jobs.worker([slow, paused], { stuckAfter: "6m" }), 3);
    expect(told.map(({ name, why }) => `${name} ${why}`).sort()).toEqual([
      "paused paused",
      "slow busy",
      "unknown unhandled",
    ]);
    busy.open();
    await first.stop();
  });

  it("are nobody's business where the alarm is off", async () => {
    here = await world(memory);
    const { jobs, clock } = here;
    await jobs.enqueue(defineJob({ name: "other" }), 0, { queue: "nobody's" });
    await clock.advance("1d");
    const served = defineJob({ name: "served", run: () => undefined });
    const worker = jobs.worker([served], { stuckAfter: Number.POSITIVE_INFINITY });
    expect(await toldAtStart(worker, 0)).toEqual([]);
    expect(here.faults.calls.get("list")).toBeUndefined();
    expect(() => jobs.worker([served], { stuckAfter: 0 })).toThrow(InvalidOptionError);
  });
});

describe("the look at stuck jobs", () => {
  /** A report over lanes whose heads are all an hour old, and the lanes it has asked about. */
  function reportOf(names: readonly string[]): {
    look(fresh?: readonly string[]): Promise<string[]>;
    asked: string[];
    pass(): void;
  } {
    const asked: string[] = [];
    let fresh: readonly string[] = [];
    const storage = {
      clock: { now: () => 3_600_000 },
      list: async ({ name }: { name: string }) => {
        asked.push(name);
        return { jobs: [{ id: 1, runAt: fresh.includes(name) ? 3_600_000 : 0 }] };
      },
    } as unknown as Storage;
    const emitter = new WorkerEmitter(silentLogger);
    const told: string[] = [];
    emitter.on("stuck", ({ name }) => void told.push(name));
    let now = 0;
    const report = new StuckReport(
      { storage, emitter, logger: silentLogger, stuckAfterMs: 300_000, serves: () => true },
      () => now,
    );
    const lanes = names.map((name) => ({ queue: "q", name, paused: false, counts: { available: 1 } }));
    return {
      asked,
      pass: () => (now += 60_000),
      look: async (young = []) => {
        fresh = young;
        told.length = 0;
        await report.look(lanes as unknown as LaneInfo[], new Map([["q", new Set(names)]]));
        return [...told];
      },
    };
  }

  it("comes once a minute at most, tells of a lane once, and again when it had recovered", async () => {
    const { look, pass, asked } = reportOf(["a"]);
    expect(await look()).toEqual(["a"]);
    expect(await look()).toEqual([]);
    expect(asked).toHaveLength(1);
    pass();
    expect(await look()).toEqual([]);
    pass();
    expect(await look(["a"])).toEqual([]);
    pass();
    expect(await look()).toEqual(["a"]);
    expect(asked).toHaveLength(4);
  });

  it("asks about a few lanes each time, and about all in turn", async () => {
    const names = Array.from({ length: 50 }, (_, n) => `lane ${n}`);
    const { look, pass, asked } = reportOf(names);
    const told: string[] = [];
    for (let i = 0; i < 3; i += 1) {
      told.push(...(await look()));
      pass();
    }
    expect(asked).toHaveLength(60);
    expect(told.sort()).toEqual(names.sort());
  });
});
