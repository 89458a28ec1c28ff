import { type Duration, toMs } from "../duration.ts";
import { StateError, type StorageClosedError } from "../errors.ts";
import type { AnyJobDefinition } from "../job/definition.ts";
import { serializeError } from "../job/error.ts";
import type { DeclaredSchedules } from "../schedule/declared.ts";
import { Ticker } from "../schedule/ticker.ts";
import type { Service } from "../service.ts";
import { Upkeep } from "../upkeep/upkeep.ts";
import { Asking } from "./asking.ts";
import { Chores } from "./chores.ts";
import { drain } from "./drain.ts";
import { Due } from "./due.ts";
import { WorkerEmitter } from "./emitter.ts";
import { fleetMember } from "./fleet-member.ts";
import { HandlerState } from "./handler-state.ts";
import { Hints } from "./hints.ts";
import { Lookout } from "./lookout.ts";
import type { Membership } from "./membership.ts";
import { NeglectWatch } from "./neglect.ts";
import { planAlso, planWorker, type StateFactory, type WorkerPlan, type WorkerSettings } from "./options.ts";
import type { WorkerDeps } from "./worker-deps.ts";
import { Pipeline } from "./pipeline.ts";
import { Reporter } from "./reporter.ts";
import { Timers } from "./timers.ts";
import { Trouble } from "./trouble.ts";
import { STOP_FLUSH_MS, windDown } from "./wind-down.ts";

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
  readonly #chores: Chores;
  readonly #asking: Asking;
  readonly #neglect: NeglectWatch;
  readonly #declared: DeclaredSchedules | undefined;
  readonly #due: Due;
  readonly #hints: Hints;
  readonly #timers = new Timers();

  #phase: "new" | "started" | "stopping" | "stopped" = "new";
  #paused = false;
  /** Only `runUntilIdle` moves this worker. */
  #stepped = false;
  #goes = false;
  #stepping = 0;
  /** Under way: a stop waits for it. */
  #rescuing: Promise<unknown> | undefined;
  #starting: Promise<void> | undefined;
  #looping: Promise<void> | undefined;
  #stop: Promise<void> | undefined;
  #hurry: (() => void) | undefined;

  /** @internal */
  constructor(
    deps: WorkerDeps,
    definitions: readonly AnyJobDefinition[],
    options: WorkerSettings & { readonly state?: StateFactory<unknown> },
  ) {
    super(deps.logger);
    this.#deps = deps;
    this.#plan = planWorker(definitions, options, deps.defaultQueue);
    const { schedules, handlers } = this.#plan;
    this.#declared = schedules === undefined ? undefined : deps.declared(schedules, handlers.keys());
    this.#state = new HandlerState(options.state);
    const { storage, clock, jobs, logger, random } = deps;
    this.#reporter = new Reporter(this, logger, clock, deps.around.observers);
    this.#trouble = new Trouble({
      logger,
      random,
      timers: this.#timers,
      failed: (about) => void this.emit("storageError", about),
      recovered: () => void this.emit("recovered"),
      isStopping: () => this.#phase === "stopping",
      closed: (error, during) => this.#storageClosed(error, during),
    });
    this.#chores = new Chores(this.#timers, this.#trouble, () => this.#phase === "started");
    this.#neglect = new NeglectWatch({
      ...{ storage, logger, emitter: this, stuckAfterMs: this.#plan.stuckAfterMs },
      serves: (queue, name) => this.#pipeline.slots.lines.serves(queue, name),
    });
    this.#membership = fleetMember({
      ...{ deps, emitter: this, trouble: this.#trouble, timers: this.#timers, name: this.#plan.name },
      declares: this.#declared?.keys ?? [],
      phase: () => this.#phase,
      pipeline: () => this.#pipeline,
      rejoined: () => {
        if (!this.#stepped) this.#listen();
        this.#pipeline.refresh();
      },
    });
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
      services: { storage, clock, jobs, logger, state: this.#state, around: deps.around },
      reporter: this.#reporter,
      mayClaim: () => this.#mayStart() && this.#membership.isSafe,
      due: (nextAt) => this.#due.next(nextAt),
      unknown: () => this.#membership.fence(),
      failed: (error, during) => this.#trouble.pause(error, during),
      worked: () => this.#trouble.over("exchange"),
    });
    this.#asking = new Asking(this.#pipeline, this.#chores);
    this.#upkeep = new Upkeep({
      ...shared,
      storage,
      random,
      ticker: new Ticker(storage, logger),
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

  async #start(stepped: boolean): Promise<void> {
    this.#checkNotStopped();
    if (this.#starting === undefined) {
      this.#stepped = stepped;
      this.#starting = this.#begin();
      // A failed start may be tried again.
      this.#starting.catch(() => (this.#starting = undefined));
    } else if (this.#stepped && !stepped) {
      // So far only `runUntilIdle` has moved it.
      this.#stepped = false;
      await this.#starting;
      if (this.#phase === "started") this.#go();
    }
    return this.#starting;
  }

  async #begin(): Promise<void> {
    await this.#layLines();
    await this.#state.make(this.#deps.jobs);
    await this.#membership.join(() => this.#declared?.store());
    // A stop may have come while the storage answered.
    if (this.#stop !== undefined) return;
    this.#phase = "started";
    this.#looping = this.#pipeline.loop();
    if (!this.#stepped) this.#go();
  }

  /** From here on it moves by itself. */
  #go(): void {
    if (this.#goes) return;
    this.#goes = true;
    this.#listen();
    this.#pipeline.refresh();
    this.#chores.repeat("poll", () => this.#poll(), this.#plan.pollIntervalMs, true);
    new Lookout({
      ...{ clock: this.#deps.clock, logger: this.#deps.logger, timers: this.#timers, plan: this.#plan },
      ...{ reporter: this.#reporter, slots: this.#pipeline.slots },
      blocked: (about) => void this.emit("blocked", about),
      askAfterRuns: () => this.#askAfterRuns(),
    }).start();
    // Fast enough that a loss is noticed within two seconds of its silence limit, whatever that is.
    this.#chores.repeat("rescue", () => this.#rescue(), Math.min(1_500, this.#deps.lostAfterMs / 5));
    this.#chores.repeat("prune", () => this.#upkeep.prune(), PRUNE_EVERY_MS);
    void this.#chores.once("lanes", () => this.#neglect.look());
    this.#define([...this.#plan.handlers.values()]);
    this.#chores.repeat("lanes", () => this.#neglect.look(), NEGLECT_EVERY_MS);
    const declared = this.#declared;
    if (declared !== undefined) this.#chores.repeat("schedules", () => declared.check(), NEGLECT_EVERY_MS);
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
      await windDown({
        ...{ pipeline: this.#pipeline, timers: this.#timers },
        patience: Promise.race([patience, this.#timers.after(timeoutMs)]),
        underWay: () => [this.#membership.rejoining, this.#rescuing],
      });
    }
    this.#hurry = undefined;
    this.#hints.stop();
    const leave = this.#chores.once("leave", () => this.#membership.leave());
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

  /**
   * Serve the jobs of one more definition, from now on and also while the worker runs. What its handler expects as
   * `ctx.state` the worker's `state` must have made.
   *
   * @throws InvalidOptionError, DuplicateJobError or MissingHandlerError
   * @throws StateError after `stop`
   */
  add(definition: AnyJobDefinition): void {
    this.#checkNotStopped();
    planAlso(this.#plan, definition);
    this.#pipeline.slots.lines.add(definition);
    if (this.#starting === undefined) return;
    void this.#chores.once("lanes", async () => {
      await this.#layLines();
      if (this.#phase !== "started" || this.#stepped) return;
      this.#define([definition]);
      this.#listen();
      this.#pipeline.refresh();
      this.#membership.tellSoon();
    });
  }

  #checkNotStopped(): void {
    if (this.#stop !== undefined) {
      throw new StateError("This worker was stopped. Make another one with jobs.worker().");
    }
  }

  #define(definitions: readonly AnyJobDefinition[]): void {
    const { define } = this.#deps;
    if (define !== undefined) void this.#chores.once("definitions", () => define(definitions));
  }

  /** Something may be due earlier than this worker knows. @internal */
  lookAgain(): void {
    if (this.#phase === "started" && !this.#stepped) this.#pipeline.refresh();
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
    this.#pipeline.slots.hurrying += 1;
    try {
      await drain(this.#pipeline, this.#upkeep, this.#due, () => this.#layLines());
    } finally {
      this.#stepping -= 1;
      this.#pipeline.slots.hurrying -= 1;
    }
    return this.#pipeline.slots.finished - before;
  }

  // ── Registration and liveness ──────────────────────────────────────────────

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

  #askAfterRuns(): void {
    if (!this.#membership.isFenced) void this.#asking.ask();
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
}
