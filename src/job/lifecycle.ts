import { ProcessLostError } from "../errors.ts";
import { backoffMs } from "./backoff.ts";
import { recorded } from "./history.ts";
import type { AttemptEntry, JobError, JobHead, JobSpec } from "./job.ts";
import { limits } from "./limits.ts";
import type { Later } from "./outcome.ts";

/**
 * The rules of a job's life. Pure: engines and workers ask here and apply the answer.
 *
 *   decide(job, end)          how a run ended          → what becomes of the job
 *   applyOutcome(head, …)     what becomes of it       → the job's new head
 *
 * What an operator asks for is judged by `changeHead` in `change.ts`.
 */

/** How a run ended. */
export type RunEnd =
  /** `note` says why a result that was returned is not kept. */
  | { readonly kind: "returned"; readonly result?: string; readonly note?: string }
  | {
      readonly kind: "threw";
      readonly error: JobError;
      readonly fatal?: boolean;
      readonly retryAfterMs?: number;
    }
  | { readonly kind: "snoozed"; readonly later: Later }
  | { readonly kind: "rescheduled"; readonly later: Later }
  | { readonly kind: "cancelled"; readonly reason: string }
  /** The worker stops before the run could end. */
  | { readonly kind: "released" }
  /** The process is gone; `started` is false when it had only read the job ahead. */
  | { readonly kind: "lost"; readonly processId: string; readonly started: boolean };

/**
 * What becomes of a job, as data that every engine applies in the same way.
 * A final state and a recorded error spend an attempt unless `attempt` says otherwise.
 */
export type Outcome =
  | { readonly state: "completed"; readonly result?: string; readonly reason?: string }
  | { readonly state: "dead"; readonly error: JobError }
  /** `unspent`: no run of it had begun, or it was given back. */
  | {
      readonly state: "cancelled";
      readonly reason: string;
      readonly error?: JobError;
      readonly unspent?: true;
    }
  | {
      readonly state: "scheduled";
      readonly later: Later;
      /** `first`: this run got further than the ones before, so counting begins with it. */
      readonly attempt: "spent" | "kept" | "reset" | "first";
      readonly error?: JobError;
    }
  /** Back to its old place in the line, unspent. */
  | { readonly state: "available"; readonly marked: boolean };

/** What the rules need to know of a job whose run ended. */
export interface RunningJob {
  /** Attempts spent before this run. */
  readonly attempt: number;
  readonly maxRetries: number | null;
  readonly backoff: JobSpec["backoff"];
  readonly cancelAsked?: string | undefined;
  /** The run got further than the ones before it, so that its failure is the first of a new series. */
  readonly gotFurther?: boolean;
}

/**
 * What becomes of a job whose run ended.
 *
 * @param random uniform in [0, 1), for the jitter
 */
export function decide(job: RunningJob, end: RunEnd, random: number): Outcome {
  switch (end.kind) {
    case "returned":
      // A value returned after a cancel was asked still wins: the work is done.
      return {
        state: "completed",
        ...(end.result === undefined ? {} : { result: end.result }),
        ...(end.note === undefined ? {} : { reason: end.note }),
      };
    case "snoozed":
      return job.cancelAsked === undefined
        ? { state: "scheduled", later: end.later, attempt: "kept" }
        : { state: "cancelled", reason: job.cancelAsked };
    case "rescheduled":
      return job.cancelAsked === undefined
        ? { state: "scheduled", later: end.later, attempt: "reset" }
        : { state: "cancelled", reason: job.cancelAsked };
    case "cancelled":
      return { state: "cancelled", reason: end.reason };
    case "released":
      return job.cancelAsked === undefined
        ? { state: "available", marked: false }
        : { state: "cancelled", reason: job.cancelAsked, unspent: true };
    case "lost": {
      if (job.cancelAsked !== undefined) {
        return end.started
          ? { state: "cancelled", reason: job.cancelAsked }
          : { state: "cancelled", reason: job.cancelAsked, unspent: true };
      }
      // It never started as far as anyone knows: nothing is spent, but next time it is claimed
      // alone and for a free slot, so that its start is certain and a poison job is found out.
      if (!end.started) return { state: "available", marked: true };
      const lost = new ProcessLostError(end.processId);
      return afterFailure(job, { name: lost.name, message: lost.message, code: lost.code }, random);
    }
    case "threw":
      if (job.cancelAsked !== undefined) {
        return { state: "cancelled", reason: job.cancelAsked, error: end.error };
      }
      if (end.fatal === true) return { state: "dead", error: end.error };
      return afterFailure(job, end.error, random, end.retryAfterMs);
  }
}

function afterFailure(job: RunningJob, error: JobError, random: number, retryAfterMs?: number): Outcome {
  const spent = job.gotFurther === true ? 1 : job.attempt + 1;
  if (job.maxRetries !== null && spent > job.maxRetries) return { state: "dead", error };
  const delayMs = retryAfterMs ?? backoffMs(job.backoff, spent, random);
  const attempt = job.gotFurther === true ? "first" : "spent";
  return { state: "scheduled", later: { delayMs }, attempt, error };
}

/**
 * The outcome that counts when a cancel was asked and the worker had not heard of it when it decided.
 * Engines ask at every settle, before {@link applyOutcome}: the head they hold is the one that knows.
 */
export function heedAsk(head: JobHead, outcome: Outcome): Outcome {
  const reason = head.cancelAsked;
  if (reason === undefined || outcome.state === "completed" || outcome.state === "cancelled") return outcome;
  if (outcome.state === "available") return { state: "cancelled", reason, unspent: true };
  return outcome.error === undefined
    ? { state: "cancelled", reason }
    : { state: "cancelled", reason, error: outcome.error };
}

/** The head of a job that was just enqueued. */
export function newHead({ priority, limit }: Arriving, runAt: number, now: number): JobHead {
  return {
    state: stateAt(limit, runAt, now),
    priority,
    generation: 0,
    attempt: 0,
    runAt,
    marked: false,
    failures: 0,
    snoozes: 0,
    releases: 0,
  };
}

/** What the rules need to know of a job that comes. */
export type Arriving = Pick<JobSpec, "limit"> & { readonly priority: number };

/** Where a job waits for its time. One with a limit key is let in by promotion only, which is where its key is counted. */
export function stateAt(limit: JobSpec["limit"], runAt: number, now: number): "scheduled" | "available" {
  return runAt > now || limit !== undefined ? "scheduled" : "available";
}

/** The facts of a run that a settle records with its outcome. */
export interface RunFacts {
  /** The lease's token. */
  readonly token: string;
  readonly startedAt: number;
  /** The storage's clock at the settle. */
  readonly now: number;
}

/**
 * The head after a run. An `available` outcome keeps the job's place (its seq); a `scheduled` one
 * whose time has come is available at a new place. When `failures` has grown, the engine appends
 * {@link attemptEntry} and drops the entry {@link forgottenAttempt} names. A checkpoint is dropped
 * with `completed` and `cancelled`, and kept otherwise.
 */
export function applyOutcome(
  head: JobHead,
  { retention, limit }: Pick<JobSpec, "retention" | "limit">,
  outcome: Outcome,
  facts: RunFacts,
): JobHead {
  // By far the most frequent end, and on the hot path: built without copying what is dropped anyway.
  if (outcome.state === "completed") return completed(head, retention, outcome, facts);
  const base = head.cancelAsked === undefined ? head : withoutAsk(head);
  const run = { settledBy: facts.token, startedAt: facts.startedAt };
  switch (outcome.state) {
    case "available":
      return {
        ...base,
        ...recorded(head, { at: facts.now, kind: "released" }),
        settledBy: facts.token,
        marked: head.marked || outcome.marked,
        generation: head.generation + 1,
        releases: head.releases + 1,
      };
    case "scheduled": {
      const runAt = instantOf(outcome.later, facts.now);
      return {
        ...base,
        ...run,
        ...(outcome.error === undefined
          ? recorded(head, {
              at: facts.now,
              kind: outcome.attempt === "kept" ? "snoozed" : "rescheduled",
              runAt,
            })
          : {}),
        state: stateAt(limit, runAt, facts.now),
        runAt,
        generation: head.generation + 1,
        attempt: attemptAfter(head.attempt, outcome.attempt),
        snoozes: head.snoozes + (outcome.attempt === "kept" ? 1 : 0),
        // Proven progress clears the suspicion that the job kills its process.
        marked: outcome.attempt === "spent" ? head.marked : false,
        ...(outcome.error === undefined ? {} : { error: outcome.error, failures: head.failures + 1 }),
      };
    }
    case "cancelled":
      return ended(
        {
          ...base,
          ...run,
          state: "cancelled",
          attempt: outcome.unspent === true ? head.attempt : head.attempt + 1,
          reason: outcome.reason,
          ...(outcome.error === undefined ? {} : { error: outcome.error, failures: head.failures + 1 }),
        },
        retention.cancelledMs,
        facts.now,
      );
    case "dead":
      return ended(
        {
          ...base,
          ...run,
          state: "dead",
          attempt: head.attempt + 1,
          error: outcome.error,
          failures: head.failures + 1,
        },
        retention.deadMs,
        facts.now,
      );
  }
}

function withoutAsk({ cancelAsked: _asked, ...head }: JobHead): JobHead {
  return head;
}

/** A success drops what only explained why there was none before. */
function completed(
  head: JobHead,
  retention: JobSpec["retention"],
  outcome: Outcome & { state: "completed" },
  facts: RunFacts,
): JobHead {
  const done: { -readonly [K in keyof JobHead]: JobHead[K] } = {
    state: "completed",
    priority: head.priority,
    generation: head.generation,
    attempt: head.attempt + 1,
    runAt: head.runAt,
    marked: head.marked,
    failures: head.failures,
    snoozes: head.snoozes,
    releases: head.releases,
    settledBy: facts.token,
    startedAt: facts.startedAt,
    endedAt: facts.now,
  };
  const result = outcome.result ?? head.result;
  if (result !== undefined) done.result = result;
  if (head.progress !== undefined) done.progress = head.progress;
  if (head.events !== undefined) done.events = head.events;
  if (outcome.reason !== undefined) done.reason = outcome.reason;
  if (retention.completedMs !== null) done.expiresAt = facts.now + retention.completedMs;
  return done;
}

/** Whether the job's checkpoint survives this outcome: also for the next job of a key that hands it on. */
export function keepsCheckpoint(state: Outcome["state"], unique?: JobSpec["unique"]): boolean {
  return (state !== "completed" && state !== "cancelled") || unique?.inherit === true;
}

function ended(head: JobHead, keepMs: number | null, now: number): JobHead {
  return {
    ...head,
    endedAt: now,
    ...(keepMs === null ? {} : { expiresAt: now + keepMs }),
  };
}

function attemptAfter(attempt: number, how: "spent" | "kept" | "reset" | "first"): number {
  switch (how) {
    case "spent":
      return attempt + 1;
    case "kept":
      return attempt;
    case "reset":
      return 0;
    case "first":
      return 1;
  }
}

/** An instant from a delay: the storage's clock is the one that counts. */
export function instantOf(later: Later, now: number): number {
  return Math.min("at" in later ? later.at : now + later.delayMs, limits.instantMax);
}

/** The entry for a failed attempt; call it when {@link applyOutcome} raised `failures`. */
export function attemptEntry(
  before: JobHead,
  after: JobHead,
  processId: string,
  facts: RunFacts,
): AttemptEntry {
  return {
    number: after.failures,
    attempt: before.attempt + 1,
    processId,
    startedAt: facts.startedAt,
    endedAt: facts.now,
    error: after.error as JobError,
  };
}

/** The number of the entry that is dropped when entry `number` is added: the first and the last stay. */
export function forgottenAttempt(number: number): number | undefined {
  const old = number - limits.attemptsLast;
  return old > limits.attemptsFirst ? old : undefined;
}

/** Due: the head of a scheduled job whose time has come. It takes a new place in the line, or waits for one of its key. */
export function promoteHead(head: JobHead, hasRoom: boolean = true): JobHead {
  return { ...head, state: hasRoom ? "available" : "blocked" };
}
