import { StorageFullError } from "../../errors.ts";
import type { JobHead, JobId } from "../../job/job.ts";
import { instantOf, newHead } from "../../job/lifecycle.ts";
import type { EnqueueResult, GroupResult, NewJob } from "../storage.ts";
import { Finished } from "./finished.ts";
import { GivenIds } from "./given-ids.ts";
import { AVAILABLE, COMPLETED, KeptJob, SCHEDULED, type StateIndex, stateIndex } from "./kept-job.ts";
import { Lanes } from "./lane.ts";
import { byPlace, OrderedJobs } from "./ordered-jobs.ts";
import { Watchers } from "./watchers.ts";

/** All kept jobs, each in the list of its state, and the only place where they move from one to another. */
export class JobStore {
  readonly jobs: Map<JobId, KeptJob> = new Map();
  readonly lanes: Lanes = new Lanes();
  readonly watchers: Watchers = new Watchers(this.lanes);
  readonly scheduled: OrderedJobs = new OrderedJobs(byPlace);
  readonly finished: Finished = new Finished();
  /** Jobs by state in all lanes, indexed as `JOB_STATES`. */
  readonly counts: number[] = [0, 0, 0, 0, 0, 0, 0];
  readonly #givenIds = new GivenIds();
  readonly #label: string;
  readonly #maxJobs: number;
  /** Ids and seqs come from one counter: a job that is available at once has its id as its seq. */
  #lastNumber = 0;

  constructor(label: string, maxJobs: number) {
    this.#label = label;
    this.#maxJobs = maxJobs;
  }

  storeGroup(group: readonly NewJob[], now: number): GroupResult {
    const refused = this.#givenIds.firstConflict(group);
    if (refused !== undefined) {
      const { index, existing } = refused;
      return { ok: false, refusal: { kind: "duplicate-id", existing }, index };
    }
    return { ok: true, jobs: group.map((spec) => this.store(spec, now)) };
  }

  store(spec: NewJob, now: number): EnqueueResult {
    if (spec.givenId !== undefined) {
      const existing = this.#givenIds.get(spec.name, spec.givenId);
      if (existing !== undefined) return { status: "existing", id: existing.id };
    }
    const id = ++this.#lastNumber;
    const runAt = spec.later === undefined ? now : instantOf(spec.later, now);
    const lane = this.lanes.laneFor(spec.queue, spec.name);
    const job = new KeptJob(id, spec, lane, newHead(spec.priority, runAt, now), now);
    this.jobs.set(id, job);
    if (spec.givenId !== undefined) this.#givenIds.add(job);
    this.#count(job, 1);
    if (job.state === AVAILABLE) {
      job.place = id;
      lane.add(job);
      this.watchers.available(lane);
    } else {
      this.#schedule(job);
    }
    return { status: "created", id };
  }

  // ── Moving a job from list to list ─────────────────────────────────────────

  /** To where its new head says, at a new place. Its old place, or its lease, was left before. */
  arrive(job: KeptJob): void {
    const state = stateIndex(job.head.state);
    this.setState(job, state);
    if (state === AVAILABLE) {
      job.at = 0;
      job.place = ++this.#lastNumber;
      job.lane.add(job);
      this.watchers.available(job.lane);
    } else if (state === SCHEDULED) {
      this.#schedule(job);
    } else {
      this.#finish(job);
    }
  }

  /** A released job: it still has its seq. */
  backToItsPlace(job: KeptJob): void {
    this.setState(job, AVAILABLE);
    job.lane.add(job);
    this.watchers.available(job.lane);
  }

  #schedule(job: KeptJob): void {
    job.at = job.head.runAt;
    job.place = job.id;
    this.scheduled.insert(job);
    // Who sleeps until the next due time has to learn of an earlier one.
    this.watchers.available(job.lane);
  }

  #finish(job: KeptJob): void {
    const { endedAt, expiresAt } = job.head as JobHead & { readonly endedAt: number };
    const isAwaited = this.watchers.isAwaited(job.id);
    if (isAwaited) this.watchers.finished(job.id);
    if (expiresAt !== undefined && expiresAt <= endedAt) {
      if (!isAwaited) {
        this.#forget(job);
        return;
      }
      // Retention 0, but someone waits for the result and must be able to fetch it.
      job.head = { ...job.head, expiresAt: endedAt + AWAITED_KEEP_MS };
    }
    this.finished.add(job);
  }

  /** Out of the list of a job that waits or is finished. */
  leave(job: KeptJob): void {
    if (job.state === AVAILABLE) job.lane.delete(job);
    else if (job.state === SCHEDULED) this.scheduled.delete(job);
    else if (job.state >= COMPLETED) this.finished.delete(job);
  }

  remove(job: KeptJob): void {
    this.leave(job);
    this.#forget(job);
  }

  #forget(job: KeptJob): void {
    this.#count(job, -1);
    this.jobs.delete(job.id);
    if (job.spec.givenId !== undefined) this.#givenIds.delete(job);
  }

  setState(job: KeptJob, state: StateIndex): void {
    this.#count(job, -1);
    job.state = state;
    this.#count(job, 1);
  }

  #count(job: KeptJob, by: 1 | -1): void {
    const { counts } = job.lane;
    (counts[job.state] as number) += by;
    (this.counts[job.state] as number) += by;
  }

  // ── Bounds ─────────────────────────────────────────────────────────────────

  /** Refuses, before anything is stored, what would not fit. */
  checkRoom(groups: readonly (readonly NewJob[])[]): void {
    this.lanes.checkRoom(groups);
    let more = 0;
    for (const group of groups) more += group.length;
    if (this.jobs.size + more <= this.#maxJobs) return;
    // What exists already needs no room: a repeated enqueue is answered also when the storage is full.
    for (const group of groups) for (const spec of group) if (this.#givenIds.has(spec)) more--;
    if (more === 0 || this.jobs.size + more <= this.#maxJobs) return;
    throw new StorageFullError(
      `The storage "${this.#label}" keeps ${this.jobs.size} jobs and ${more} more do not fit: ` +
        `its bound is maxJobs = ${this.#maxJobs}. Raise maxJobs, shorten the retention of finished jobs, ` +
        'or use a storage on disk ("lmdb:").',
    );
  }
}

/** How long a finished job with retention 0 is kept for those who wait for its result. */
const AWAITED_KEEP_MS = 60_000;
