import type { AttemptEntry, HistoryEntry, JobError } from "./job/job.ts";
import { isFinal } from "./job/job.ts";
import type { StoredJob } from "./storage/storage.ts";

/** Something that happened to a job. */
export interface HistoryItem {
  readonly at: Date;
  readonly kind: "enqueued" | "failed" | "completed" | "cancelled" | "dead" | HistoryEntry["kind"];
  /** Of a run that failed, or of the last one. */
  readonly startedAt?: Date;
  readonly attempt?: number;
  readonly processId?: string;
  readonly error?: JobError;
  readonly reason?: string;
  /** The start that a delay gave it. */
  readonly runAt?: Date;
}

/** A job's life as one line of events. It is put together from what is kept anyway: none of it was stored for this. */
export function historyView(job: StoredJob, attempts: readonly AttemptEntry[]): HistoryItem[] {
  const items: HistoryItem[] = [
    { at: new Date(job.createdAt), kind: "enqueued" },
    ...attempts.map(({ attempt, processId, startedAt, endedAt, error }): HistoryItem => ({
      at: new Date(endedAt),
      kind: "failed",
      startedAt: new Date(startedAt),
      ...{ attempt, processId, error },
    })),
    ...(job.events ?? []).map(({ at, runAt, ...entry }): HistoryItem => ({
      ...entry,
      at: new Date(at),
      ...(runAt === undefined ? {} : { runAt: new Date(runAt) }),
    })),
  ];
  // Stable: what happened in one millisecond stays in this order.
  items.sort((a, b) => a.at.getTime() - b.at.getTime());
  if (isFinal(job.state) && job.endedAt !== undefined) items.push(endOf(job, job.endedAt));
  return items;
}

function endOf({ state, startedAt, attempt, reason }: StoredJob, endedAt: number): HistoryItem {
  return {
    at: new Date(endedAt),
    kind: state as "completed" | "cancelled" | "dead",
    ...(startedAt === undefined ? {} : { startedAt: new Date(startedAt), attempt }),
    ...(reason === undefined ? {} : { reason }),
  };
}
