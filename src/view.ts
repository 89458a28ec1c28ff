import { InvalidOptionError } from "./errors.ts";
import { show } from "./show.ts";
import type { AttemptEntry, JobError, JobId, JobState } from "./job/job.ts";
import type { StoredJob } from "./storage/storage.ts";

/** A job as the application sees it: one consistent look. */
export interface Job<Payload = unknown, Result = unknown> {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly state: JobState;
  readonly payload: Payload;
  readonly priority: number;
  /** Attempts spent. */
  readonly attempt: number;
  /** Retries after the first attempt; `Infinity` = without end. */
  readonly maxRetries: number;
  readonly createdAt: Date;
  /** Earliest start. */
  readonly runAt: Date;
  /** Start and end of the last run that was settled. */
  readonly startedAt?: Date;
  readonly endedAt?: Date;
  readonly result?: Result;
  /** Of the last failed attempt, while the job has not completed since. */
  readonly error?: JobError;
  /** Why it was cancelled, or why its result is not kept. */
  readonly reason?: string;
  readonly cancelAsked?: string;
  readonly tags: readonly string[];
  /** The id the caller chose. */
  readonly givenId?: string;
  /** Its unique key. */
  readonly uniqueKey?: string;
  /** The key of which only so many run at a time. */
  readonly limitKey?: string;
  /** For a job that a schedule made: the tick it is for. */
  readonly tickAt?: Date;
  /** How far its handler said it was, from 0 to 1. */
  readonly progress?: { readonly done: number; readonly note?: string };
  /** The process that runs it. */
  readonly processId?: string;
  readonly snoozes: number;
  readonly releases: number;
}

/** One failed attempt. */
export interface Attempt extends Omit<AttemptEntry, "startedAt" | "endedAt"> {
  readonly startedAt: Date;
  readonly endedAt: Date;
}

export function jobView(stored: StoredJob): Job {
  const { startedAt, endedAt, result, error, reason, cancelAsked, givenId, processId } = stored;
  return {
    id: String(stored.id),
    name: stored.name,
    queue: stored.queue,
    state: stored.state,
    payload: JSON.parse(stored.payload),
    priority: stored.priority,
    attempt: stored.attempt,
    maxRetries: stored.maxRetries ?? Number.POSITIVE_INFINITY,
    createdAt: new Date(stored.createdAt),
    runAt: new Date(stored.runAt),
    ...(startedAt === undefined ? {} : { startedAt: new Date(startedAt) }),
    ...(endedAt === undefined ? {} : { endedAt: new Date(endedAt) }),
    ...(result === undefined ? {} : { result: JSON.parse(result) as unknown }),
    ...(error === undefined ? {} : { error }),
    ...(reason === undefined ? {} : { reason }),
    ...(cancelAsked === undefined ? {} : { cancelAsked }),
    tags: stored.tags,
    ...(givenId === undefined ? {} : { givenId }),
    ...(stored.unique === undefined ? {} : { uniqueKey: stored.unique.key }),
    ...(stored.limit === undefined ? {} : { limitKey: stored.limit.key }),
    ...(stored.tickAt === undefined ? {} : { tickAt: new Date(stored.tickAt) }),
    ...(stored.progress === undefined ? {} : { progress: JSON.parse(stored.progress) as { done: number } }),
    ...(processId === undefined ? {} : { processId }),
    snoozes: stored.snoozes,
    releases: stored.releases,
  };
}

export function attemptView(entry: AttemptEntry): Attempt {
  return { ...entry, startedAt: new Date(entry.startedAt), endedAt: new Date(entry.endedAt) };
}

/**
 * A job id as the storage knows it.
 *
 * @throws InvalidOptionError
 */
export function toJobId(id: string): JobId {
  const n = typeof id === "string" && /^[1-9]\d{0,15}$/.test(id) ? Number(id) : Number.NaN;
  if (Number.isSafeInteger(n)) return n;
  throw new InvalidOptionError(
    "job id",
    id,
    `Use the id of a handle, a decimal string; ${show(id)} is none.`,
  );
}
