import { type Clock, systemClock } from "../clock.ts";
import {
  CancelledError,
  InvalidValueError,
  LeaseLostError,
  StorageUnavailableError,
  TimeoutError,
} from "../errors.ts";
import { decide, type Outcome, type RunEnd } from "../job/lifecycle.ts";
import { limits } from "../job/limits.ts";
import { serializeError } from "../job/error.ts";
import type { Ask, ClaimedJob, ClaimRequest, Lease, Settlement, Storage } from "../storage/storage.ts";
import { Deadlines } from "./deadlines.ts";
import type { Line } from "./line.ts";
import type { WorkerPlan } from "./options.ts";
import { execute, Run } from "./run.ts";
import { RunContext, type RunServices } from "./run-context.ts";
import type { Reporter } from "./reporter.ts";

/** Settlements gathered before a flush is due at once. */
const FLUSH_SIZE = 500;
/** A job whose earlier run will not end comes again this much later, perhaps to another process. */
const STRAY_RETRY_MS = 5_000;
/** Longest the event loop is kept from other work by jobs that never wait. */
const HOG_MS = 2;

/** A settlement on its way, with its job for the events. */
export interface Pending extends Settlement {
  readonly job: ClaimedJob;
}

/** What the pipeline needs of the worker around it. */
export interface PipelineHost {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly plan: WorkerPlan;
  readonly services: RunServices;
  readonly reporter: Reporter;
  readonly random: () => number;
  /** False when nothing may be started: paused, stopping, fenced. Asked for every job. */
  mayStart(): boolean;
  /** As `mayStart`, and the leases are known to be good at this moment. */
  mayClaim(): boolean;
  processId(): string;
  nextToken(): string;
  /** When the next scheduled job is due, as the last claim said. */
  due(nextAt: number | undefined): void;
  /** The storage does not know this process any more. */
  unknown(): void;
  failed(error: unknown, during: string): Promise<void>;
  worked(): void;
}

/**
 * fetch → run → settle. One loop talks to the storage: every call carries what has ended since the last one
 * and asks for what fits now. While a call is under way runs go on, from what was read ahead.
 */
export class Pipeline {
  readonly #host: PipelineHost;
  readonly #deadlines: Deadlines;
  readonly lines: Map<string, Line> = new Map();
  readonly runs: Set<Run> = new Set();
  /** Runs given up whose handlers go on, by job id. */
  readonly #strays = new Map<number, Run>();
  /** Runs that ended since the process began: what `runUntilIdle` counts. */
  finished = 0;
  #running = 0;
  #settlements: Pending[] = [];
  /** Settlements on their way: their leases are still held. */
  #inFlight: readonly Pending[] = [];
  /** The claim under way. */
  #request: ClaimRequest | undefined;
  /** Tokens of calls whose answer did not come, and whether what they leased has to be marked. */
  readonly #doubts = new Map<string, boolean>();
  #abandon: (() => void) | undefined;
  #filling = false;
  #firstLine = 0;
  #flushSoon = false;
  #kicked = false;
  #wake: (() => void) | undefined;
  #idleWaiters: (() => void)[] = [];
  #conditions: { holds: () => boolean; resolve: () => void }[] = [];
  #lastYield = 0;
  #ended = false;
  #turnNow: number | undefined;

  constructor(host: PipelineHost) {
    this.#host = host;
    this.#deadlines = new Deadlines(host.clock, this.runs, (run) => this.#late(run));
  }

  get ahead(): number {
    let ahead = 0;
    for (const line of this.lines.values()) ahead += line.ahead;
    return ahead;
  }

  /** Nothing runs, waits here, or is on its way to the storage. */
  get isQuiet(): boolean {
    return this.runs.size === 0 && this.ahead === 0 && !this.hasUnsettled;
  }

  get hasUnsettled(): boolean {
    return this.#settlements.length > 0 || this.#inFlight.length > 0 || this.#doubts.size > 0;
  }

  /** Look for work soon: something may have changed. */
  kick(): void {
    this.#kicked = true;
    this.#wake?.();
  }

  /** Something may have become available everywhere. */
  refresh(): void {
    for (const line of this.lines.values()) line.drained = false;
    this.kick();
  }

  /** Every lease this process holds, and those whose start was not told yet. */
  held(): { holds: Lease[]; starts: Lease[] } {
    const holds: Lease[] = [];
    for (const run of this.runs) if (!run.over) holds.push(run.lease);
    for (const line of this.lines.values()) {
      for (const job of line.peekAhead()) holds.push(leaseOf(job));
    }
    for (const { lease } of this.#settlements) holds.push(lease);
    for (const { lease } of this.#inFlight) holds.push(lease);
    return { holds, starts: this.#starts() };
  }

  /** Runs whose start the storage does not know yet. */
  #starts(): Lease[] {
    const starts: Lease[] = [];
    for (const run of this.runs) if (!run.over && !run.reported) starts.push(run.lease);
    return starts;
  }

  reported(starts: readonly Lease[]): void {
    if (starts.length === 0) return;
    const tokens = new Map(starts.map((lease) => [lease.id, lease.token]));
    for (const run of this.runs) if (tokens.get(run.id) === run.job.token) run.reported = true;
  }

  /** Runs the loop until {@link end}. */
  async loop(): Promise<void> {
    while (!this.#ended) {
      this.#kicked = false;
      const worked = await this.#exchange();
      if (worked) continue;
      for (const resolve of this.#idleWaiters.splice(0)) resolve();
      if (!this.#kicked) await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  end(): void {
    this.#ended = true;
    this.#deadlines.stop();
    this.#checkConditions();
    this.kick();
  }

  /** Resolves when the loop has nothing to do at this moment. */
  async caughtUp(): Promise<void> {
    const done = new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    this.kick();
    await done;
  }

  /** Resolves when no run is left whose end counts. */
  allRunsOver(): Promise<void> {
    return this.#until(() => {
      for (const run of this.runs) if (!run.over) return false;
      return true;
    });
  }

  /**
   * Resolves when the storage has answered to every settlement and to the claim under way: what that one
   * gives has to go back, too.
   */
  allSettled(): Promise<void> {
    this.kick();
    return this.#until(() => this.#ended || (!this.hasUnsettled && this.#request === undefined));
  }

  /** Resolves when nothing runs, waits here, or is on its way to the storage. */
  quiet(): Promise<void> {
    return this.#until(() => this.#ended || this.isQuiet);
  }

  /** Ask the storage whether a running job is to be cancelled, and tell it what has started. */
  async look(): Promise<void> {
    const { storage } = this.#host;
    const request = this.#buildRequest(false);
    const { known, asks, nextAt } = await storage.claim(request);
    if (request.processId !== this.#host.processId()) return;
    if (!known) return this.#host.unknown();
    this.reported(request.starts);
    this.asked(asks);
    this.#host.due(nextAt);
  }

  #until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => this.#conditions.push({ holds, resolve }));
  }

  #checkConditions(): void {
    if (this.#conditions.length === 0) return;
    const met = this.#conditions.filter(({ holds }) => holds());
    this.#conditions = this.#conditions.filter((condition) => !met.includes(condition));
    for (const { resolve } of met) resolve();
  }

  /** One call to the storage, when there is anything to say or to ask. */
  async #exchange(): Promise<boolean> {
    if (this.#doubts.size > 0 && !(await this.#resolveDoubts())) return true;
    const settlements = this.#settlements.length > 0 ? this.#settlements.splice(0, limits.enqueueJobs) : [];
    const asks = this.#mayAsk();
    if (settlements.length === 0 && !asks) return false;
    const request = this.#buildRequest(asks || settlements.length > 0);
    this.#request = request;
    this.#inFlight = settlements;
    this.#flushSoon = false;
    try {
      const { settled, claimed } = await this.#ask(settlements, request);
      this.#inFlight = [];
      this.#request = undefined;
      const { reporter } = this.#host;
      for (let i = 0; i < settled.length; i += 1) {
        if (settled[i] === "stale") reporter.stale((settlements[i] as Pending).job);
      }
      this.#host.worked();
      // Registered anew meanwhile: the old process's jobs have no heartbeat any more.
      if (request.processId === this.#host.processId()) {
        if (claimed.known) {
          this.reported(request.starts);
          this.asked(claimed.asks);
          this.#take(claimed.jobs, request);
        } else {
          this.#host.unknown();
        }
      }
      this.#host.due(claimed.nextAt);
    } catch (error) {
      // From here on they are found where they wait to be sent again.
      this.#inFlight = [];
      // A fence has dropped the request: nobody asks any more what the old process holds.
      if (this.#request !== undefined && request.queues.length > 0) this.#doubts.set(request.token, false);
      this.#request = undefined;
      await this.#afterFailure(settlements, error);
    }
    this.#checkConditions();
    await this.#breathe();
    return true;
  }

  /**
   * A call failed that may have leased jobs under this token all the same. They would be held unknowingly,
   * so before the next claim they are looked for and given back.
   *
   * @param marked whether they may have been started: then they go back as suspects
   */
  doubt(token: string, marked: boolean): void {
    this.#doubts.set(token, marked);
    this.kick();
  }

  /** Answers whether all is known again. */
  async #resolveDoubts(): Promise<boolean> {
    const { storage } = this.#host;
    const doubts = [...this.#doubts];
    const processId = this.#host.processId();
    const known = new Set(this.held().holds.map(({ id }) => id));
    const found: Settlement[] = [];
    try {
      let after: string | undefined;
      do {
        const page = await storage.list({
          state: "running",
          limit: limits.listPage,
          ...(after === undefined ? {} : { after }),
        });
        for (const job of page.jobs) {
          if (job.processId !== processId || known.has(job.id)) continue;
          // Under the wrong token the storage answers `stale`, and nothing has happened.
          for (const [token, marked] of doubts) {
            const end: RunEnd = marked ? { kind: "lost", processId, started: false } : { kind: "released" };
            const lease = { id: job.id, generation: job.generation, token };
            found.push({ lease, outcome: decide(job, end, 0), startedAt: this.#now() });
          }
        }
        after = page.next;
      } while (after !== undefined);
      if (found.length > 0) await storage.settle(found);
    } catch (error) {
      await this.#host.failed(error, "exchange");
      return false;
    }
    for (const [token] of doubts) this.#doubts.delete(token);
    // What came back is at its old place, for whoever claims next.
    for (const line of this.lines.values()) line.drained = false;
    this.#checkConditions();
    return true;
  }

  /** The call of {@link #exchange}, which a fence ends even when the storage never answers. */
  #ask(settlements: readonly Pending[], request: ClaimRequest): ReturnType<Storage["exchange"]> {
    return new Promise((resolve, reject) => {
      this.#abandon = () => reject(new StorageUnavailableError("The answer came too late."));
      this.#host.storage.exchange(settlements, request).then(resolve, reject);
    });
  }

  #mayAsk(): boolean {
    if (!this.#host.mayClaim()) return false;
    for (const line of this.lines.values()) {
      if (!line.drained && line.free > line.ahead) return this.#roomLeft() > 0;
      // Refill while there is still something to run meanwhile.
      if (!line.drained && this.#wantsAhead(line)) return this.#roomLeft() > 0;
    }
    return false;
  }

  #wantsAhead(line: Line): boolean {
    const { readAhead } = line.request(0, limits.readAhead - this.ahead, performance.now());
    return readAhead > 0 && readAhead > line.ahead;
  }

  #roomLeft(): number {
    const { maxConcurrency, refillBelow } = this.#host.plan;
    if (maxConcurrency === Number.POSITIVE_INFINITY) return maxConcurrency;
    const taken = this.#running + this.ahead;
    return taken >= refillBelow ? 0 : maxConcurrency - taken;
  }

  #buildRequest(ask: boolean): ClaimRequest {
    const queues = [];
    if (ask && this.#host.mayClaim()) {
      const now = performance.now();
      const lines = [...this.lines.values()];
      let left = this.#roomLeft();
      let aheadLeft = limits.readAhead - this.ahead;
      // Another line comes first each time, so that under a common bound none waits for the others.
      this.#firstLine = lines.length === 0 ? 0 : (this.#firstLine + 1) % lines.length;
      for (let i = 0; i < lines.length && left > 0; i += 1) {
        const line = lines[(this.#firstLine + i) % lines.length] as Line;
        const share = left === Number.POSITIVE_INFINITY ? left : Math.ceil(left / (lines.length - i));
        const request = line.request(share, Math.max(0, aheadLeft), now);
        const readAhead = left === Number.POSITIVE_INFINITY ? request.readAhead : 0;
        if (request.room + readAhead === 0) continue;
        left -= request.room;
        aheadLeft -= readAhead;
        queues.push({ ...request, readAhead });
      }
    }
    return {
      processId: this.#host.processId(),
      token: this.#host.nextToken(),
      queues,
      starts: this.#starts(),
    };
  }

  #take(jobs: readonly ClaimedJob[], request: ClaimRequest): void {
    const now = performance.now();
    const got = new Map<string, number>();
    let marked = false;
    const mayStart = this.#host.mayClaim();
    // That question may have fenced the process: then these leases are as void as the others.
    if (request.processId !== this.#host.processId()) return;
    for (const job of jobs) {
      got.set(job.queue, (got.get(job.queue) ?? 0) + 1);
      const line = this.lines.get(job.queue) as Line;
      if (this.#strays.has(job.id)) {
        // Its earlier run still goes on in this very process: two at once is what must not be.
        this.#settlements.push({
          job,
          lease: leaseOf(job),
          outcome: { state: "scheduled", later: { delayMs: STRAY_RETRY_MS }, attempt: "kept" },
          startedAt: this.#now(),
        });
        this.kick();
      } else if (job.marked && mayStart) {
        // Its claim counts as its start, so it starts first and now.
        marked = true;
        this.#start(job, line);
      } else {
        line.add(job, now);
      }
    }
    for (const { queue, room, readAhead } of request.queues) {
      const line = this.lines.get(queue);
      // A marked job came alone: more of them may wait.
      if (line !== undefined) line.drained = !marked && (got.get(queue) ?? 0) < room + readAhead;
    }
    // What arrives while the worker pauses or stops goes back unspent.
    if (mayStart) this.fill();
    else this.releaseAhead();
  }

  /** Start what waits here while slots are free. */
  fill(): void {
    // Handlers that end at once call back into here: the outer loop goes on for them.
    if (this.#filling) return;
    this.#filling = true;
    for (const line of this.lines.values()) {
      // Asked for every job: the one before may have blocked the event loop until the leases were gone.
      while (this.#running < this.#host.plan.maxConcurrency && this.#host.mayClaim()) {
        const job = line.next();
        if (job === undefined) break;
        this.#start(job, line);
      }
    }
    this.#filling = false;
  }

  #start(job: ClaimedJob, line: Line): void {
    const { services, plan, reporter } = this.#host;
    const run = new Run(job, line, this.#now());
    this.runs.add(run);
    line.running += 1;
    this.#running += 1;
    const definition = plan.handlers.get(job.name);
    if (definition === undefined || run.cancelAsked !== undefined) {
      // A storage that hands out names it was not asked for: never a failure of the job. And who was to be
      // cancelled before the start does not start.
      this.#runEnded(run, { kind: "released" });
      return;
    }
    if (run.deadline !== Number.POSITIVE_INFINITY) this.#deadlines.add(run.deadline);
    reporter.started(run);
    execute(run, definition, new RunContext(run, services), this.#onEnd);
  }

  /** One reading of the machine's clock serves all starts of a turn of the event loop. */
  #now(): number {
    const { clock } = this.#host;
    if (clock !== systemClock) return clock.now();
    if (this.#turnNow === undefined) {
      this.#turnNow = clock.now();
      setImmediate(() => (this.#turnNow = undefined));
    }
    return this.#turnNow;
  }

  readonly #onEnd = (run: Run, end: RunEnd): void => this.#runEnded(run, end);

  #runEnded(run: Run, end: RunEnd): void {
    this.runs.delete(run);
    run.line.running -= 1;
    this.#running -= 1;
    this.finished += 1;
    run.line.countFinished();
    if (run.over) {
      this.#strays.delete(run.id);
      this.#host.reporter.late(run);
    } else {
      this.#settle(run, end);
    }
    this.fill();
    this.#flushWhenDue();
    this.#checkConditions();
  }

  #settle(run: Run, end: RunEnd): void {
    const { attempt, maxRetries, backoff } = run.job;
    const outcome = decide(
      { attempt, maxRetries, backoff, cancelAsked: run.cancelAsked },
      end,
      this.#host.random(),
    );
    this.#host.reporter.ended(run, end, outcome);
    this.#settlements.push({ job: run.job, lease: run.lease, outcome, startedAt: run.startedAt });
  }

  /** Settlements to send with the next call, and again until they are answered. */
  add(settlements: readonly Pending[]): void {
    for (const settlement of settlements) this.#settlements.push(settlement);
  }

  #flushWhenDue(): void {
    const isIdle = this.#running === 0 && this.ahead === 0;
    if (isIdle || this.#settlements.length >= FLUSH_SIZE) {
      this.kick();
    } else if (!this.#flushSoon) {
      // All that ends in this turn of the event loop goes into one flush.
      this.#flushSoon = true;
      setImmediate(() => this.kick());
    }
  }

  /** Back to their place, unspent. */
  releaseAhead(olderThan?: number): void {
    for (const line of this.lines.values()) {
      for (const job of line.takeAhead(olderThan)) {
        this.#host.reporter.released(job);
        this.#settlements.push({
          job,
          lease: leaseOf(job),
          outcome: { state: "available", marked: false },
          startedAt: this.#host.clock.now(),
        });
      }
    }
    if (this.#settlements.length > 0) this.kick();
  }

  /** Give up every run that is left: its job goes back to its place, and what its handler still does is void. */
  releaseRuns(): void {
    for (const run of this.runs) {
      if (run.over) continue;
      this.#giveUp(run);
      this.#settle(run, { kind: "released" });
    }
    this.#checkConditions();
    this.kick();
  }

  /** The leases are gone: nothing of what is here counts any more. */
  forsake(): number {
    let aborted = 0;
    for (const run of this.runs) {
      if (run.over) continue;
      this.#forsake(run);
      aborted += 1;
    }
    for (const line of this.lines.values()) line.takeAhead();
    this.#request = undefined;
    this.#doubts.clear();
    this.#abandon?.();
    this.#checkConditions();
    // What has ended is still worth telling: a settle that comes too late changes nothing.
    return aborted;
  }

  #giveUp(run: Run): void {
    run.over = true;
    this.#strays.set(run.id, run);
  }

  #forsake(run: Run): void {
    this.#giveUp(run);
    run.abort(new LeaseLostError(run.id));
  }

  abortRuns(reason: Error): void {
    for (const run of this.runs) run.abort(reason);
  }

  /** These leases no longer stand. */
  lost(leases: readonly Lease[]): void {
    const tokens = new Map(leases.map((lease) => [lease.id, lease.token]));
    for (const line of this.lines.values()) line.drop((job) => tokens.get(job.id) === job.token);
    for (const run of this.runs) {
      if (!run.over && tokens.get(run.id) === run.job.token) this.#forsake(run);
    }
    this.#checkConditions();
  }

  asked(asks: readonly Ask[]): void {
    if (asks.length === 0) return;
    const reasons = new Map(asks.map((ask) => [ask.id, ask]));
    for (const run of this.runs) {
      const ask = reasons.get(run.id);
      if (ask === undefined || ask.generation !== run.job.generation || run.cancelAsked !== undefined)
        continue;
      run.cancelAsked = ask.reason;
      run.abort(new CancelledError(ask.reason));
    }
    // Who only waits here does not start any more.
    for (const line of this.lines.values()) {
      for (const job of line.drop(({ id, generation }) => reasons.get(id)?.generation === generation)) {
        const reason = (reasons.get(job.id) as Ask).reason;
        this.#host.reporter.cancelled(job, reason);
        this.#settlements.push({
          job,
          lease: leaseOf(job),
          outcome: decide({ ...job, cancelAsked: reason }, { kind: "released" }, 0),
          startedAt: this.#now(),
        });
        this.kick();
      }
    }
  }

  #late(run: Run): void {
    const { plan, clock, reporter } = this.#host;
    const timedOut = new TimeoutError(run.job.timeoutMs ?? 0);
    run.timedOut = timedOut;
    run.abort(timedOut);
    clock.at(run.deadline + plan.timeoutGraceMs, () => {
      if (!this.runs.has(run) || run.over) return;
      // The attempt has failed; what the handler still does is void, but it does occupy its slot.
      this.#giveUp(run);
      reporter.overdue(run);
      this.#settle(run, { kind: "threw", error: serializeError(timedOut) });
      this.kick();
    });
  }

  async #afterFailure(settlements: readonly Pending[], error: unknown): Promise<void> {
    if (!isPoison(error) || settlements.length === 0) {
      this.#settlements.unshift(...settlements);
      await this.#host.failed(error, "exchange");
      return;
    }
    // One settlement cannot be stored. Each goes alone, so that the others are not held up by it.
    for (const settlement of settlements) {
      try {
        await this.#host.storage.settle([settlement]);
      } catch (cause) {
        if (!isPoison(cause)) {
          this.add([settlement]);
          continue;
        }
        const failed: Outcome = { state: "dead", error: serializeError(cause) };
        this.add([{ ...settlement, outcome: failed }]);
      }
    }
  }

  /** Let timers, sockets and the application have their turn: jobs that never wait would starve them. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#lastYield < HOG_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#lastYield = performance.now();
  }
}

function leaseOf({ id, generation, token }: ClaimedJob): Lease {
  return { id, generation, token };
}

/** Whether a call failed because of what it was given: repeating it would fail for ever. */
function isPoison(error: unknown): boolean {
  return error instanceof InvalidValueError;
}
