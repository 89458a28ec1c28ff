import { type Clock, systemClock } from "../clock.ts";
import { CancelledError, LeaseLostError, ShutdownError, TimeoutError } from "../errors.ts";
import { serializeError } from "../job/error.ts";
import { decide, type RunEnd } from "../job/lifecycle.ts";
import type { Ask, ClaimedJob, Lease, ServedQueue } from "../storage/storage.ts";
import { Alarm } from "./alarm.ts";
import { Batch } from "./batch.ts";
import { Deadlines } from "./deadlines.ts";
import type { Line } from "./line.ts";
import { Lines } from "./lines.ts";
import type { WorkerPlan } from "./options.ts";
import type { Reporter } from "./reporter.ts";
import { execute, Run } from "./run.ts";
import { RunContext, type RunServices } from "./run-context.ts";
import { leaseOf, type Settler } from "./settle.ts";
import { runInThread } from "./threaded-run.ts";
import { Threads } from "./threads.ts";
import type { Verdicts } from "./verdicts.ts";

/** How long a handler in a thread has after its timeout or the loss of its lease, before its thread is ended. */
export const THREAD_GRACE_MS = 500;

/** What the slots need around them. */
export interface SlotsDeps {
  readonly clock: Clock;
  readonly plan: WorkerPlan;
  readonly services: RunServices;
  readonly reporter: Reporter;
  readonly settler: Settler;
  readonly verdicts: Verdicts;
  readonly random: () => number;
  /** Whether something may be started: not paused, not stopping, and the leases are known to be good. */
  mayClaim(): boolean;
  /** A run ended. */
  ended(): void;
  /** Runs or leases were given up. */
  changed(): void;
  /** There is something to tell the storage. */
  kick(): void;
}

/** The jobs in this worker's hands: those that run in its slots, and those read ahead for them. */
export class Slots {
  readonly #deps: SlotsDeps;
  readonly #settler: Settler;
  readonly #deadlines: Deadlines;
  readonly lines: Lines;
  readonly #threads: Threads;
  readonly runs: Set<Run> = new Set();
  /** Runs given up whose handlers go on, by job id. */
  readonly #strays = new Map<number, Run>();
  /** Runs that ended since the process began: what `runUntilIdle` counts. */
  finished = 0;
  #running = 0;
  #filling = false;
  /** When the next batch has waited long enough for others to join it. */
  readonly #nextBatch = new Alarm(() => this.fill());
  /** How many wait until nothing is left to do: for them batches go as they are. */
  hurrying = 0;
  #turnNow: number | undefined;

  constructor(deps: SlotsDeps) {
    this.#deps = deps;
    this.#settler = deps.settler;
    this.lines = new Lines(deps.plan);
    this.#threads = new Threads(deps.plan.threads);
    this.#deadlines = new Deadlines(deps.clock, this.runs, (run) => this.#late(run));
  }

  /** Slots taken, also by handlers whose runs were given up. */
  get running(): number {
    return this.#running;
  }

  /** Whether an earlier run of this job still goes on here, though nothing it does counts. */
  isStray(id: number): boolean {
    return this.#strays.has(id);
  }

  /** What this worker serves, as it tells the fleet. */
  served(): ServedQueue[] {
    return this.lines.served();
  }

  get areAllOver(): boolean {
    for (const run of this.runs) if (!run.over) return false;
    return true;
  }

  end(): void {
    this.#deadlines.stop();
    this.#nextBatch.clear();
  }

  /** Every lease this process holds, and those whose start was not told yet. */
  held(): { holds: Lease[]; starts: Lease[] } {
    const holds: Lease[] = [];
    for (const run of this.runs) if (!run.over) holds.push(run.lease);
    for (const line of this.lines.all) {
      for (const job of line.peekAhead()) holds.push(leaseOf(job));
    }
    return { holds, starts: this.starts() };
  }

  /** Runs whose start the storage does not know yet. */
  starts(): Lease[] {
    const starts: Lease[] = [];
    for (const run of this.runs) if (!run.over && !run.reported) starts.push(run.lease);
    return starts;
  }

  reported(starts: readonly Lease[]): void {
    if (starts.length === 0) return;
    const tokens = new Map(starts.map((lease) => [lease.id, lease.token]));
    for (const run of this.runs) if (tokens.get(run.id) === run.job.token) run.reported = true;
  }

  /** Start what waits here while slots are free. */
  fill(): void {
    // Handlers that end at once call back into here: the outer loop goes on for them.
    if (this.#filling) return;
    this.#filling = true;
    for (const queue of this.lines.queues) {
      const only = queue.lines.length === 1 ? queue.lines[0] : undefined;
      // Asked for every job: the one before may have blocked the event loop until the leases were gone.
      while (this.#running < this.#deps.plan.maxConcurrency && this.#deps.mayClaim()) {
        const line = only ?? queue.turn(this.#isReady);
        if (line === undefined || !this.#startNext(line)) break;
      }
    }
    this.#filling = false;
  }

  /** Answers whether anything was there to be started. */
  #startNext(line: Line): boolean {
    if (line.maxBatch > 1) {
      const jobs = this.#isReady(line) ? line.nextBatch() : [];
      if (jobs.length > 0) this.#startBatch(jobs, line);
      return jobs.length > 0;
    }
    const job = line.next();
    if (job !== undefined) this.start(job, line);
    return job !== undefined;
  }

  /** Whether the next jobs of a line need not wait for others to join them. */
  readonly #isReady = (line: Line): boolean => {
    if (line.maxBatch === 1 || this.hurrying > 0) return true;
    const waitMs = line.waitsFor(performance.now());
    if (waitMs > 0) this.#nextBatch.in(waitMs);
    return waitMs === 0;
  };

  /** Start one job now; there is a slot for it. */
  start(job: ClaimedJob, line: Line): void {
    const { services, plan, reporter } = this.#deps;
    const definition = plan.handlers.get(job.name);
    if (definition?.batch !== undefined) return this.#startBatch([job], line);
    const run = new Run(job, line, this.now());
    this.runs.add(run);
    line.take();
    this.#running += 1;
    if (definition === undefined || run.cancelAsked !== undefined) {
      // A storage that hands out names it was not asked for: never a failure of the job. And who was to be
      // cancelled before the start does not start.
      this.#runEnded(run, { kind: "released" });
      return;
    }
    if (run.deadline !== Number.POSITIVE_INFINITY) this.#deadlines.add(run.deadline);
    reporter.started(run);
    if (definition.thread === undefined) {
      execute(run, definition, new RunContext(run, services, definition), this.#onEnd);
    } else {
      runInThread(
        run,
        definition,
        { services, threads: this.#threads, handlers: plan.handlers },
        this.#onEnd,
      );
    }
  }

  /** Start jobs of one definition together now; there is a slot for them. */
  #startBatch(jobs: readonly ClaimedJob[], line: Line): void {
    const { services, plan, reporter } = this.#deps;
    const [name] = line.names;
    const timeoutMs = longestTimeout(jobs);
    const runs = jobs.map((job) => new Run(job, line, this.now(), timeoutMs));
    line.take();
    this.#running += 1;
    for (const run of runs) this.runs.add(run);
    const [begun, others] = split(
      runs,
      ({ job, cancelAsked }) => job.name === name && cancelAsked === undefined,
    );
    for (const run of others) this.#over(run, { kind: "released" });
    const definition = plan.handlers.get(name as string);
    if (begun.length === 0 || definition === undefined) return this.#slotFreed(line);
    if (timeoutMs !== null) this.#deadlines.add((begun[0] as Run).deadline);
    for (const run of begun) reporter.started(run);
    new Batch({
      ...{ runs: begun, definition, services },
      ended: (run, end) => this.#over(run, end),
      over: () => this.#slotFreed(line),
    }).start();
  }

  readonly #onEnd = (run: Run, end: RunEnd): void => this.#runEnded(run, end);

  #runEnded(run: Run, end: RunEnd): void {
    this.#over(run, end);
    this.#slotFreed(run.line);
  }

  #slotFreed(line: Line): void {
    line.giveBack();
    this.#running -= 1;
    this.fill();
    this.#deps.ended();
  }

  #over(run: Run, end: RunEnd): void {
    this.runs.delete(run);
    this.finished += 1;
    run.line.countFinished();
    if (run.over) {
      this.#strays.delete(run.id);
      this.#deps.reporter.late(run);
    } else {
      this.#settle(run, end);
    }
  }

  #settle(run: Run, end: RunEnd): void {
    const { attempt, maxRetries, backoff } = run.job;
    const outcome = decide(
      { attempt, maxRetries, backoff, cancelAsked: run.cancelAsked, gotFurther: run.gotFurther },
      end,
      this.#deps.random(),
    );
    if (run.completedIn) {
      // Whether that is its end the storage has to say.
      this.#deps.verdicts.add({ run, end, outcome, endedAt: this.#deps.clock.now() });
      return;
    }
    this.#deps.reporter.ended(run, end, outcome);
    this.#settler.add(run.job, outcome, run.startedAt);
  }

  /** Back to their place, unspent. */
  releaseAhead(olderThan?: number): void {
    for (const line of this.lines.all) {
      for (const job of line.takeAhead(olderThan)) {
        this.#deps.reporter.released(job);
        this.#settler.add(job, { state: "available", marked: false }, this.now());
      }
    }
    if (this.#settler.size > 0) this.#deps.kick();
  }

  /** Give up every run that is left: its job goes back to its place, and what its handler still does is void. */
  releaseRuns(): void {
    for (const run of this.runs) {
      if (run.over) continue;
      this.#giveUp(run);
      this.#settle(run, stated(run) ?? { kind: "released" });
    }
    this.#deps.changed();
  }

  /** End every thread, and what runs in it. Resolves when they are gone. */
  async endThreads(): Promise<void> {
    for (const run of this.runs) run.kill?.(new ShutdownError());
    await this.#threads.close();
  }

  /** The leases are gone: nothing of what is here counts any more. */
  forsake(): number {
    let aborted = 0;
    for (const run of this.runs) {
      if (run.over) continue;
      this.#forsake(run);
      aborted += 1;
    }
    for (const line of this.lines.all) line.takeAhead();
    return aborted;
  }

  #giveUp(run: Run): void {
    run.over = true;
    this.#strays.set(run.id, run);
  }

  #forsake(run: Run): void {
    this.#giveUp(run);
    const lost = new LeaseLostError(run.id);
    run.abort(lost);
    if (run.kill !== undefined) setTimeout(() => run.kill?.(lost), THREAD_GRACE_MS).unref();
  }

  abortRuns(reason: Error): void {
    for (const run of this.runs) run.abort(reason);
  }

  /** These leases no longer stand. */
  lost(leases: readonly Lease[]): void {
    const tokens = new Map(leases.map((lease) => [lease.id, lease.token]));
    for (const line of this.lines.all) line.drop((job) => tokens.get(job.id) === job.token);
    for (const run of this.runs) {
      // A lease is gone, too, when a transaction has completed the job and its handler still tidies up.
      if (!run.over && !run.completedIn && tokens.get(run.id) === run.job.token) this.#forsake(run);
    }
    this.#deps.changed();
  }

  asked(asks: readonly Ask[]): void {
    if (asks.length === 0) return;
    const reasons = new Map(asks.map((ask) => [ask.id, ask]));
    for (const run of this.runs) {
      const ask = reasons.get(run.id);
      if (ask === undefined || ask.generation !== run.job.generation || run.cancelAsked !== undefined)
        continue;
      run.cancelAsked = ask.reason;
      const cancelled = new CancelledError(ask.reason);
      run.abort(cancelled);
      if (run.kill !== undefined) {
        const { clock, plan } = this.#deps;
        clock.at(clock.now() + plan.timeoutGraceMs, () => run.kill?.(cancelled));
      }
    }
    // Who only waits here does not start any more.
    for (const line of this.lines.all) {
      for (const job of line.drop(({ id, generation }) => reasons.get(id)?.generation === generation)) {
        const reason = (reasons.get(job.id) as Ask).reason;
        this.#deps.reporter.cancelled(job, reason);
        const outcome = decide({ ...job, cancelAsked: reason }, { kind: "released" }, 0);
        this.#settler.add(job, outcome, this.now());
        this.#deps.kick();
      }
    }
  }

  #late(run: Run): void {
    const { plan, clock, reporter } = this.#deps;
    const timedOut = new TimeoutError(run.deadline - run.startedAt);
    run.timedOut = timedOut;
    run.abort(timedOut);
    const isThreaded = run.kill !== undefined;
    const graceMs = isThreaded ? Math.min(plan.timeoutGraceMs, THREAD_GRACE_MS) : plan.timeoutGraceMs;
    clock.at(run.deadline + graceMs, () => {
      if (!this.runs.has(run) || run.over) return;
      // A thread can be ended, and its slot is free at once.
      if (isThreaded) return run.kill?.(timedOut);
      // The attempt has failed; what the handler still does is void, but it does occupy its slot.
      this.#giveUp(run);
      reporter.overdue(run);
      this.#settle(run, stated(run) ?? { kind: "threw", error: serializeError(timedOut) });
      this.#deps.kick();
    });
  }

  /** One reading of the machine's clock serves all starts of a turn of the event loop. */
  now(): number {
    const { clock } = this.#deps;
    if (clock !== systemClock) return clock.now();
    if (this.#turnNow === undefined) {
      this.#turnNow = clock.now();
      setImmediate(() => (this.#turnNow = undefined));
    }
    return this.#turnNow;
  }
}

/** What counts of a run that is given up: its job may be done already. Whether a transaction was, its owner knew. */
function stated({ said, completedIn }: Run): RunEnd | undefined {
  return completedIn ? undefined : said;
}

/** A batch has the time of whoever has most. */
function longestTimeout(jobs: readonly ClaimedJob[]): number | null {
  return jobs.reduce<number | null>(
    (longest, { timeoutMs }) =>
      longest === null || timeoutMs === null ? null : Math.max(longest, timeoutMs),
    0,
  );
}

function split<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}
