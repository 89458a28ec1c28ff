import { StorageFullError } from "../../errors.ts";
import { type AttemptEntry, isFinal, type JobHead, type JobId, JOB_STATES } from "../../job/job.ts";
import { forgottenAttempt, instantOf, keepsCheckpoint, newHead } from "../../job/lifecycle.ts";
import type { EnqueueResult, NewJob, ProcessId } from "../storage.ts";
import type { DurableTables } from "./environments.ts";
import { groupEnd, type KeptJob, readJob, type SpecCache } from "./job.ts";
import {
  endedKey,
  instantKey,
  laneKey,
  MARKED,
  pairKey,
  PLAIN,
  type Place,
  placeKey,
  textKey,
  wholeKey,
} from "./keys.ts";
import type { Lane, Lanes } from "./lanes.ts";
import {
  decodeCounts,
  encodeAttempt,
  encodeCounts,
  encodeHead,
  encodeSpec,
  type HeadRecord,
  type LaneCounts,
  type LeaseRecord,
  noCounts,
} from "./records.ts";

/** Counters of the store, kept in one row. */
export interface DurableState {
  /** The last id or place in line given. One counter: a job that is available at once has its id as its seq. */
  seq: number;
  /** Durable writes that volatile data had to follow. */
  changes: number;
  /** Other numbers given: chunks of finished jobs, batches. */
  numbers: number;
}

/** What the volatile data must follow with when a durable write is done. */
export interface Follow {
  readonly drops: Map<JobId, LeaseRecord>;
  /** Jobs given back to a place that may have been passed already. */
  readonly again: Place[];
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

/**
 * One durable write in the making: moves jobs from index to index and keeps the counters true. It lives
 * within one transaction; `finish` must be the last call in it.
 */
export class Ledger {
  readonly now: number;
  readonly tables: DurableTables;
  readonly follow: Follow = { drops: new Map(), again: [], gone: [], asks: [] };
  readonly news: News = { available: new Set(), finished: [], asked: new Set() };
  readonly #lanes: Lanes;
  readonly #state: DurableState;
  readonly #isAwaited: (id: JobId) => boolean;
  readonly #specs: SpecCache;
  readonly #counts = new Map<number, LaneCounts>();
  /** The chunk of finished jobs that grows, for each final state. */
  readonly #chunks = new Map<number, Chunk>();
  /** Older chunks that jobs were taken out of. */
  readonly #edited = new Map<number, Chunk>();

  constructor(
    now: number,
    tables: DurableTables,
    lanes: Lanes,
    state: DurableState,
    isAwaited: (id: JobId) => boolean,
    specs: SpecCache,
  ) {
    this.now = now;
    this.tables = tables;
    this.#lanes = lanes;
    this.#state = state;
    this.#isAwaited = isAwaited;
    this.#specs = specs;
  }

  job(id: JobId): KeptJob | undefined {
    return readJob(this.tables, this.#lanes, id, { specs: this.#specs });
  }

  nextNumber(): number {
    return ++this.#state.numbers;
  }

  // ── In ─────────────────────────────────────────────────────────────────────

  /** The job that holds a caller-given id. */
  given(name: string, givenId: string): JobId | undefined {
    const text = this.tables.given.get(textKey(name, givenId));
    return text === undefined ? undefined : Number(text);
  }

  create(job: NewJob): EnqueueResult {
    const { givenId } = job;
    if (givenId !== undefined) {
      const existing = this.given(job.name, givenId);
      if (existing !== undefined) return { status: "existing", id: existing };
    }
    const { now, tables } = this;
    const lane = this.#lanes.laneFor(tables, job.queue, job.name);
    const id = this.#nextSeq();
    const runAt = job.later === undefined ? now : instantOf(job.later, now);
    const { priority, tags, payload } = job;
    const policy = this.#lanes.policyFor(tables, job);
    const spec = { lane: lane.id, policy, createdAt: now, runAt, priority, tags, givenId, payload };
    const key = wholeKey(id);
    tables.job.put(key, encodeSpec(spec));
    if (givenId !== undefined) tables.given.put(textKey(job.name, givenId), String(id));
    if (newHead(priority, runAt, now).state === "available") {
      tables.ready.putSame(placeKey(PLAIN, lane.id, priority, id), "");
      this.#countReady(lane, priority, false, 1);
    } else {
      tables.scheduled.put(instantKey(runAt, id), String(lane.id));
      this.#count(lane, "scheduled", 1);
    }
    // Also of a scheduled job: who sleeps until the next due time has to learn of an earlier one.
    this.news.available.add(lane);
    return { status: "created", id };
  }

  // ── From place to place ────────────────────────────────────────────────────

  /**
   * Give a job its new head and put it where that says. Available jobs take a new place at the end of the
   * line, except those that keep theirs.
   */
  move(
    job: KeptJob,
    head: JobHead,
    more: { readonly keepsPlace?: boolean; readonly settledGeneration?: number } = {},
  ): void {
    const { keepsPlace = false, settledGeneration = job.record.settledGeneration } = more;
    this.#leave(job);
    const isAvailable = head.state === "available";
    let record: HeadRecord = {
      head,
      seq: isAvailable && !keepsPlace ? this.#nextSeq() : job.record.seq,
      settledGeneration,
      checkpointBytes: job.record.checkpointBytes,
      chunk: 0,
    };
    if (head.state !== "scheduled" && !keepsCheckpoint(head.state))
      record = this.#dropCheckpoint(job.id, record);
    if (isFinal(head.state)) {
      const kept = this.#finish(job, record);
      if (kept === undefined) return this.#forget(job, record);
      record = kept;
    } else if (isAvailable) {
      this.#line(job.id, job.lane, record);
    } else {
      this.tables.scheduled.put(instantKey(head.runAt, job.id), String(job.lane.id));
      this.#count(job.lane, "scheduled", 1);
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

  /** Take a job out, wherever it is. */
  remove(job: KeptJob): void {
    this.#leave(job);
    this.#forget(job, job.record);
  }

  #line(id: JobId, lane: Lane, { head, seq }: HeadRecord): void {
    const place = placeOf(lane, head, seq);
    this.tables.ready.put(placeKey(place.kind, place.lane, place.priority, seq), readyValue(id, seq));
    this.#countReady(lane, head.priority, head.marked, 1);
    this.news.available.add(lane);
  }

  #leave({ id, lane, record }: KeptJob): void {
    const { head, seq } = record;
    switch (head.state) {
      case "available": {
        const { kind, priority } = placeOf(lane, head, seq);
        this.tables.ready.remove(placeKey(kind, lane.id, priority, seq));
        this.#countReady(lane, priority, head.marked, -1);
        return;
      }
      case "scheduled":
        this.tables.scheduled.remove(instantKey(head.runAt, id));
        this.#count(lane, "scheduled", -1);
        return;
      default:
        this.#leaveChunk(id, record);
        this.#count(lane, head.state, -1);
    }
  }

  /** Into the finished jobs; nothing when it is not kept. */
  #finish(job: KeptJob, record: HeadRecord): HeadRecord | undefined {
    let { head } = record;
    this.news.finished.push(job.id);
    if (head.expiresAt !== undefined && head.expiresAt <= this.now) {
      if (!this.#isAwaited(job.id)) return undefined;
      // Retention 0, but someone waits for the result and must be able to fetch it.
      head = { ...head, expiresAt: this.now + AWAITED_KEEP_MS };
    }
    const state = JOB_STATES.indexOf(head.state);
    let chunk = this.#chunks.get(state);
    if (chunk === undefined || chunk.expiresAt !== head.expiresAt || chunk.ids.length >= CHUNK_JOBS) {
      if (chunk !== undefined) this.#saveChunk(chunk);
      chunk = { state, endedAt: this.now, expiresAt: head.expiresAt, number: this.nextNumber(), ids: [] };
      this.#chunks.set(state, chunk);
    }
    chunk.ids.push(job.id);
    this.#count(job.lane, head.state as "completed" | "cancelled" | "dead", 1);
    return { ...record, head, chunk: chunk.number };
  }

  #forget(job: KeptJob, record: HeadRecord): void {
    const key = wholeKey(job.id);
    const { tables } = this;
    tables.job.remove(key);
    if (job.hasHead) tables.head.remove(key);
    const { givenId } = job.spec;
    if (givenId !== undefined) tables.given.remove(textKey(job.lane.name, givenId));
    if (record.checkpointBytes > 0) this.#dropCheckpoint(job.id, record);
    if (record.head.failures > 0) removeGroup(tables, "attempt", job.id);
  }

  // ── Beside a job ───────────────────────────────────────────────────────────

  addAttempt(id: JobId, entry: AttemptEntry): void {
    const { attempt } = this.tables;
    attempt.put(pairKey(id, entry.number), encodeAttempt(entry));
    const forgotten = forgottenAttempt(entry.number);
    if (forgotten !== undefined) attempt.remove(pairKey(id, forgotten));
  }

  #dropCheckpoint(id: JobId, record: HeadRecord): HeadRecord {
    if (record.checkpointBytes === 0) return record;
    removeGroup(this.tables, "checkpoint", id);
    return { ...record, checkpointBytes: 0 };
  }

  // ── Chunks of finished jobs ────────────────────────────────────────────────

  #leaveChunk(id: JobId, { head, chunk: number }: HeadRecord): void {
    const chunk = this.#chunkOf(
      JOB_STATES.indexOf(head.state),
      head.endedAt as number,
      number,
      head.expiresAt,
    );
    const index = chunk.ids.indexOf(id);
    // A gap stays, so that cursors of listings keep their meaning.
    if (index !== -1) chunk.ids[index] = GONE;
  }

  #chunkOf(state: number, endedAt: number, number: number, expiresAt: number | undefined): Chunk {
    const open = this.#chunks.get(state);
    if (open?.number === number) return open;
    let chunk = this.#edited.get(number);
    if (chunk === undefined) {
      const text = this.tables.ended.get(endedKey(state, endedAt, number));
      const ids = text === undefined ? [] : (JSON.parse(text) as JobId[]);
      chunk = { state, endedAt, expiresAt, number, ids };
      this.#edited.set(number, chunk);
    }
    return chunk;
  }

  #saveChunk({ state, endedAt, expiresAt, number, ids }: Chunk): void {
    const key = endedKey(state, endedAt, number);
    if (ids.some((id) => id !== GONE)) {
      this.tables.ended.put(key, `[${ids.join()}]`);
      if (expiresAt !== undefined)
        this.tables.expiry.put(instantKey(expiresAt, number), `[${state},${endedAt}]`);
    } else {
      this.tables.ended.remove(key);
      if (expiresAt !== undefined) this.tables.expiry.remove(instantKey(expiresAt, number));
    }
  }

  // ── Numbers ────────────────────────────────────────────────────────────────

  #nextSeq(): number {
    if (this.#state.seq >= Number.MAX_SAFE_INTEGER)
      throw new StorageFullError("The store has given out all of its ids.");
    return ++this.#state.seq;
  }

  #countReady(lane: Lane, priority: number, isMarked: boolean, by: 1 | -1): void {
    for (const counts of [this.#countsOf(lane.id), this.#countsOf(ALL_LANES)]) {
      counts.ready += by;
      if (isMarked) counts.marked += by;
      else if (by === 1 && (counts.lowest === null || priority < counts.lowest)) counts.lowest = priority;
    }
  }

  #count(lane: Lane, what: "scheduled" | "completed" | "cancelled" | "dead", by: 1 | -1): void {
    this.#countsOf(lane.id)[what] += by;
    this.#countsOf(ALL_LANES)[what] += by;
  }

  #countsOf(lane: number): LaneCounts {
    let counts = this.#counts.get(lane);
    if (counts === undefined) {
      counts = readCounts(this.tables, lane);
      this.#counts.set(lane, counts);
    }
    return counts;
  }

  /** Write what was gathered. */
  finish(): void {
    for (const chunk of this.#chunks.values()) this.#saveChunk(chunk);
    for (const chunk of this.#edited.values()) this.#saveChunk(chunk);
    for (const [lane, counts] of this.#counts) {
      if (counts.ready === counts.marked) counts.lowest = null;
      this.tables.counts.put(laneKey(lane), encodeCounts(counts));
    }
  }
}

interface Chunk {
  readonly state: number;
  readonly endedAt: number;
  readonly expiresAt: number | undefined;
  readonly number: number;
  readonly ids: JobId[];
}

/** Stands in a chunk for a job that has left it. No job has this id. */
export const GONE: JobId = 0;

/** The counters of all lanes together. */
export const ALL_LANES = 0;

/** How long a finished job with retention 0 is kept for those who wait for its result. */
const AWAITED_KEEP_MS = 60_000;

/** More ids than this in one row would make the removal of one of them dear. */
const CHUNK_JOBS = 500;

export function placeOf(lane: Lane, head: JobHead, seq: number): Place {
  return { kind: head.marked ? MARKED : PLAIN, lane: lane.id, priority: head.priority, seq };
}

/** What a row of `ready` says of its job: empty for a fresh job, else its id, and that it has a head record. */
function readyValue(id: JobId, seq: number): string {
  return id === seq ? "h" : String(id);
}

/** The job of a row of `ready`. */
export function readyId(value: string, seq: number): JobId {
  return value === "" || value === "h" ? seq : Number(value);
}

export function readCounts(tables: DurableTables, lane: number): LaneCounts {
  const text = tables.counts.get(laneKey(lane));
  return text === undefined ? noCounts() : decodeCounts(text);
}

function removeGroup(tables: DurableTables, table: "attempt" | "checkpoint", id: JobId): void {
  for (const { key } of tables[table].rows(wholeKey(id), groupEnd(id), Number.MAX_SAFE_INTEGER)) {
    tables[table].remove(key);
  }
}
