import assert from "node:assert/strict";
import { hostname } from "node:os";
import { type JobError, type JobId, JOB_STATES, type JobState } from "../../job/job.ts";
import type { Change, ChangeResult } from "../../job/change.ts";
import type { Outcome } from "../../job/lifecycle.ts";
import type {
  BeatResult,
  ClaimedJob,
  ClaimRequest,
  ClaimResult,
  EnqueueResult,
  Lease,
  ListQuery,
  NewJob,
  ProcessBeat,
  QueueRequest,
  RescuedJob,
  Settlement,
  SettleResult,
  Storage,
  StoredJob,
} from "../../storage/storage.ts";
import { TestClock } from "../test-clock.ts";
import type { CreateStorage } from "./suite.ts";

/** Silence after which the processes of the suite count as lost. */
export const LOST_AFTER_MS = 25_000;

/** One case's storage with its time, and short words for what cases do over and over. */
export class Stage {
  readonly storage: Storage;
  readonly clock: TestClock;
  readonly #liveness: { ms: number };
  /** The last lease that was given for each job. */
  readonly #leases = new Map<JobId, Lease>();
  #tokens = 0;

  static async open(create: CreateStorage): Promise<Stage> {
    const clock = new TestClock();
    const liveness = { ms: 1_000_000 };
    const storage = await create({ clock, liveness: () => liveness.ms });
    await storage.open();
    return new Stage(storage, clock, liveness);
  }

  constructor(storage: Storage, clock: TestClock, liveness: { ms: number }) {
    this.storage = storage;
    this.clock = clock;
    this.#liveness = liveness;
  }

  async close(): Promise<void> {
    await this.storage.close();
  }

  /** Liveness goes on; the scheduling clock stands still. */
  livePast(ms: number): void {
    this.#liveness.ms += ms;
  }

  // ── In ─────────────────────────────────────────────────────────────────────

  /** Store jobs, one group, all new. */
  async enqueue(...jobs: Partial<NewJob>[]): Promise<JobId[]> {
    const results = await this.enqueueGroup(...jobs);
    return results.map(({ status, id }) => {
      assert.equal(status, "created");
      return id;
    });
  }

  async enqueueOne(job: Partial<NewJob> = {}): Promise<JobId> {
    return only(await this.enqueue(job));
  }

  async enqueueGroup(...jobs: Partial<NewJob>[]): Promise<readonly EnqueueResult[]> {
    const group = only(await this.storage.enqueue([jobs.map(newJob)]));
    assert.ok(group.ok, "the group was refused");
    return group.jobs;
  }

  // ── Through ────────────────────────────────────────────────────────────────

  async register(id: string = "p1", more: Partial<ProcessBeat> = {}): Promise<BeatResult> {
    const result = await this.storage.beat(beatOf(id, { first: true, ...more }));
    assert.equal(result.known, true, `process ${id} could not register`);
    return result;
  }

  async beat(id: string = "p1", more: Partial<ProcessBeat> = {}): Promise<BeatResult> {
    return this.storage.beat(beatOf(id, more));
  }

  request(more: Partial<ClaimRequest> & Partial<QueueRequest> = {}): ClaimRequest {
    const { queue = "q", names = ["a"], room = 100, readAhead = 0 } = more;
    const { processId = "p1", starts = [] } = more;
    return {
      processId,
      token: more.token ?? `${processId}:${++this.#tokens}`,
      queues: more.queues ?? [{ queue, names, room, readAhead }],
      starts,
    };
  }

  async claimAll(more: Partial<ClaimRequest> & Partial<QueueRequest> = {}): Promise<ClaimResult> {
    const result = await this.storage.claim(this.request(more));
    for (const job of result.jobs) this.learn(job);
    return result;
  }

  /** Note the lease of a job that was given. */
  learn(job: ClaimedJob): void {
    this.#leases.set(job.id, leaseOf(job));
  }

  /** Claim by a registered process: the jobs given. */
  async claim(more: Partial<ClaimRequest> & Partial<QueueRequest> = {}): Promise<readonly ClaimedJob[]> {
    const result = await this.claimAll(more);
    assert.equal(result.known, true, "the process is not known");
    return result.jobs;
  }

  async claimOne(more: Partial<ClaimRequest> & Partial<QueueRequest> = {}): Promise<ClaimedJob> {
    return only(await this.claim({ room: 1, ...more }));
  }

  /** The lease of a running job that this stage claimed. */
  leaseFor(id: JobId): Lease {
    const lease = this.#leases.get(id);
    assert.ok(lease, `job ${id} was never claimed`);
    return lease;
  }

  /** The ids a claim gives, in order. */
  async claimIds(more: Partial<ClaimRequest> & Partial<QueueRequest> = {}): Promise<JobId[]> {
    return (await this.claim(more)).map(({ id }) => id);
  }

  async settle(lease: Lease, outcome: Outcome, more: Partial<Settlement> = {}): Promise<SettleResult> {
    return only(
      await this.storage.settle([settlement(lease, outcome, { startedAt: this.clock.now(), ...more })]),
    );
  }

  /** Settle a lease that must stand. */
  async end(lease: Lease, outcome: Outcome): Promise<void> {
    assert.equal(await this.settle(lease, outcome), "settled");
  }

  /** Settle many leases that must stand, some hundreds a call. */
  async endAll(ends: readonly (readonly [lease: Lease, outcome: Outcome])[]): Promise<void> {
    const startedAt = this.clock.now();
    for (let start = 0; start < ends.length; start += 500) {
      const some = ends.slice(start, start + 500);
      const results = await this.storage.settle(
        some.map(([lease, outcome]) => settlement(lease, outcome, { startedAt })),
      );
      assert.deepEqual(
        results,
        some.map(() => "settled"),
      );
    }
  }

  async rescue(processId: string, limit: number = 100): Promise<RescuedJob[]> {
    return this.storage.rescue({ processId, token: `${processId}:${++this.#tokens}`, limit });
  }

  // ── Look and steer ─────────────────────────────────────────────────────────

  async get(id: JobId): Promise<StoredJob> {
    const job = only(await this.storage.get([id]));
    assert.ok(job, `job ${id} is not there`);
    return job;
  }

  async isThere(id: JobId): Promise<boolean> {
    return only(await this.storage.get([id])) !== undefined;
  }

  async state(id: JobId): Promise<JobState> {
    return (await this.get(id)).state;
  }

  async change(id: JobId, change: Change): Promise<ChangeResult> {
    return only(await this.storage.change([id], change));
  }

  async count(query: Parameters<Storage["count"]>[0] = {}): Promise<number> {
    const { n, exact } = await this.storage.count(query);
    assert.equal(exact, true, "so few jobs must be counted exactly");
    return n;
  }

  /** The ids of a listing, page by page. */
  async listIds(query: Omit<ListQuery, "limit" | "after">, limit: number = 1_000): Promise<JobId[]> {
    const ids: JobId[] = [];
    for (let after: string | undefined, page = 0; ; page++) {
      assert.ok(page < 1_000, "paging does not come to an end");
      const answer = await this.storage.list({ ...query, limit, ...(after === undefined ? {} : { after }) });
      assert.ok(answer.jobs.length <= limit, "a page is longer than its limit");
      ids.push(...answer.jobs.map(({ id }) => id));
      if (answer.next === undefined) return ids;
      after = answer.next;
    }
  }

  /** Counters, lanes and listings say the same, in every state. */
  async checkCounts(): Promise<void> {
    const { lanes } = await this.storage.lanes();
    let all = 0;
    for (const state of JOB_STATES) {
      const listed = await this.listIds({ state });
      assert.equal(new Set(listed).size, listed.length, `a ${state} job is listed twice`);
      assert.equal(await this.count({ state }), listed.length, `count of ${state} and list differ`);
      const inLanes = lanes.reduce((n, { counts }) => n + counts[state], 0);
      assert.equal(inLanes, listed.length, `counts of lanes and list differ for ${state}`);
      all += listed.length;
    }
    assert.equal(await this.count(), all, "the count of all jobs and the sum over the states differ");
  }

  // ── A job in a certain situation ───────────────────────────────────────────

  /**
   * A new job brought into a situation, alone in the lane `situation` of queue `q`. Registers the
   * process `p1`, which holds it if it runs.
   */
  async jobIn(situation: Situation, more: Partial<NewJob> = {}): Promise<JobId> {
    await this.register();
    const name = more.name ?? situation;
    const later = situation === "scheduled" ? { later: { delayMs: 60_000 } } : {};
    const id = await this.enqueueOne({ name, ...later, ...more });
    const claimed = async (): Promise<ClaimedJob> => this.claimOne({ names: [name] });
    switch (situation) {
      case "available":
      case "scheduled":
        break;
      case "marked":
        await this.end(await claimed(), { state: "available", marked: true });
        break;
      case "retrying":
        await this.end(await claimed(), failed({ delayMs: 60_000 }));
        break;
      case "running":
        await claimed();
        break;
      case "asked":
        await claimed();
        assert.equal(await this.change(id, { kind: "cancel", reason: "first reason" }), "asked");
        break;
      case "completed":
        await this.end(await claimed(), { state: "completed", result: '"done"' });
        break;
      case "cancelled":
        await this.end(await claimed(), { state: "cancelled", reason: "by the handler" });
        break;
      case "dead":
        await this.end(await claimed(), { state: "dead", error: ERROR });
        break;
    }
    return id;
  }
}

/** Every situation a job can be in, as far as operators can tell. */
export const SITUATIONS = [
  "available",
  "marked",
  "scheduled",
  "retrying",
  "running",
  "asked",
  "completed",
  "cancelled",
  "dead",
] as const;
export type Situation = (typeof SITUATIONS)[number];

export const STATE_OF: Readonly<Record<Situation, JobState>> = {
  available: "available",
  marked: "available",
  scheduled: "scheduled",
  retrying: "scheduled",
  running: "running",
  asked: "running",
  completed: "completed",
  cancelled: "cancelled",
  dead: "dead",
};

export const ERROR: JobError = { name: "Error", message: "it broke", stack: "Error: it broke\n    at x" };

const DAY_MS = 86_400_000;

export function newJob(more: Partial<NewJob> = {}): NewJob {
  return {
    name: "a",
    queue: "q",
    payload: '{"n":1}',
    maxRetries: 3,
    backoff: { kind: "fixed", delayMs: 1_000 },
    timeoutMs: null,
    retention: { completedMs: DAY_MS, cancelledMs: DAY_MS, deadMs: DAY_MS },
    tags: [],
    priority: 0,
    ...more,
  };
}

export function beatOf(id: string, more: Partial<ProcessBeat> = {}): ProcessBeat {
  return {
    id,
    // A real process of this machine: an engine may look whether it exists.
    host: hostname(),
    pid: process.pid,
    lostAfterMs: LOST_AFTER_MS,
    queues: [{ queue: "q", names: ["a"], concurrency: 10 }],
    holds: [],
    starts: [],
    ...more,
  };
}

export function leaseOf({ id, generation, token }: Lease): Lease {
  return { id, generation, token };
}

export function settlement(lease: Lease, outcome: Outcome, more: Partial<Settlement> = {}): Settlement {
  return { lease: leaseOf(lease), outcome, startedAt: 0, ...more };
}

export const COMPLETED: Outcome = { state: "completed" };
export const RELEASED: Outcome = { state: "available", marked: false };
export const MARKED: Outcome = { state: "available", marked: true };

/** An attempt that failed, with a retry to come. */
export function failed(later: { delayMs: number } | { at: number }): Outcome {
  return { state: "scheduled", later, attempt: "spent", error: ERROR };
}

export function snoozed(later: { delayMs: number } | { at: number }): Outcome {
  return { state: "scheduled", later, attempt: "kept" };
}

/** The one element of a list. */
export function only<T>(list: readonly T[]): T {
  assert.equal(list.length, 1);
  return list[0] as T;
}

/** The element at an index that must be there. */
export function at<T>(list: readonly T[], index: number): T {
  assert.ok(index < list.length, `there is no element ${index}`);
  return list[index] as T;
}

/** Some of an object's fields; a field expected `undefined` must be absent or undefined. */
export function assertHas<T extends object>(
  actual: T,
  expected: { readonly [K in keyof T]?: T[K] | undefined },
): void {
  for (const key of Object.keys(expected) as (keyof T)[]) {
    assert.deepEqual(actual[key], expected[key], `${String(key)} differs`);
  }
}
