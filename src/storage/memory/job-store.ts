import { StorageFullError } from "../../errors.ts";
import { replaceHead } from "../../job/change.ts";
import { type JobHead, type JobId, JOB_STATES, type JobSpec } from "../../job/job.ts";
import { instantOf, newHead, promoteHead } from "../../job/lifecycle.ts";
import { isReplaceable, isSameLimit } from "../../job/key.ts";
import type { EnqueueResult, GroupResult, NewJob } from "../storage.ts";
import { Finished } from "./finished.ts";
import { ENQUEUED, type FlowKind } from "./flow-counter.ts";
import { GivenIds } from "./given-ids.ts";
import {
  AVAILABLE,
  BLOCKED,
  COMPLETED,
  KeptJob,
  SCHEDULED,
  type StateIndex,
  stateIndex,
} from "./kept-job.ts";
import { Lanes } from "./lane.ts";
import { LimitKeys } from "./limit-keys.ts";
import { byPlace, OrderedJobs } from "./ordered-jobs.ts";
import { UniqueKeys } from "./unique-keys.ts";
import { Watchers } from "./watchers.ts";

/** All kept jobs, each in the list of its state, and the only place where they move from one to another. */
export class JobStore {
  readonly jobs: Map<JobId, KeptJob> = new Map();
  readonly lanes: Lanes = new Lanes();
  readonly watchers: Watchers = new Watchers(this.lanes);
  readonly scheduled: OrderedJobs = new OrderedJobs(byPlace);
  readonly blocked: OrderedJobs = new OrderedJobs(byPlace);
  readonly finished: Finished = new Finished();
  /** Jobs by state in all lanes, indexed as `JOB_STATES`. */
  readonly counts: number[] = [0, 0, 0, 0, 0, 0, 0];
  readonly uniqueKeys: UniqueKeys = new UniqueKeys(this.jobs);
  readonly limitKeys: LimitKeys = new LimitKeys();
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
    const held = this.uniqueKeys.firstConflict(group, now);
    if (held !== undefined) {
      const { index, existing } = held;
      return { ok: false, refusal: { kind: "key-held", existing }, index };
    }
    return { ok: true, jobs: group.map((spec) => this.#store(spec, now)) };
  }

  #store(spec: NewJob, now: number): EnqueueResult {
    if (spec.givenId !== undefined) {
      const existing = this.#givenIds.get(spec.name, spec.givenId);
      if (existing !== undefined) return { status: "existing", id: existing.id };
    }
    const { unique } = spec;
    if (unique !== undefined) {
      const held = this.uniqueKeys.heldBy(unique, now);
      if (held !== undefined) return this.#meet(held.id, spec, now);
    }
    const id = ++this.#lastNumber;
    const runAt = spec.later === undefined ? now : instantOf(spec.later, now);
    const lane = this.lanes.laneFor(spec.queue, spec.name);
    const job = new KeptJob(id, spec, lane, newHead(spec, runAt, now), now);
    if (unique !== undefined) {
      if (unique.inherit === true) this.#inherit(job, this.uniqueKeys.row(unique)?.id);
      this.uniqueKeys.take(id, unique, now);
    }
    this.jobs.set(id, job);
    if (spec.givenId !== undefined) this.#givenIds.add(job);
    this.#count(job, 1);
    lane.flow.count(ENQUEUED, now);
    if (job.state === AVAILABLE) {
      job.place = id;
      this.#intoLine(job);
    } else {
      this.#schedule(job);
    }
    return { status: "created", id };
  }

  /** Another job holds its key. */
  #meet(id: JobId, spec: NewJob, now: number): EnqueueResult {
    const holder = this.jobs.get(id);
    if (holder === undefined || spec.unique?.onConflict !== "replace") return { status: "existing", id };
    const state = JOB_STATES[holder.state] as (typeof JOB_STATES)[number];
    const { name, queue, limit } = holder.spec;
    if (!isReplaceable({ name, queue, state }, spec)) return { status: "existing", id };
    const runAt = spec.later === undefined ? now : instantOf(spec.later, now);
    const head = replaceHead(holder.head, limit, spec, runAt, now);
    const staysInPlace =
      head.state === holder.head.state &&
      head.state !== "scheduled" &&
      head.priority === holder.head.priority &&
      isSameLimit(limit, spec.limit);
    if (!staysInPlace) this.leave(holder);
    const { givenId: _own, ...taken } = spec;
    holder.spec = holder.spec.givenId === undefined ? taken : { ...taken, givenId: holder.spec.givenId };
    holder.head = head;
    if (!staysInPlace) this.arrive(holder, now);
    this.admit(limit);
    this.uniqueKeys.take(id, spec.unique, now);
    return { status: "replaced", id };
  }

  /** The last job of the key leaves its checkpoint to the next. */
  #inherit(heir: KeptJob, from: JobId | undefined): void {
    const before = from === undefined ? undefined : this.jobs.get(from);
    if (before === undefined || before.state < COMPLETED || before.checkpoint === null) return;
    heir.checkpoint = new Map(before.checkpoint);
    heir.checkpointBytes = before.checkpointBytes;
  }

  // ── Moving a job from list to list ─────────────────────────────────────────

  /** To where its new head says, at a new place. Its old place, or its lease, was left before. */
  arrive(job: KeptJob, now: number): void {
    const state = stateIndex(job.head.state);
    this.setState(job, state);
    if (state === AVAILABLE) {
      job.at = 0;
      job.place = ++this.#lastNumber;
      this.#intoLine(job);
    } else if (state === SCHEDULED) {
      this.#schedule(job);
    } else if (state === BLOCKED) {
      this.#block(job, ++this.#lastNumber);
    } else {
      job.lane.flow.count((state - 3) as FlowKind, now);
      this.uniqueKeys.ended(job, now);
      this.#finish(job);
    }
  }

  /** Due: into line, or behind others of its key. It was taken out of the scheduled ones. */
  promote(job: KeptJob, now: number): void {
    job.head = promoteHead(job.head, job.spec.limit === undefined || this.limitKeys.hasRoom(job));
    this.arrive(job, now);
  }

  /** It was taken out of line, and its key is full: it waits at its place. */
  park(job: KeptJob): void {
    job.head = promoteHead(job.head, false);
    this.setState(job, BLOCKED);
    this.#block(job, job.place);
  }

  /** Of a limit key something has ended or left: those who may come into line now do so, at their places. */
  admit(limit: JobSpec["limit"]): void {
    if (limit === undefined) return;
    for (const job of this.limitKeys.admitted(limit)) {
      this.blocked.delete(job);
      job.place = job.seq;
      job.head = promoteHead(job.head);
      this.setState(job, AVAILABLE);
      this.#intoLine(job);
    }
  }

  #block(job: KeptJob, seq: number): void {
    job.at = 0;
    job.place = job.id;
    job.seq = seq;
    this.blocked.insert(job);
    this.limitKeys.block(job);
  }

  #intoLine(job: KeptJob): void {
    job.lane.add(job);
    this.limitKeys.stoodInLine(job, 1);
    this.watchers.available(job.lane);
  }

  /** A released job: it still has its seq. */
  backToItsPlace(job: KeptJob): void {
    this.setState(job, AVAILABLE);
    this.#intoLine(job);
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
        this.#forget(job, endedAt, false);
        return;
      }
      // Retention 0, but someone waits for the result and must be able to fetch it.
      job.head = { ...job.head, expiresAt: endedAt + AWAITED_KEEP_MS };
    }
    this.finished.add(job);
  }

  /** Out of the list of a job that waits or is finished. {@link admit} others of its key when it is where it goes. */
  leave(job: KeptJob): void {
    if (job.state === AVAILABLE) {
      job.lane.delete(job);
      this.limitKeys.stoodInLine(job, -1);
    } else if (job.state === BLOCKED) {
      this.blocked.delete(job);
      this.limitKeys.unblock(job);
    } else if (job.state === SCHEDULED) this.scheduled.delete(job);
    else if (job.state >= COMPLETED) this.finished.delete(job);
  }

  /** @param byHand whether somebody asked for it; otherwise its time is over */
  remove(job: KeptJob, now: number, byHand: boolean): void {
    this.leave(job);
    this.#forget(job, now, byHand);
    this.admit(job.spec.limit);
  }

  #forget(job: KeptJob, now: number, byHand: boolean): void {
    this.#count(job, -1);
    this.jobs.delete(job.id);
    this.uniqueKeys.gone(job, now, byHand);
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

  #isThere(spec: NewJob, now: number): boolean {
    if (this.#givenIds.has(spec)) return true;
    return spec.unique !== undefined && this.uniqueKeys.heldBy(spec.unique, now) !== undefined;
  }

  // ── Bounds ─────────────────────────────────────────────────────────────────

  /** Refuses, before anything is stored, what would not fit. */
  checkRoom(groups: readonly (readonly NewJob[])[], now: number): void {
    this.lanes.checkRoom(groups);
    let more = 0;
    for (const group of groups) more += group.length;
    if (this.jobs.size + more <= this.#maxJobs) return;
    // What exists already needs no room: a repeated enqueue is answered also when the storage is full.
    for (const group of groups) for (const spec of group) if (this.#isThere(spec, now)) more--;
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
