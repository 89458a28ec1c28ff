import type { Attempt, Job } from "../view.ts";

/** A job as `--json` prints it: always the same keys, `null` where there is nothing. */
export interface JobJson extends Readonly<Record<string, unknown>> {
  readonly id: string;
}

/** The keys are documented in docs/cli.md; new ones may come, none goes. */
export function jobJson(job: Job): JobJson {
  return {
    id: job.id,
    name: job.name,
    queue: job.queue,
    state: job.state,
    priority: job.priority,
    attempt: job.attempt,
    maxRetries: Number.isFinite(job.maxRetries) ? job.maxRetries : null,
    createdAt: job.createdAt,
    runAt: job.runAt,
    startedAt: job.startedAt ?? null,
    endedAt: job.endedAt ?? null,
    payload: job.payload,
    result: job.result ?? null,
    error: job.error ?? null,
    reason: job.reason ?? null,
    cancelAsked: job.cancelAsked ?? null,
    tags: job.tags,
    givenId: job.givenId ?? null,
    uniqueKey: job.uniqueKey ?? null,
    limitKey: job.limitKey ?? null,
    progress: job.progress ?? null,
    processId: job.processId ?? null,
    snoozes: job.snoozes,
    releases: job.releases,
  };
}

/** One failed attempt of a job. */
export function attemptJson(attempt: Attempt): Readonly<Record<string, unknown>> {
  const { number, processId, startedAt, endedAt, error } = attempt;
  return { number, attempt: attempt.attempt, processId, startedAt, endedAt, error };
}
