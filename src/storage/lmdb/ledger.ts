import { StorageFullError } from "../../errors.ts";
import { type AttemptEntry, isFinal, type JobHead, type JobId, type JobState } from "../../job/job.ts";
import { forgottenAttempt, keepsCheckpoint, promoteHead, stateAt } from "../../job/lifecycle.ts";
import type { LimitKey } from "../../job/key.ts";
import type { NewJob, ProcessId } from "../storage.ts";
import { Chunks } from "./chunks.ts";
import { Counts } from "./counts.ts";
import type { DurableTables, VolatileTables } from "./environments.ts";
import { ENQUEUED, type FlowKind } from "./flow.ts";
import { groupEnd, type KeptJob, readCheckpoint, readJob, type SpecCache, stateOf } from "./job.ts";
import { instantKey, pairKey, PLAIN, type Place, placeKey, textKey, wholeKey, wholeTextKey } from "./keys.ts";
import type { Lane, Lanes } from "./lanes.ts";
import { LimitKeys } from "./limit-keys.ts";
import {
  encodeAttempt,
  encodeEntry,
  encodeHead,
  encodeSpec,
  type HeadRecord,
  type LeaseRecord,
  type SpecMore,
  type SpecRecord,
} from "./records.ts";
import { placeOf, readyValue } from "./place.ts";
import { UniqueKeys } from "./unique-keys.ts";

/** Counters of the store, kept in one row. */
export interface DurableState {
  /** The last id or place in line given. One counter: a job that is available at once has its id as its seq. */
  seq: number;
  /** Durable writes that volatile data had to follow. */
  changes: number;
  /** Other numbers given: chunks of finished jobs, batches, revisions of schedules. */
  numbers: number;
  /** Schedules that are kept. */
  schedules: number;
}

/** What the volatile data must follow with when a durable write is done. */
export interface Follow {
  readonly drops: Map<JobId, LeaseRecord>;
  /** Jobs given back to a place that may have been passed already. */
  readonly again: Place[];
  /** Blocked jobs that came into line at such a place. No lease tells of them, so their places are journalled. */
  readonly freed: Place[];
  /** Places of jobs given back that were left otherwise than by a claim. */
  readonly gone: Place[];
  readonly asks: {
    readonly id: JobId;
    readonly lease: LeaseRecord;
    readonly generation: number;
    readonly reason: string;
  }[];
}

/** Who may want to know what a write did. */
export interface News {
  readonly available: Set<Lane>;
  readonly finished: JobId[];
  readonly asked: Set<ProcessId>;
}

/** What a write needs of the store. */
export interface LedgerDeps {
  readonly durable: DurableTables;
  readonly volatile: VolatileTables;
  readonly lanes: Lanes;
  readonly specs: SpecCache;
  readonly isAwaited: (id: JobId) => boolean;
}

/**
 * One durable write in the making: moves jobs from index to index and keeps the counters true. It lives
 * within one transaction; `finish` must be the last call in it.
 */
export class Ledger {
  readonly now: number;
  readonly tables: DurableTables;
  readonly follow: Follow = { drops: new Map(), again: [], freed: [], gone: [], asks: [] };
  readonly news: News = { available: new Set(), finished: [], asked: new Set() };
  readonly uniqueKeys: UniqueKeys;
  readonly limitKeys: LimitKeys;
  readonly #deps: LedgerDeps;
  readonly #state: DurableState;
  readonly #counts: Counts;
  readonly #chunks: Chunks;

  constructor(now: number, deps: LedgerDeps, state: DurableState) {
    this.now = now;
    this.tables = deps.durable;
    this.#deps = deps;
    this.#state = state;
    this.#counts = new Counts(deps.durable, now);
    this.#chunks = new Chunks(deps.durable, now, () => this.nextNumber());
    this.uniqueKeys = new UniqueKeys(deps.durable, now, (id) => this.stateOf(id));
    this.limitKeys = new LimitKeys(deps.durable, deps.volatile);
  }

  job(id: JobId): KeptJob | undefined {
    return readJob(this.tables, this.#deps.lanes, id);
  }

  /** A job that runs under a lease of this generation. Its payload may be missing: nothing that ends a run needs it. */
  runningJob(id: JobId, generation: number): KeptJob | undefined {
    const known = this.#deps.specs.get(id);
    return readJob(
      this.tables,
      this.#deps.lanes,
      id,
      known?.generation === generation ? { spec: known.spec } : undefined,
    );
  }

  /** As it is in the middle of this write. */
  stateOf(id: JobId): JobState | undefined {
    const { durable, volatile, lanes } = this.#deps;
    return stateOf(durable, volatile, lanes, id, this.follow.drops.has(id));
  }

  nextNumber(): number {
    return ++this.#state.numbers;
  }

  countSchedule(by: 1 | -1): void {
    this.#state.schedules += by;
  }

  get schedules(): number {
    return this.#state.schedules;
  }

  // ── In ─────────────────────────────────────────────────────────────────────

  /** The job that holds a caller-given id. */
  given(name: string, givenId: string): JobId | undefined {
    const text = this.tables.given.get(textKey(name, givenId));
    return text === undefined ? undefined : Number(text);
  }

  /** A new job, whatever keys it has: those are the caller's business. */
  add(job: NewJob, runAt: number): JobId {
    const { now, tables } = this;
    const { givenId, priority } = job;
    const lane = this.#deps.lanes.laneFor(tables, job.queue, job.name);
    const id = this.#nextSeq();
    const key = wholeKey(id);
    tables.job.put(key, encodeSpec(this.#specOf(job, lane.id, now, runAt)));
    if (givenId !== undefined) tables.given.put(textKey(job.name, givenId), String(id));
    if (stateAt(job.limit, runAt, now) === "available") {
      tables.ready.putSame(placeKey(PLAIN, lane.id, priority, id), "");
      this.#counts.ready(lane, priority, false, 1);
    } else {
      tables.scheduled.put(instantKey(runAt, id), String(lane.id));
      this.#counts.add(lane, "scheduled", 1);
    }
    this.#counts.flowed(lane, ENQUEUED);
    // Also of a scheduled job: who sleeps until the next due time has to learn of an earlier one.
    this.news.available.add(lane);
    return id;
  }

  #specOf(job: NewJob, lane: number, createdAt: number, runAt: number): SpecRecord {
    const { priority, tags, givenId, payload } = job;
    const policy = this.#deps.lanes.policyFor(this.tables, job);
    return { lane, policy, createdAt, runAt, priority, tags, givenId, more: moreOf(job), payload };
  }

  /** A job that waits says what another one says, in the same lane. Its head must be written next. */
  replaceSpec(job: KeptJob, by: NewJob): KeptJob {
    const { lane, createdAt, runAt, givenId } = job.spec;
    const spec = { ...this.#specOf(by, lane, createdAt, runAt), givenId };
    this.tables.job.put(wholeKey(job.id), encodeSpec(spec));
    return { ...job, spec, policy: this.#deps.lanes.policy(spec.policy) };
  }

  // ── From place to place ────────────────────────────────────────────────────

  /** Give a job its new head and put it where that says. */
  move(job: KeptJob, head: JobHead, more: Arrival = {}): void {
    this.leave(job);
    this.arrive(job, head, more);
  }

  /**
   * Put a job that has left its place where its new head says. Those in line, or blocked, take a new place at the
   * end, except those that keep theirs.
   */
  arrive(job: KeptJob, head: JobHead, more: Arrival = {}): void {
    const { keepsPlace = false, settledGeneration = job.record.settledGeneration } = more;
    const hasPlace = head.state === "available" || head.state === "blocked";
    let record: HeadRecord = {
      head,
      seq: hasPlace && !keepsPlace ? this.#nextSeq() : job.record.seq,
      settledGeneration,
      checkpointBytes: job.record.checkpointBytes,
      chunk: 0,
      logs: job.record.logs,
    };
    if (isFinal(head.state)) {
      if (!keepsCheckpoint(head.state, job.spec.more?.unique)) record = this.#dropCheckpoint(job.id, record);
      const kept = this.#finish(job, record);
      if (kept === undefined) return this.#forget(job, record, false);
      record = kept;
    } else if (head.state === "available") {
      this.#line(job, record);
    } else if (head.state === "blocked") {
      this.limitKeys.block(job.id, limitOf(job), job.lane.id, head.priority, record.seq);
      this.#counts.add(job.lane, "blocked", 1);
    } else {
      this.tables.scheduled.put(instantKey(head.runAt, job.id), String(job.lane.id));
      this.#counts.add(job.lane, "scheduled", 1);
      this.news.available.add(job.lane);
    }
    this.tables.head.put(wholeKey(job.id), encodeHead(record));
  }

  /** A new head that changes nothing about the job's place. */
  amend(job: KeptJob, record: HeadRecord): void {
    this.tables.head.put(wholeKey(job.id), encodeHead(record));
    const { head, seq } = record;
    if (job.hasHead || head.state !== "available") return;
    const place = placeOf(job.lane, head, seq);
    this.tables.ready.put(placeKey(place.kind, place.lane, place.priority, seq), readyValue(job.id, seq));
  }

  /** Take a job out, wherever it is. @param byHand whether somebody asked for it; otherwise its time is over */
  remove(job: KeptJob, byHand: boolean): void {
    this.leave(job);
    this.#forget(job, job.record, byHand);
  }

  /**
   * Of a limit key something has stopped or left: those who may come into line now do so, at their places, which
   * may have been passed.
   */
  admit(limit: LimitKey | undefined): void {
    if (limit === undefined) return;
    this.limitKeys.eachBlocked(limit, (id) => {
      const job = this.job(id) as KeptJob;
      if (!this.limitKeys.hasRoom(limitOf(job), job.lane.id)) return false;
      const head = promoteHead(job.record.head);
      this.move(job, head, { keepsPlace: true });
      this.follow.freed.push(placeOf(job.lane, head, job.record.seq));
      return true;
    });
  }

  #line(job: KeptJob, { head, seq }: HeadRecord): void {
    const { id, lane, spec } = job;
    const place = placeOf(lane, head, seq);
    this.tables.ready.put(placeKey(place.kind, place.lane, place.priority, seq), readyValue(id, seq));
    this.#counts.ready(lane, head.priority, head.marked, 1);
    this.limitKeys.stoodInLine(spec.more?.limit, lane.id, 1);
    this.news.available.add(lane);
  }

  /** Out of its place; it must arrive at another, or be forgotten. */
  leave(job: KeptJob): void {
    const { id, lane, record, spec } = job;
    const { head, seq } = record;
    switch (head.state) {
      case "available": {
        const { kind, priority } = placeOf(lane, head, seq);
        this.tables.ready.remove(placeKey(kind, lane.id, priority, seq));
        this.#counts.ready(lane, priority, head.marked, -1);
        this.limitKeys.stoodInLine(spec.more?.limit, lane.id, -1);
        return;
      }
      case "blocked":
        this.limitKeys.unblock(id, limitOf(job), lane.id, head.priority, seq);
        this.#counts.add(lane, "blocked", -1);
        return;
      case "scheduled":
        this.tables.scheduled.remove(instantKey(head.runAt, id));
        this.#counts.add(lane, "scheduled", -1);
        return;
      default:
        this.#chunks.leave(id, record);
        this.#counts.add(lane, head.state, -1);
    }
  }

  /** A job that leaves the line without a claim: one that was given back is listed among the volatile data too. */
  leaveAgain({ lane, record }: KeptJob): void {
    if (record.head.state !== "available") return;
    const place = placeOf(lane, record.head, record.seq);
    const key = placeKey(place.kind, lane.id, place.priority, place.seq);
    if (this.#deps.volatile.again.get(key) !== undefined) this.follow.gone.push(place);
  }

  /** Its run ends with this write. */
  drop(id: JobId, lease: LeaseRecord): void {
    this.follow.drops.set(id, lease);
    this.limitKeys.stopped(lease);
  }

  /** Into the finished jobs; nothing when it is not kept. */
  #finish(job: KeptJob, record: HeadRecord): HeadRecord | undefined {
    let { head } = record;
    const state = head.state as keyof typeof FLOW_KINDS;
    this.news.finished.push(job.id);
    this.#counts.flowed(job.lane, FLOW_KINDS[state]);
    this.uniqueKeys.ended(job.id, job.spec.more?.unique);
    if (head.expiresAt !== undefined && head.expiresAt <= this.now) {
      if (!this.#deps.isAwaited(job.id)) return undefined;
      // Retention 0, but someone waits for the result and must be able to fetch it.
      head = { ...head, expiresAt: this.now + AWAITED_KEEP_MS };
    }
    this.#counts.add(job.lane, state, 1);
    return { ...record, head, chunk: this.#chunks.add(job.id, state, head.expiresAt) };
  }

  #forget(job: KeptJob, record: HeadRecord, byHand: boolean): void {
    const { id, spec } = job;
    const key = wholeKey(id);
    const { tables } = this;
    tables.job.remove(key);
    if (job.hasHead) tables.head.remove(key);
    if (spec.givenId !== undefined) tables.given.remove(textKey(job.lane.name, spec.givenId));
    if (record.checkpointBytes > 0) this.#dropCheckpoint(id, record);
    if (record.head.failures > 0) removeGroup(tables, "attempt", id);
    if (record.logs > 0) removeGroup(tables, "log", id);
    this.uniqueKeys.gone(id, spec.more?.unique, byHand);
  }

  // ── Beside a job ───────────────────────────────────────────────────────────

  addAttempt(id: JobId, entry: AttemptEntry): void {
    const { attempt } = this.tables;
    attempt.put(pairKey(id, entry.number), encodeAttempt(entry));
    const forgotten = forgottenAttempt(entry.number);
    if (forgotten !== undefined) attempt.remove(pairKey(id, forgotten));
  }

  /** A new job begins with the checkpoint of one that has ended, which keeps it. */
  inherit(id: JobId, from: JobId): void {
    const before = this.job(from);
    if (before === undefined || !isFinal(before.record.head.state) || before.record.checkpointBytes === 0)
      return;
    for (const [name, value] of readCheckpoint(this.tables, from))
      this.tables.checkpoint.put(wholeTextKey(id, name), encodeEntry(name, value));
    const heir = this.job(id) as KeptJob;
    this.amend(heir, { ...heir.record, checkpointBytes: before.record.checkpointBytes });
  }

  #dropCheckpoint(id: JobId, record: HeadRecord): HeadRecord {
    if (record.checkpointBytes === 0) return record;
    removeGroup(this.tables, "checkpoint", id);
    return { ...record, checkpointBytes: 0 };
  }

  // ── Numbers ────────────────────────────────────────────────────────────────

  #nextSeq(): number {
    if (this.#state.seq >= Number.MAX_SAFE_INTEGER)
      throw new StorageFullError("The store has given out all of its ids.");
    return ++this.#state.seq;
  }

  /** Write what was gathered. */
  finish(): void {
    this.#chunks.save();
    this.#counts.save();
    this.limitKeys.save();
  }
}

/** How a job comes to its place. */
export interface Arrival {
  readonly keepsPlace?: boolean;
  readonly settledGeneration?: number;
}

/** A head that is final has ended in one of these ways. */
const FLOW_KINDS = { completed: 1, cancelled: 2, dead: 3 } as const satisfies Record<string, FlowKind>;

/** How long a finished job with retention 0 is kept for those who wait for its result. */
const AWAITED_KEEP_MS = 60_000;

function moreOf({ unique, limit, trace, tickAt }: NewJob): SpecMore | undefined {
  if ((unique ?? limit ?? trace ?? tickAt) === undefined) return undefined;
  return {
    ...(unique === undefined ? {} : { unique }),
    ...(limit === undefined ? {} : { limit }),
    ...(trace === undefined ? {} : { trace }),
    ...(tickAt === undefined ? {} : { tickAt }),
  };
}

/** Of a job that is blocked: only such jobs are. */
function limitOf({ spec }: KeptJob): LimitKey {
  return spec.more?.limit as LimitKey;
}

function removeGroup(tables: DurableTables, table: "attempt" | "checkpoint" | "log", id: JobId): void {
  for (const { key } of tables[table].rows(wholeKey(id), groupEnd(id), Number.MAX_SAFE_INTEGER)) {
    tables[table].remove(key);
  }
}
