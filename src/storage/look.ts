import type { JobHead, JobId, JobSpec, JobState } from "../job/job.ts";
import type { ProcessBeat, ProcessId } from "./storage.ts";

/** A job as the storage knows it: one consistent look. */
export interface StoredJob extends JobSpec, Omit<JobHead, "state" | "settledBy"> {
  readonly id: JobId;
  readonly state: JobState;
  readonly createdAt: number;
  /** The process that holds it, while it runs; `startedAt` is then still that of the last run that ended. */
  readonly processId?: ProcessId;
}

/** Which page of which jobs to list. */
export interface ListQuery {
  readonly state: JobState;
  readonly queue?: string;
  readonly name?: string;
  readonly tag?: string;
  /** 1 to `limits.listPage`. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string;
}

/** Which jobs to count; all of them when nothing is said. */
export interface CountQuery {
  readonly state?: JobState;
  readonly queue?: string;
  readonly name?: string;
}

/** A queue, or one lane of it. */
export interface LaneTarget {
  readonly queue: string;
  readonly name?: string;
}

/** Durable settings of a queue or a lane. */
export interface LaneSettings {
  readonly paused?: boolean;
}

/** A lane with its counts. */
export interface LaneInfo {
  readonly queue: string;
  readonly name: string;
  /** Paused itself, or with its queue. */
  readonly paused: boolean;
  readonly counts: Readonly<Record<JobState, number>>;
}

/** A process as the storage sees it. */
export interface ProcessInfo extends Omit<ProcessBeat, "holds" | "starts" | "first" | "leaving"> {
  /** Epoch ms, by the storage's clock. */
  readonly registeredAt: number;
  /** Time since the last beat. */
  readonly silentMs: number;
  readonly lost: boolean;
  readonly running: number;
}
