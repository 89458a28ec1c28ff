import { describe, expect, it } from "vitest";
import {
  connect,
  defineJob,
  fixed,
  json,
  silentLogger,
  snooze,
  UnrecoverableError,
} from "../../src/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import type { StoredJob } from "../../src/storage/storage.ts";
import { type Faults, faulty, TestClock } from "../../src/testing/index.ts";
import { seed, size } from "../support/size.ts";
import { until } from "../support/world.ts";

// Goal: whatever a storage loses, an enqueue that was acknowledged is stored once and its job ends exactly as it
// should, with exactly the attempts it needs. Method: a worker and its callers on a faulty memory storage, each
// seed with its own faults; what has become of the jobs is read from the storage behind it.

/** How a job ends, by its payload. */
const KINDS = ["returns", "fails twice", "gives up", "never works", "snoozes", "has children"] as const;
type Kind = (typeof KINDS)[number];
interface Task {
  readonly kind: Kind;
  readonly n: number;
}

const JOBS = 30;
const SEEDS = size(20, 400);
const TOGETHER = 20;
/** Enough to be told apart from luck, few enough to get on: every failed call costs its caller a wait. */
const RATES = { fail: 0.08, lose: 0.08, delay: 0.1, hints: 0.3 };

const child = defineJob({ name: "child", payload: json<number>(), run: (n) => n });

interface Ended {
  readonly acknowledged: ReadonlyMap<string, Task>;
  readonly stored: readonly StoredJob[];
  /** Runs that ended by the worker's own count, by task. */
  readonly runs: ReadonlyMap<number, number>;
  readonly faults: Faults["counts"];
}

async function play(number: number): Promise<Ended> {
  // Retries and snoozes are seconds apart, so time goes by itself; not so fast that a storage forgets, while a caller
  // repeats a call, that it has seen it.
  const clock = new TestClock();
  await clock.scale(200);
  const real = new MemoryStorage({ clock });
  const storage = faulty(real, { seed: number, rates: RATES, delay: 3 });
  const jobs = await connect(storage, {
    logger: silentLogger,
    random: () => 0,
    defaults: { timeout: Infinity, retention: { completed: Infinity, cancelled: Infinity, dead: Infinity } },
  });
  const runs = new Map<number, number>();
  const task = defineJob({
    name: "task",
    payload: json<Task>(),
    maxRetries: 2,
    backoff: fixed("1s"),
    run: async ({ kind, n }, ctx) => {
      const run = (runs.get(n) ?? 0) + 1;
      runs.set(n, run);
      if (kind === "gives up") throw new UnrecoverableError("never");
      if (kind === "never works" || (kind === "fails twice" && run <= 2)) throw new Error("not now");
      if (kind === "snoozes" && run === 1) return snooze("5s");
      if (kind === "has children") await ctx.jobs.enqueueMany(child, [n, n]);
      return n;
    },
  });
  const worker = jobs.worker([task, child], { concurrency: 5, pollInterval: 20 });
  while (
    await worker.start().then(
      () => false,
      () => true,
    )
  );
  const acknowledged = new Map<string, Task>();
  const all = Array.from({ length: JOBS }, (_, n): Task => ({ kind: KINDS[n % KINDS.length] as Kind, n }));
  await Promise.all(
    all.map(async (one, index) => {
      // Some together, some one after the other.
      await new Promise((resolve) => setTimeout(resolve, (index % 5) * 4));
      const { id } = await jobs.enqueue(task, one, index % 3 === 0 ? { in: "1s" } : {});
      acknowledged.set(id, one);
    }),
  );
  await until(async () => (await unfinished(real)) === 0);
  await worker.stop();
  const stored = await listed(real);
  await jobs.close();
  await clock.scale(0);
  return { acknowledged, stored, runs, faults: storage.faults.counts };
}

async function unfinished(storage: MemoryStorage): Promise<number> {
  let n = 0;
  for (const state of ["scheduled", "available", "blocked", "running"] as const) {
    n += (await storage.count({ state })).n;
  }
  return n;
}

async function listed(storage: MemoryStorage): Promise<StoredJob[]> {
  const pages = await Promise.all(
    (["completed", "cancelled", "dead"] as const).map((state) => storage.list({ state, limit: 1_000 })),
  );
  return pages.flatMap(({ jobs }) => jobs);
}

/** State, attempts, and runs of the handler. */
const ENDS: Record<Kind, readonly [string, number, number]> = {
  returns: ["completed", 1, 1],
  "fails twice": ["completed", 3, 3],
  "gives up": ["dead", 1, 1],
  "never works": ["dead", 3, 3],
  snoozes: ["completed", 1, 2],
  "has children": ["completed", 1, 1],
};

describe("a worker on a storage that fails, loses answers and hints, and is late", () => {
  const first = seed("faulty worker");
  const seeds = Array.from({ length: SEEDS }, (_, index) => (first + index) % 2 ** 31);
  const games = new Map<number, Promise<Ended>>();

  /** They wait most of the time, so some wait together. */
  function game(one: number): Promise<Ended> {
    if (!games.has(one)) {
      const from = seeds.indexOf(one);
      for (const each of seeds.slice(from, from + TOGETHER)) {
        const playing = play(each);
        // Its own test tells of it.
        playing.catch(() => undefined);
        games.set(each, playing);
      }
    }
    return games.get(one) as Promise<Ended>;
  }

  it.each(seeds)("ends every job that was acknowledged exactly as it should, seed %i", async (one) => {
    const { acknowledged, stored, runs } = await game(one);
    expect(acknowledged.size).toBe(JOBS);
    const tasks = stored.filter(({ name }) => name === "task");
    expect(tasks.map(({ id }) => String(id)).sort()).toEqual([...acknowledged.keys()].sort());
    for (const job of tasks) {
      const { kind, n } = JSON.parse(job.payload) as Task;
      expect([kind, job.state, job.attempt, runs.get(n)]).toEqual([kind, ...ENDS[kind]]);
      expect(job.result).toBe(job.state === "completed" ? String(n) : undefined);
    }
    const children = stored.filter(({ name }) => name === "child");
    const parents = [...acknowledged.values()].filter(({ kind }) => kind === "has children");
    const expected = parents.flatMap(({ n }) => [n, n]).sort((a, b) => a - b);
    expect(children.map(({ payload }) => Number(payload)).sort((a, b) => a - b)).toEqual(expected);
    expect(children.every(({ state, attempt }) => state === "completed" && attempt === 1)).toBe(true);
  });

  it("is put to the test by them: each kind of fault came, and often", async () => {
    const all = await Promise.all(seeds.map(async (one) => (await game(one)).faults));
    for (const kind of ["failed", "lost", "delayed"] as const) {
      expect(
        all.reduce((sum, counts) => sum + counts[kind], 0),
        kind,
      ).toBeGreaterThan(SEEDS);
    }
  });
});
