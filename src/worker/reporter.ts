import type { EventEmitter } from "node:events";
import type { Clock } from "../clock.ts";
import { channels } from "../diagnostics.ts";
import { RolledBackError } from "../errors.ts";
import type { JobError } from "../job/job.ts";
import type { Outcome, RunEnd } from "../job/lifecycle.ts";
import { instantOf } from "../job/lifecycle.ts";
import type { Logger } from "../logger.ts";
import type { DecidedRun, Observer } from "../observer.ts";
import type { ClaimedJob } from "../storage/storage.ts";
import type { JobEvent, WorkerEvents } from "./events.ts";
import { eventOf, type Run } from "./run.ts";
import type { InDoubt } from "./verdicts.ts";

/** Failed attempts up to this number are warnings; from then on someone should look. */
const WARN_ATTEMPTS = 3;
/** How a run ends that was completed in a transaction, for the case that this one did not commit. */
const ROLLED_BACK = new RolledBackError(0).code;

/** Turns what happens to runs into events and log lines. Builds nothing when nobody listens. */
export class Reporter {
  readonly #emitter: EventEmitter<WorkerEvents>;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #observers: readonly Observer[];

  constructor(
    emitter: EventEmitter<WorkerEvents>,
    logger: Logger,
    clock: Clock,
    observers: readonly Observer[] = [],
  ) {
    this.#emitter = emitter;
    this.#logger = logger;
    this.#clock = clock;
    this.#observers = observers;
  }

  started(run: Run): void {
    if (channels.runStart.hasSubscribers) channels.runStart.publish(run.event);
    if (this.#hears("started")) this.#emitter.emit("started", run.event);
  }

  ended(run: Run, end: RunEnd, outcome: Outcome): void {
    if (this.#isObserved) this.#tell(run, end, outcome);
    switch (outcome.state) {
      case "completed":
        if (outcome.reason !== undefined) this.#log("warn", run.event, outcome.reason);
        if (this.#hears("completed")) {
          this.#emitter.emit("completed", {
            ...run.event,
            durationMs: this.#clock.now() - run.startedAt,
          });
        }
        return;
      case "cancelled":
        this.#emitter.emit("cancelled", { ...run.event, reason: outcome.reason });
        return;
      case "available":
        this.#emitter.emit("released", run.event);
        return;
      case "dead":
        this.#dead(run.event, outcome.error);
        return;
      case "scheduled":
        if (outcome.error !== undefined) this.#failed(run.event, outcome, outcome.error);
        else if (end.kind === "snoozed") this.#emitter.emit("snoozed", run.event);
        else this.#emitter.emit("rescheduled", run.event);
    }
  }

  get #isObserved(): boolean {
    return this.#observers.length > 0 || channels.runEnd.hasSubscribers || channels.runError.hasSubscribers;
  }

  /** For those who watch from outside. */
  #tell(run: Run, end: RunEnd, outcome: Outcome): void {
    this.#tellDecided(run, outcomeName(end, outcome), "error" in outcome ? outcome.error : undefined);
  }

  #tellDecided(run: Run, outcome: DecidedRun["outcome"], error: JobError | undefined): void {
    run.isDecided = true;
    const decided = decidedRun(run, outcome, error, this.#clock.now());
    if (error !== undefined && channels.runError.hasSubscribers) channels.runError.publish(decided);
    if (channels.runEnd.hasSubscribers) channels.runEnd.publish(decided);
    for (const observer of this.#observers) observer.decided({ ...decided, run });
  }

  /** A run was completed by a transaction of its handler, whatever the handler did afterwards. */
  completedIn({ run, end, endedAt }: InDoubt): void {
    if (this.#isObserved) this.#tell(run, end, { state: "completed" });
    // What stands for having returned is no failure of its own.
    if (end.kind === "threw" && end.error.code !== ROLLED_BACK) {
      const { name, message } = end.error;
      this.#log("warn", run.event, `was completed by its transaction, and then failed: ${name}: ${message}`);
    }
    if (this.#hears("completed")) {
      this.#emitter.emit("completed", { ...run.event, durationMs: endedAt - run.startedAt });
    }
  }

  /** A job of a lost process was decided by this one. */
  rescued(job: ClaimedJob, lostProcessId: string, started: boolean, outcome: Outcome): void {
    const event = eventOf(job);
    this.#emitter.emit("rescued", { ...event, lostProcessId, started });
    this.#log(
      "warn",
      event,
      `was recovered from lost process ${lostProcessId}${started ? "" : " unstarted"}`,
    );
    if (outcome.state === "dead") this.#dead(event, outcome.error);
  }

  released(job: ClaimedJob): void {
    if (this.#hears("released")) this.#emitter.emit("released", eventOf(job));
  }

  /** Cancelled before it could start. */
  cancelled(job: ClaimedJob, reason: string): void {
    this.#emitter.emit("cancelled", { ...eventOf(job), reason });
  }

  stale(job: ClaimedJob): void {
    const event = eventOf(job);
    this.#emitter.emit("stale", event);
    this.#log("warn", event, "ended after it had been taken away; its outcome was dropped");
  }

  /** A handler came back after its run had been given up. */
  late(run: Run): void {
    if (this.#isObserved && !run.isDecided) this.#tellDecided(run, "lost", undefined);
    this.#log("debug", run.event, "came back after its run had been given up");
  }

  slow(run: Run): void {
    const runningMs = this.#clock.now() - run.startedAt;
    this.#emitter.emit("slow", { ...run.event, runningMs });
    this.#log("warn", run.event, `has been running for ${runningMs} ms`);
  }

  overdue(run: Run): void {
    const runningMs = this.#clock.now() - run.startedAt;
    this.#emitter.emit("overdue", { ...run.event, runningMs });
    this.#log("error", run.event, `ignores its timeout and still holds its slot after ${runningMs} ms`);
  }

  #failed(event: JobEvent, outcome: Outcome & { state: "scheduled" }, error: JobError): void {
    const now = this.#clock.now();
    const retryInMs = Math.max(0, instantOf(outcome.later, now) - now);
    this.#emitter.emit("failed", { ...event, error, retryInMs });
    const level = event.attempt <= WARN_ATTEMPTS ? "warn" : "error";
    this.#log(level, event, `failed: ${error.name}: ${error.message}; retry in ${retryInMs} ms`);
  }

  #dead(event: JobEvent, error: JobError): void {
    this.#emitter.emit("dead", { ...event, error });
    this.#log("error", event, `is dead: ${error.name}: ${error.message}`);
  }

  #hears(event: keyof WorkerEvents): boolean {
    return this.#emitter.listenerCount(event) > 0;
  }

  #log(level: "debug" | "warn" | "error", event: JobEvent, text: string): void {
    this.#logger[level](`job ${event.id} ${JSON.stringify(event.name)} attempt ${event.attempt} ${text}`, {
      job: event.id,
      name: event.name,
      queue: event.queue,
      attempt: event.attempt,
    });
  }
}

/** A run that was decided, as observers and channels show it. */
function decidedRun(
  run: Run,
  outcome: DecidedRun["outcome"],
  error: JobError | undefined,
  now: number,
): Omit<DecidedRun, "run"> {
  const { createdAt, runAt } = run.job;
  return {
    ...run.event,
    outcome,
    waitedMs: Math.max(0, run.startedAt - runAt),
    wasTimed: runAt > createdAt,
    durationMs: Math.max(0, now - run.startedAt),
    error: error === undefined ? undefined : { name: error.name, message: error.message },
  };
}

function outcomeName(end: RunEnd, outcome: Outcome): DecidedRun["outcome"] {
  switch (outcome.state) {
    case "available":
      return "released";
    case "scheduled":
      if (outcome.error !== undefined) return "retried";
      return end.kind === "snoozed" ? "snoozed" : "rescheduled";
    default:
      return outcome.state;
  }
}
