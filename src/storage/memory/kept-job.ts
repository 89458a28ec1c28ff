import type { AttemptEntry, JobHead, JobId, JobState } from "../../job/job.ts";
import { JOB_STATES } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import type { ClaimedJob, LogEntry, LogLine, NewJob, Note, StoredJob } from "../storage.ts";
import { InvalidValueError } from "../../errors.ts";
import type { Lane } from "./lane.ts";
import type { HoldingProcess } from "./processes.ts";

/** A state as its index in `JOB_STATES`: counters are plain arrays. */
export type StateIndex = 0 | 1 | 2 | 3 | 4 | 5 | 6;

export const SCHEDULED = 0;
export const AVAILABLE = 1;
export const BLOCKED = 2;
export const RUNNING = 3;
export const COMPLETED = 4;

/** The index of a head's state; a head is never `running`. */
export function stateIndex(state: JobHead["state"]): StateIndex {
  switch (state) {
    case "scheduled":
      return SCHEDULED;
    case "available":
      return AVAILABLE;
    case "blocked":
      return BLOCKED;
    case "completed":
      return COMPLETED;
    case "cancelled":
      return 5;
    case "dead":
      return 6;
  }
}

/**
 * A job as the memory storage keeps it. One class with every field set from the start: millions of
 * them share one hidden class, and the paths of claim and settle stay monomorphic.
 */
export class KeptJob {
  readonly id: JobId;
  /** Another one only when a job with its unique key replaces it. */
  spec: NewJob;
  readonly lane: Lane;
  readonly createdAt: number;
  head: JobHead;
  state: StateIndex;

  /**
   * Where it stands in the list of its state, as (at, place): available by (0, seq), scheduled by
   * (runAt, id), blocked by (0, id), finished by (endedAt, number of the end). A running job keeps the seq it had, and so
   * finds its old place when it is released.
   */
  at = 0;
  place = 0;
  /** The place in line that it had or will have, while it is blocked and so stands in a list by id. */
  seq = 0;

  /** The lease: no holder, no lease. */
  holder: HoldingProcess | null = null;
  token = "";
  started = false;
  startedAt = 0;
  /** Who claimed it to run it: stays when a rescuer takes the lease over. */
  claimedBy = "";
  /** The generation of the lease that `head.settledBy` names; no generation is negative. */
  settledGeneration = -1;
  heldBefore: KeptJob | null = null;
  heldAfter: KeptJob | null = null;

  checkpoint: Map<string, string> | null = null;
  checkpointBytes = 0;
  attempts: AttemptEntry[] | null = null;
  logs: LogEntry[] | null = null;

  constructor(id: JobId, spec: NewJob, lane: Lane, head: JobHead, createdAt: number) {
    this.id = id;
    this.spec = spec;
    this.lane = lane;
    this.head = head;
    this.state = stateIndex(head.state);
    this.createdAt = createdAt;
  }
}

/** A job as a claim gives it out. */
export function claimedJob(job: KeptJob): ClaimedJob {
  const { spec, head } = job;
  // One literal with the fields every job has; the few that are rare are added after it, so that
  // ordinary jobs all have one hidden class.
  const claimed: Mutable<ClaimedJob> = {
    id: job.id,
    generation: head.generation,
    token: job.token,
    name: spec.name,
    queue: spec.queue,
    payload: spec.payload,
    maxRetries: spec.maxRetries,
    backoff: spec.backoff,
    timeoutMs: spec.timeoutMs,
    retention: spec.retention,
    tags: spec.tags,
    priority: head.priority,
    attempt: head.attempt,
    createdAt: job.createdAt,
    runAt: head.runAt,
    marked: head.marked,
  };
  if (spec.givenId !== undefined) claimed.givenId = spec.givenId;
  if (spec.unique !== undefined) claimed.unique = spec.unique;
  if (spec.limit !== undefined) claimed.limit = spec.limit;
  if (spec.trace !== undefined) claimed.trace = spec.trace;
  if (spec.tickAt !== undefined) claimed.tickAt = spec.tickAt;
  // `fromEntries` defines keys, so a key named `__proto__` is data too.
  if (job.checkpoint !== null) claimed.checkpoint = Object.fromEntries(job.checkpoint);
  if (head.cancelAsked !== undefined) claimed.cancelAsked = head.cancelAsked;
  return claimed;
}

/** A job as those who look see it. */
export function storedJob(job: KeptJob): StoredJob {
  const { spec } = job;
  const { state: _state, settledBy: _settledBy, ...head } = job.head;
  return {
    id: job.id,
    state: JOB_STATES[job.state] as JobState,
    name: spec.name,
    queue: spec.queue,
    payload: spec.payload,
    maxRetries: spec.maxRetries,
    backoff: spec.backoff,
    timeoutMs: spec.timeoutMs,
    retention: spec.retention,
    tags: spec.tags,
    ...(spec.givenId === undefined ? {} : { givenId: spec.givenId }),
    ...(spec.unique === undefined ? {} : { unique: spec.unique }),
    ...(spec.limit === undefined ? {} : { limit: spec.limit }),
    ...(spec.trace === undefined ? {} : { trace: spec.trace }),
    ...(spec.tickAt === undefined ? {} : { tickAt: spec.tickAt }),
    createdAt: job.createdAt,
    ...head,
    ...(job.holder === null ? {} : { processId: job.holder.id }),
  };
}

/**
 * Set and remove checkpoint entries: all of them, or none.
 *
 * @throws InvalidValueError when the entries together would grow beyond `limits.checkpointBytes`
 */
export function saveCheckpoint(job: KeptJob, entries: NonNullable<Note["checkpoint"]>): void {
  const next = new Map(job.checkpoint);
  let bytes = job.checkpointBytes;
  for (const [key, value] of Object.entries(entries)) {
    const old = next.get(key);
    if (old !== undefined) bytes -= entryBytes(key, old);
    if (value === null) {
      next.delete(key);
    } else {
      next.set(key, value);
      bytes += entryBytes(key, value);
    }
  }
  if (bytes > limits.checkpointBytes) {
    throw new InvalidValueError(
      `The checkpoint of job ${job.id}`,
      `Its entries together would be ${bytes} bytes; the limit is ${limits.checkpointBytes}. ` +
        "Store the data elsewhere and keep a reference to it.",
    );
  }
  job.checkpoint = next.size === 0 ? null : next;
  job.checkpointBytes = bytes;
}

/** Lines at the end of a job's log; the oldest go. */
export function addLog(job: KeptJob, lines: readonly LogLine[]): void {
  const logs = (job.logs ??= []);
  let number = logs.at(-1)?.number ?? 0;
  const attempt = job.head.attempt + 1;
  for (const { at, level, text } of lines) logs.push({ number: ++number, attempt, at, level, text });
  if (logs.length > limits.logLines) logs.splice(0, logs.length - limits.logLines);
}

export function dropCheckpoint(job: KeptJob): void {
  job.checkpoint = null;
  job.checkpointBytes = 0;
}

function entryBytes(key: string, value: string): number {
  return Buffer.byteLength(key) + Buffer.byteLength(value);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
