import { ProcessLostError } from "../errors.ts";
import { backoffMs } from "./backoff.ts";
import type { AttemptEntry, JobError, JobHead, JobSpec } from "./job.ts";
import { isFinal } from "./job.ts";
import { limits } from "./limits.ts";
import type { Later } from "./outcome.ts";

/**
 * The rules of a job's life. Pure: engines and workers ask here and apply the answer.
 *
 *   decide(job, end)          how a run ended          → what becomes of the job
 *   applyOutcome(head, …)     what becomes of it       → the job's new head
 *   changeHead(head, …)       what an operator asks    → the job's new head, or why not
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
      readonly attempt: "spent" | "kept" | "reset";
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
  const spent = job.attempt + 1;
  if (job.maxRetries !== null && spent > job.maxRetries) return { state: "dead", error };
  const delayMs = retryAfterMs ?? backoffMs(job.backoff, spent, random);
  return { state: "scheduled", later: { delayMs }, attempt: "spent", error };
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
export function newHead(priority: number, runAt: number, now: number): JobHead {
  return {
    state: runAt > now ? "scheduled" : "available",
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
  retention: JobSpec["retention"],
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
        state: runAt > facts.now ? "scheduled" : "available",
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
  if (outcome.reason !== undefined) done.reason = outcome.reason;
  if (retention.completedMs !== null) done.expiresAt = facts.now + retention.completedMs;
  return done;
}

/** Whether the job's checkpoint survives this outcome. */
export function keepsCheckpoint(state: Outcome["state"]): boolean {
  return state !== "completed" && state !== "cancelled";
}

function ended(head: JobHead, keepMs: number | null, now: number): JobHead {
  return {
    ...head,
    endedAt: now,
    ...(keepMs === null ? {} : { expiresAt: now + keepMs }),
  };
}

function attemptAfter(attempt: number, how: "spent" | "kept" | "reset"): number {
  if (how === "spent") return attempt + 1;
  return how === "kept" ? attempt : 0;
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

/** What an operator may do to a job. */
export type Change =
  | { readonly kind: "cancel"; readonly reason: string }
  | { readonly kind: "retry" }
  | { readonly kind: "remove" }
  | { readonly kind: "runAt"; readonly later: Later }
  | { readonly kind: "priority"; readonly priority: number };

export type ChangeResult =
  /** Done. */
  | "changed"
  /** The job runs: its handler is asked to end. */
  | "asked"
  /** The job's state leaves nothing to do, or does not allow it. */
  | "unchanged"
  | "missing";

/**
 * What an operator's change makes of a job: its new head, `"remove"`, or nothing with the reason.
 * A head that becomes available, or changes its priority, takes a new place in the line.
 */
export function changeHead(
  head: JobHead,
  isRunning: boolean,
  retention: JobSpec["retention"],
  change: Change,
  now: number,
): { readonly result: ChangeResult; readonly head?: JobHead; readonly remove?: true } {
  const finished = isFinal(head.state);
  switch (change.kind) {
    case "cancel": {
      if (finished) return { result: "unchanged" };
      if (isRunning) {
        return head.cancelAsked === undefined
          ? { result: "asked", head: { ...head, cancelAsked: change.reason } }
          : { result: "asked" };
      }
      const cancelled: JobHead = { ...head, state: "cancelled", reason: change.reason, endedAt: now };
      const keepMs = retention.cancelledMs;
      return {
        result: "changed",
        head: keepMs === null ? cancelled : { ...cancelled, expiresAt: now + keepMs },
      };
    }
    case "retry": {
      if (isRunning || head.state === "available") return { result: "unchanged" };
      if (head.state === "scheduled") {
        return { result: "changed", head: { ...head, state: "available", runAt: now } };
      }
      const { endedAt: _e, expiresAt: _x, reason: _r, result: _v, ...base } = head;
      return {
        result: "changed",
        head: {
          ...base,
          state: "available",
          runAt: now,
          attempt: 0,
          marked: false,
          generation: head.generation + 1,
        },
      };
    }
    case "remove":
      return isRunning ? { result: "unchanged" } : { result: "changed", remove: true };
    case "runAt": {
      if (finished || isRunning) return { result: "unchanged" };
      const runAt = instantOf(change.later, now);
      if (runAt > now) return { result: "changed", head: { ...head, state: "scheduled", runAt } };
      // Already in line: an earlier start must not cost the job its place.
      if (head.state === "available") return { result: "unchanged" };
      return { result: "changed", head: { ...head, state: "available", runAt } };
    }
    case "priority":
      if (finished || isRunning || head.priority === change.priority) return { result: "unchanged" };
      return { result: "changed", head: { ...head, priority: change.priority } };
  }
}

/** Due: the head of a scheduled job whose time has come. It takes a new place in the line. */
export function promoteHead(head: JobHead): JobHead {
  return { ...head, state: "available" };
}
