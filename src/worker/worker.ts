import { type Duration, toMs } from "../duration.ts";
import { ShutdownError, StateError, type StorageClosedError } from "../errors.ts";
import type { AnyJobDefinition } from "../job/definition.ts";
import { serializeError } from "../job/error.ts";
import type { Service } from "../service.ts";
import { Upkeep } from "../upkeep/upkeep.ts";
import { drain } from "./drain.ts";
import { Due } from "./due.ts";
import { WorkerEmitter } from "./emitter.ts";
import { HandlerState } from "./handler-state.ts";
import { Hints } from "./hints.ts";
import { Lookout } from "./lookout.ts";
import { Membership } from "./membership.ts";
import { findNeglect, NeglectReport } from "./neglect.ts";
import { planWorker, type StateFactory, type WorkerPlan, type WorkerSettings } from "./options.ts";
import type { WorkerDeps } from "./worker-deps.ts";
import { Pipeline } from "./pipeline.ts";
import { Reporter } from "./reporter.ts";
import { Timers } from "./timers.ts";
import { RETRY_MS_FIRST, Trouble } from "./trouble.ts";

/** How long handlers get to react to their signal at a stop, before their jobs are given back. */
const STOP_GRACE_MS = 500;
/** How long a stop waits for a storage that does not answer, and for the state to be disposed. */
const STOP_FLUSH_MS = 5_000;
const PRUNE_EVERY_MS = 5_000;
const NEGLECT_EVERY_MS = 30_000;
/** Claims jobs and runs their handlers. Made by `jobs.worker()`. */
export class Worker extends WorkerEmitter implements Service {
  readonly #deps: WorkerDeps;
  readonly #plan: WorkerPlan;
  readonly #state: HandlerState;
  readonly #pipeline: Pipeline;
  readonly #reporter: Reporter;
  readonly #upkeep: Upkeep;
  readonly #membership: Membership;
  readonly #trouble: Trouble;
  readonly #neglect: NeglectReport;
  readonly #due: Due;
  readonly #hints: Hints;
  readonly #timers = new Timers();

  #phase: "new" | "started" | "stopping" | "stopped" = "new";
  #paused = false;
  /** Only `runUntilIdle` moves this worker. */
  #stepped = false;
  #stepping = 0;
  /** Under way: a stop waits for it. */
  #rescuing: Promise<unknown> | undefined;
  #starting: Promise<void> | undefined;
  #looping: Promise<void> | undefined;
  #stop: Promise<void> | undefined;
  #hurry: (() => void) | undefined;
  #asking = false;

  /** @internal */
  constructor(
    deps: WorkerDeps,
    definitions: readonly AnyJobDefinition[],
    options: WorkerSettings & { readonly state?: StateFactory<unknown> },
  ) {
    super(deps.logger);
    this.#deps = deps;
    this.#plan = planWorker(definitions, options, deps.defaultQueue);
    this.#state = new HandlerState(options.state);
    const { storage, clock, jobs, logger, random } = deps;
    this.#reporter = new Reporter(this, logger, clock);
    this.#neglect = new NeglectReport({
      logger,
      unhandled: (about) => void this.emit("unhandled", about),
      unserved: (about) => void this.emit("unserved", about),
    });
    this.#trouble = new Trouble({
      logger,
      random,
      timers: this.#timers,
      failed: (about) => void this.emit("storageError", about),
      recovered: () => void this.emit("recovered"),
      isStopping: () => this.#phase === "stopping",
      closed: (error, during) => this.#storageClosed(error, during),
    });
    this.#membership = this.#makeMembership();
    const shared = {
      processId: () => this.#membership.processId,
      nextToken: () => this.#membership.nextToken(),
    };
    this.#pipeline = new Pipeline({
      ...shared,
      storage,
      clock,
      random,
      plan: this.#plan,
      services: { storage, clock, jobs, logger, state: this.#state },
      reporter: this.#reporter,
      mayClaim: () => this.#mayStart() && this.#membership.isSafe,
      due: (nextAt) => this.#due.next(nextAt),
      unknown: () => this.#membership.fence(),
      failed: (error, during) => this.#trouble.pause(error, during),
      worked: () => this.#trouble.over("exchange"),
    });
    this.#upkeep = new Upkeep({
      ...shared,
      storage,
      random,
      settle: (settlements) => {
        this.#pipeline.add(settlements);
        this.#pipeline.kick();
      },
      doubtful: (token) => this.#pipeline.doubt(token, true),
      rescued: (job, outcome) => this.#reporter.rescued(job, job.lostProcessId, job.started, outcome),
    });
    this.#hints = new Hints({
      storage,
      available: () => this.#pipeline.refresh(),
      asked: () => this.#askAfterRuns(),
      failed: (error) => this.#trouble.report(error, "watch", this.#plan.pollIntervalMs),
    });
    this.#due = new Due({
      clock,
      promote: () => this.#promote(),
      failed: (error) => this.#trouble.report(error, "promote", this.#plan.pollIntervalMs),
    });
  }

  /** The process as the storage knows it; a new one each time it registers. Empty before `start`. */
  get processId(): string {
    return this.#membership.processId;
  }

  /** Runs that are under way. */
  get running(): number {
    return this.#pipeline.slots.runs.size;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  /**
   * Register, make the state and begin to claim. Twice is fine.
   *
   * @throws StateError after `stop`
   */
  start(): Promise<void> {
    return this.#start(false);
  }

  #start(stepped: boolean): Promise<void> {
    if (this.#stop !== undefined) {
      return Promise.reject(new StateError("This worker was stopped. Make another one with jobs.worker()."));
    }
    if (this.#starting === undefined) {
      this.#stepped = stepped;
      this.#starting = this.#begin();
      // A failed start may be tried again.
      this.#starting.catch(() => (this.#starting = undefined));
    }
    return this.#starting;
  }

  async #begin(): Promise<void> {
    await this.#layLines();
    await this.#state.make(this.#deps.jobs);
    await this.#membership.join();
    // A stop may have come while the storage answered.
    if (this.#stop !== undefined) return;
    this.#phase = "started";
    this.#looping = this.#pipeline.loop();
    if (this.#stepped) return;
    this.#listen();
    this.#pipeline.refresh();
    this.#repeat("poll", () => this.#poll(), this.#plan.pollIntervalMs, true);
    new Lookout({
      ...{ clock: this.#deps.clock, logger: this.#deps.logger, timers: this.#timers, plan: this.#plan },
      ...{ reporter: this.#reporter, slots: this.#pipeline.slots },
      blocked: (about) => void this.emit("blocked", about),
      askAfterRuns: () => this.#askAfterRuns(),
    }).start();
    // Fast enough that a loss is noticed within two seconds of its silence limit, whatever that is.
    this.#repeat("rescue", () => this.#rescue(), Math.min(1_500, this.#deps.lostAfterMs / 5));
    this.#repeat("prune", () => this.#upkeep.prune(), PRUNE_EVERY_MS);
    void this.#quietly(() => this.#reportNeglect(), "lanes");
    if (this.#deps.define !== undefined) void this.#quietly(this.#deps.define, "definitions");
    this.#repeat("lanes", () => this.#reportNeglect(), NEGLECT_EVERY_MS);
  }

  /**
   * Stop claiming, wait for running handlers, then fire their signals, and give back what is left with no
   * attempt spent. Twice is fine: the shorter wait counts.
   *
   * @param options.timeout how long handlers may go on. @default the worker's shutdownTimeout
   */
  stop(options: { timeout?: Duration } = {}): Promise<void> {
    const timeoutMs =
      options?.timeout === undefined ? this.#plan.shutdownTimeoutMs : toMs(options.timeout, "timeout");
    if (this.#stop === undefined) this.#stop = this.#end(timeoutMs);
    else if (timeoutMs === 0) this.#hurry?.();
    else if (options?.timeout !== undefined) this.#timers.once(() => this.#hurry?.(), timeoutMs);
    return this.#stop;
  }

  async #end(timeoutMs: number): Promise<void> {
    const wasStarted = this.#starting !== undefined;
    // From the very beginning, so that a second stop finds it however soon it comes.
    const patience = new Promise<void>((resolve) => (this.#hurry = resolve));
    this.#phase = "stopping";
    if (wasStarted) this.emit("stopping");
    // A start that hangs (its state never comes) must not make the stop hang.
    const started = this.#starting?.catch(() => undefined);
    await Promise.race([started, patience, this.#timers.after(timeoutMs)]);
    this.#hints.forgetWork();
    this.#due.stop();
    this.#trouble.tryNow();
    if (this.#looping !== undefined) {
      this.#pipeline.slots.releaseAhead();
      const ended = this.#pipeline.allRunsOver();
      await Promise.race([ended, patience, this.#timers.after(timeoutMs)]);
      this.#pipeline.slots.abortRuns(new ShutdownError());
      await Promise.race([ended, this.#timers.after(STOP_GRACE_MS)]);
      this.#pipeline.slots.releaseRuns();
      const threadsOver = this.#pipeline.slots.endThreads();
      const told = Promise.allSettled([this.#membership.rejoining, this.#rescuing]).then(() =>
        this.#pipeline.allSettled(),
      );
      await Promise.race([Promise.all([told, threadsOver]), this.#timers.after(STOP_FLUSH_MS)]);
      this.#pipeline.end();
    }
    this.#hurry = undefined;
    this.#hints.stop();
    const leave = this.#quietly(() => this.#membership.leave(), "leave");
    await Promise.race([leave, this.#timers.after(STOP_FLUSH_MS)]);
    this.#trouble.tryNow();
    try {
      await Promise.race([this.#state.dispose(), this.#timers.after(STOP_FLUSH_MS)]);
    } finally {
      this.#timers.clear();
      this.#phase = "stopped";
      this.#deps.stopped(this);
      if (wasStarted) this.emit("stopped");
    }
  }

  /** Claim nothing more until `resume`. Running handlers go on; what was read ahead goes back to its place. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#pipeline.slots.releaseAhead();
    this.emit("paused");
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#pipeline.refresh();
    this.emit("resumed");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /**
   * Run all that is due, and what becomes due by it, until nothing is left to do. A worker that was not
   * started is moved by this call alone. Answers how many runs ended meanwhile. Used by `runUntilIdle`.
   *
   * @internal
   */
  async drain(): Promise<number> {
    await this.#start(true);
    const before = this.#pipeline.slots.finished;
    this.#stepping += 1;
    try {
      await drain(this.#pipeline, this.#upkeep, this.#due, () => this.#layLines());
    } finally {
      this.#stepping -= 1;
    }
    return this.#pipeline.slots.finished - before;
  }

  // ── Registration and liveness ──────────────────────────────────────────────

  #makeMembership(): Membership {
    const { storage, beatEveryMs, lostAfterMs, logger } = this.#deps;
    return new Membership({
      ...{ storage, beatEveryMs, lostAfterMs, trouble: this.#trouble, name: this.#plan.name },
      served: () => this.#pipeline.slots.served(),
      held: () => this.#pipeline.held(),
      reported: (starts) => this.#pipeline.slots.reported(starts),
      asks: (asks) => this.#pipeline.slots.asked(asks),
      lost: (leases) => this.#pipeline.slots.lost(leases),
      registered: (processId) =>
        void this.emit("registered", { processId, queues: this.#pipeline.slots.served() }),
      fenced: (processId) => {
        const aborted = this.#pipeline.forsake();
        const goesOn = this.#phase === "started";
        this.emit("fenced", { processId, aborted });
        logger.error(
          `process ${processId} was not heard for too long: ${aborted} runs were aborted, ` +
            (goesOn ? "registering anew" : "and the worker stops"),
          { processId, aborted },
        );
        return goesOn;
      },
      toldAll: () => Promise.race([this.#pipeline.allSettled(), this.#timers.after(RETRY_MS_FIRST)]),
      rejoined: () => {
        if (!this.#stepped) this.#listen();
        this.#pipeline.refresh();
      },
      goesOn: () => this.#phase === "started" || this.#phase === "stopping",
    });
  }

  #mayStart(): boolean {
    if (this.#phase !== "started" || this.#paused || this.#membership.isFenced) return false;
    return !this.#stepped || this.#stepping > 0;
  }

  // ── What makes it move ─────────────────────────────────────────────────────

  async #layLines(): Promise<boolean> {
    return this.#pipeline.slots.lines.lay(this.#deps.storage);
  }

  #listen(): void {
    if (this.#phase !== "started") return;
    this.#hints.listen(this.#pipeline.slots.served(), this.#membership.processId);
  }

  async #poll(): Promise<void> {
    if (this.#plan.queues === undefined && (await this.#layLines())) this.#listen();
    this.#pipeline.refresh();
  }

  /** At most one question at a time, and none when it would be about nothing. */
  #askAfterRuns(): void {
    if (
      this.#asking ||
      this.#membership.isFenced ||
      this.#pipeline.slots.runs.size + this.#pipeline.ahead === 0
    )
      return;
    this.#asking = true;
    void this.#quietly(() => this.#pipeline.look(), "look").then(() => (this.#asking = false));
  }

  async #promote(): Promise<number | undefined> {
    // Who is moved step by step promotes when it is moved; the timer only shows a test clock where to go.
    if (this.#stepped) return undefined;
    const { promoted, nextAt } = await this.#upkeep.promote();
    this.#trouble.over("promote");
    if (promoted > 0) this.#pipeline.refresh();
    return nextAt;
  }

  async #rescue(): Promise<void> {
    if (this.#membership.isFenced) return;
    const rescuing = this.#upkeep.rescue();
    this.#rescuing = rescuing;
    if ((await rescuing) > 0) this.#pipeline.refresh();
  }

  async #reportNeglect(): Promise<void> {
    const found = await findNeglect(this.#deps.storage);
    this.#neglect.report(found, (queue) => this.#pipeline.slots.lines.serves(queue));
  }

  // ── Errors of the storage ──────────────────────────────────────────────────

  /** Closed by this process for good: there is nobody left to talk to. */
  #storageClosed(error: StorageClosedError, during: string): void {
    if (this.#phase === "stopped") return;
    this.#pipeline.end();
    if (this.#stop !== undefined) return;
    this.emit("storageError", { error, during, retryInMs: Number.POSITIVE_INFINITY });
    this.#deps.logger.error(`${error.message} The worker stops: close the jobs before their storage.`);
    this.stop({ timeout: 0 }).catch((problem: unknown) => {
      this.#deps.logger.error(`the worker's state could not be disposed: ${serializeError(problem).message}`);
    });
  }

  /** Upkeep that fails is done again at its next turn. */
  async #quietly(work: () => Promise<unknown>, during: string, againInMs = 0): Promise<void> {
    try {
      await work();
      this.#trouble.over(during);
    } catch (error) {
      if (this.#phase === "started") this.#trouble.report(error, during, againInMs);
    }
  }

  #repeat(during: string, work: () => Promise<unknown>, everyMs: number, keepAlive = false): void {
    const once = async (): Promise<boolean> => {
      if (this.#phase === "started") await this.#quietly(work, during, everyMs);
      return this.#phase === "started";
    };
    this.#timers.repeat(once, everyMs, keepAlive);
  }
}
