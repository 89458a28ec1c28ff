import type { Backoff } from "./backoff.ts";
import type { LimitKey, UniqueKey } from "./key.ts";

/** Given by the storage: an integer below 2^53, unique per storage, printed as a decimal string. */
export type JobId = number;

export const JOB_STATES = [
  "scheduled",
  "available",
  "blocked",
  "running",
  "completed",
  "cancelled",
  "dead",
] as const;
/** Where a job stands in its life. */
export type JobState = (typeof JOB_STATES)[number];

export const FINAL_STATES = ["completed", "cancelled", "dead"] as const;
export type FinalState = (typeof FINAL_STATES)[number];

export function isFinal(state: JobState): state is FinalState {
  return state === "completed" || state === "cancelled" || state === "dead";
}

/** What was thrown, reduced to data. Its texts together are bounded by `limits.errorTextLength`. */
export interface JobError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
  readonly cause?: JobError;
}

/** How long a finished job is kept, by how it ended; ms, 0 (not at all) or `null` (for ever). */
export interface Retention {
  readonly completedMs: number | null;
  readonly cancelledMs: number | null;
  readonly deadMs: number | null;
}

/** The part of a job that never changes after its enqueue, all options resolved. */
export interface JobSpec {
  readonly name: string;
  readonly queue: string;
  /** JSON text, carried as it is: no storage parses it. */
  readonly payload: string;
  /** Retries after the first attempt; `null` = without end. */
  readonly maxRetries: number | null;
  readonly backoff: Backoff;
  /** Longest run, in ms; `null` = no limit. */
  readonly timeoutMs: number | null;
  readonly retention: Retention;
  readonly tags: readonly string[];
  /** Chosen by the caller: with `name`, at most one job kept by the storage has it. */
  readonly givenId?: string;
  readonly unique?: UniqueKey;
  readonly limit?: LimitKey;
  /** The trace that its enqueue belongs to: a W3C `traceparent`, with the `tracestate` behind a line break if there is one. */
  readonly trace?: string;
  /** The tick of the schedule that made it, in epoch ms: what it is about, however late it runs and however often. */
  readonly tickAt?: number;
}

/**
 * The part of a job that changes. Storages keep it as they like and change it only by
 * `lifecycle.ts`. `running` is no state of the head: it is `available` with a lease.
 */
export interface JobHead {
  readonly state: "scheduled" | "available" | "blocked" | FinalState;
  readonly priority: number;
  /** Raised by every end of a run that is not final. A lease with another generation is stale. */
  readonly generation: number;
  /** Attempts spent. The run that is now claimed is number `attempt + 1`. */
  readonly attempt: number;
  /** Earliest start, in epoch ms. */
  readonly runAt: number;
  /** Lost once before its start was known: from then on claimed alone and only for a free slot. */
  readonly marked: boolean;
  /** Failed attempts ever recorded: the number of the newest attempt entry. */
  readonly failures: number;
  readonly snoozes: number;
  readonly releases: number;
  /** Someone asked to cancel the run that goes on; the text is their reason. */
  readonly cancelAsked?: string;
  /** The lease that ended the last run, so that repeating that settle is a success. */
  readonly settledBy?: string;
  readonly error?: JobError;
  readonly reason?: string;
  /** JSON text; `undefined` when nothing was set. */
  readonly result?: string;
  /** How far the handler said it was, JSON text. */
  readonly progress?: string;
  /** What happened beside runs and their failures, oldest first: see `job/history.ts`. */
  readonly events?: readonly HistoryEntry[];
  readonly startedAt?: number;
  readonly endedAt?: number;
  /** When a finished job may be pruned, in epoch ms; absent = never. */
  readonly expiresAt?: number;
}

/** Something that happened to a job and is told by nothing else that is kept of it. */
export interface HistoryEntry {
  /** By the storage's clock. */
  readonly at: number;
  readonly kind:
    | "snoozed"
    | "rescheduled"
    | "released"
    | "cancel-asked"
    | "retried"
    | "rescheduled-by-hand"
    | "reprioritised"
    | "replaced";
  /** The start that it got. */
  readonly runAt?: number;
  readonly reason?: string;
}

/** One failed attempt, as kept with the job. */
export interface AttemptEntry {
  /** 1 for the first failure of the job's life; counts on through `retry` and `reschedule`. */
  readonly number: number;
  readonly attempt: number;
  readonly processId: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly error: JobError;
}
