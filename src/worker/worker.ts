import { EventEmitter } from "node:events";
import { hostname } from "node:os";
import type { Clock, Timer } from "../clock.ts";
import { type Duration, toMs } from "../duration.ts";
import { ShutdownError, StateError, StorageClosedError } from "../errors.ts";
import type { AnyJobDefinition } from "../job/definition.ts";
import { serializeError } from "../job/error.ts";
import type { Jobs } from "../jobs.ts";
import type { Logger } from "../logger.ts";
import type { Service } from "../service.ts";
import type { ServedQueue, Storage, Unwatch } from "../storage/storage.ts";
import { Upkeep } from "../upkeep/upkeep.ts";
import type { WorkerEvents } from "./events.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Line } from "./line.ts";
import { findNeglect } from "./neglect.ts";
import { planWorker, type StateFactory, type WorkerPlan, type WorkerSettings } from "./options.ts";
import { Pipeline } from "./pipeline.ts";
import { Reporter } from "./reporter.ts";

/** What `Jobs` hands to its workers. */
export interface WorkerDeps {
  readonly storage: Storage;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  readonly beatEveryMs: number;
  readonly lostAfterMs: number;
  /** Called when the worker has stopped for good. */
  readonly stopped: (worker: Worker) => void;
}

/** How often a worker with running jobs looks at what they do, and asks whether one is to be cancelled. */
const LOOK_EVERY_MS = 1_000;
/** How long handlers get to react to their signal at a stop, before their jobs are given back. */
const STOP_GRACE_MS = 500;
/** How long a stop waits for a storage that does not answer. */
const STOP_FLUSH_MS = 5_000;
const PRUNE_EVERY_MS = 5_000;
const NEGLECT_EVERY_MS = 30_000;
/** First and longest wait after a call to the storage failed; it doubles in between. */
const RETRY_MS_FIRST = 50;
const RETRY_MS_MAX = 5_000;
/** A `setTimeout` beyond this would fire at once. */
const TIMEOUT_MS_MAX = 2_147_483_647;

/** Claims jobs and runs their handlers. Made by `jobs.worker()`. */
export class Worker extends EventEmitter<WorkerEvents> implements Service {
  readonly #deps: WorkerDeps;
  readonly #plan: WorkerPlan;
  readonly #makeState: StateFactory<unknown> | undefined;
  readonly #pipeline: Pipeline;
  readonly #reporter: Reporter;
  readonly #upkeep: Upkeep;
  /** Filled in by `start`, before the first handler runs. */
  readonly #services: { storage: Storage; clock: Clock; jobs: Jobs; logger: Logger; state: unknown };

  #phase: "new" | "started" | "stopping" | "stopped" = "new";
  #paused = false;
  /** Only `runUntilIdle` moves this worker. */
  #stepped = false;
  #stepping = 0;
  #hasState = false;
  #processId = "";
  #tokens = 0;
  #heartbeat: Heartbeat | undefined;
  #registering = false;
  /** Under way: registering anew, a rescue. A stop waits for them. */
  #rejoining: Promise<void> | undefined;
  #rescuing: Promise<unknown> | undefined;
  #starting: Promise<void> | undefined;
  #looping: Promise<void> | undefined;
  #stop: Promise<void> | undefined;
  #hurry: (() => void) | undefined;
  #failures = 0;
  #dueTimer: Timer | undefined;
  #dueAt = Number.POSITIVE_INFINITY;
  #promoting = false;
  #unwatch: Unwatch | undefined;
  #unwatchAsks: Unwatch | undefined;
  #asking = false;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Ends the wait before the next try of a call that failed. */
  #tryNow: (() => void) | undefined;
  /** What failed last time it was tried. */
  readonly #failing = new Set<string>();
  readonly #neglected = new Set<string>();

  /** @internal */
  constructor(
    deps: WorkerDeps,
    definitions: readonly AnyJobDefinition[],
    options: WorkerSettings & { readonly state?: StateFactory<unknown> },
  ) {
    super();
    this.#deps = deps;
    this.#plan = planWorker(definitions, options);
    this.#makeState = options.state;
    const { storage, clock, jobs, logger, random } = deps;
    this.#services = { storage, clock, jobs, logger, state: undefined };
    this.#reporter = new Reporter(this, logger, clock);
    const shared = {
      processId: () => this.#processId,
      nextToken: () => `${this.#processId}.${(this.#tokens += 1)}`,
    };
    this.#pipeline = new Pipeline({
      ...shared,
      storage,
      clock,
      random,
      plan: this.#plan,
      services: this.#services,
      reporter: this.#reporter,
      mayStart: () => this.#mayStart(),
      mayClaim: () => this.#mayStart() && (this.#heartbeat?.isSafe ?? false),
      due: (nextAt) => this.#due(nextAt),
      unknown: () => this.#fence(),
      failed: (error, during) => this.#failed(error, during),
      worked: () => this.#worked("exchange"),
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
  }

  /** The process as the storage knows it; a new one each time it registers. Empty before `start`. */
  get processId(): string {
    return this.#processId;
  }

  /** Runs that are under way. */
  get running(): number {
    return this.#pipeline.runs.size;
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
    if (!this.#hasState) {
      this.#services.state = await this.#makeState?.(this.#deps.jobs);
      // Once, also when what follows fails and the start is tried again.
      this.#hasState = true;
    }
    this.#processId = freshProcessId();
    await this.#register();
    // A stop may have come while the storage answered.
    if (this.#stop !== undefined) return;
    this.#phase = "started";
    this.#looping = this.#pipeline.loop();
    if (this.#stepped) return;
    this.#watch();
    this.#pipeline.refresh();
    this.#repeat("poll", () => this.#poll(), this.#plan.pollIntervalMs, true);
    this.#look(performance.now());
    // Fast enough that a loss is noticed within two seconds of its silence limit, whatever that is.
    this.#repeat("rescue", () => this.#rescue(), Math.min(1_500, this.#deps.lostAfterMs / 5));
    this.#repeat("prune", () => this.#upkeep.prune(), PRUNE_EVERY_MS);
    void this.#quietly(() => this.#reportNeglect(), "lanes");
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
      options.timeout === undefined ? this.#plan.shutdownTimeoutMs : toMs(options.timeout, "timeout");
    if (this.#stop === undefined) this.#stop = this.#end(timeoutMs);
    else if (timeoutMs === 0) this.#hurry?.();
    else if (options.timeout !== undefined) this.#timer(() => this.#hurry?.(), timeoutMs);
    return this.#stop;
  }

  async #end(timeoutMs: number): Promise<void> {
    const wasStarted = this.#starting !== undefined;
    // From the very beginning, so that a second stop finds it however soon it comes.
    const patience = new Promise<void>((resolve) => (this.#hurry = resolve));
    this.#phase = "stopping";
    if (wasStarted) this.emit("stopping");
    await this.#starting?.catch(() => undefined);
    this.#unwatch?.();
    this.#dueTimer?.cancel();
    this.#tryNow?.();
    if (this.#looping !== undefined) {
      this.#pipeline.releaseAhead();
      const ended = this.#pipeline.allRunsOver();
      await Promise.race([ended, patience, this.#after(timeoutMs)]);
      this.#pipeline.abortRuns(new ShutdownError());
      await Promise.race([ended, this.#after(STOP_GRACE_MS)]);
      this.#pipeline.releaseRuns();
      const told = Promise.allSettled([this.#rejoining, this.#rescuing]).then(() =>
        this.#pipeline.allSettled(),
      );
      await Promise.race([told, this.#after(STOP_FLUSH_MS)]);
      this.#pipeline.end();
    }
    this.#hurry = undefined;
    this.#unwatchAsks?.();
    this.#heartbeat?.stop();
    if (this.#heartbeat !== undefined) {
      const leave = this.#quietly(
        () => this.#deps.storage.beat({ ...this.#describe(), leaving: true }),
        "leave",
      );
      await Promise.race([leave, this.#after(STOP_FLUSH_MS)]);
    }
    this.#tryNow?.();
    this.#clearTimers();
    try {
      await dispose(this.#services.state);
    } finally {
      this.#phase = "stopped";
      this.#deps.stopped(this);
      if (wasStarted) this.emit("stopped");
    }
  }

  /** Claim nothing more until `resume`. Running handlers go on; what was read ahead goes back to its place. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#pipeline.releaseAhead();
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
    const before = this.#pipeline.finished;
    this.#stepping += 1;
    try {
      for (;;) {
        const atStart = this.#pipeline.finished;
        if (this.#plan.queues === undefined) await this.#layLines();
        while ((await this.#upkeep.promote()).promoted > 0);
        await this.#upkeep.rescue();
        this.#pipeline.refresh();
        await this.#pipeline.caughtUp();
        await this.#pipeline.quiet();
        if (this.#pipeline.finished === atStart) break;
      }
      await this.#upkeep.prune();
    } finally {
      this.#stepping -= 1;
    }
    return this.#pipeline.finished - before;
  }

  // ── Registration and liveness ──────────────────────────────────────────────

  async #register(): Promise<void> {
    const { storage, beatEveryMs, lostAfterMs } = this.#deps;
    const heartbeat = new Heartbeat({
      beat: (what) => storage.beat(what),
      describe: () => this.#describe(),
      reported: (starts) => {
        this.#pipeline.reported(starts);
        this.#worked("beat");
      },
      asks: (asks) => this.#pipeline.asked(asks),
      lost: (leases) => this.#pipeline.lost(leases),
      fence: () => this.#fence(),
      failed: (error, retryInMs) => this.#storageError(error, "beat", retryInMs),
      beatEveryMs,
      lostAfterMs,
    });
    await heartbeat.start();
    this.#heartbeat = heartbeat;
    this.#failing.delete("beat");
    this.#worked("register");
    this.emit("registered", { processId: this.#processId, queues: this.#served() });
  }

  /** Nobody may believe in this process any more: stop relying on its leases and begin anew. */
  #fence(): void {
    if (this.#registering || this.#phase === "new" || this.#phase === "stopped") return;
    this.#registering = true;
    this.#heartbeat?.stop();
    const processId = this.#processId;
    // Whatever is still answered to the old process is for nobody any more.
    this.#processId = freshProcessId();
    const aborted = this.#pipeline.forsake();
    const isStopping = this.#phase === "stopping";
    this.emit("fenced", { processId, aborted });
    this.#deps.logger.error(
      `process ${processId} was not heard for too long: ${aborted} runs were aborted, ` +
        (isStopping ? "and the worker stops" : "registering anew"),
      { processId, aborted },
    );
    if (!isStopping) this.#rejoining = this.#registerAnew();
  }

  async #registerAnew(): Promise<void> {
    // What has ended is told first: under its old lease it still counts, as long as nobody has rescued it.
    await Promise.race([this.#pipeline.allSettled(), this.#after(RETRY_MS_FIRST)]);
    while (this.#phase === "started") {
      try {
        await this.#register();
        this.#registering = false;
        if (!this.#stepped && this.#phase === "started") this.#watch();
        this.#pipeline.refresh();
        return;
      } catch (error) {
        await this.#failed(error, "register");
        // That call may have registered it after all, and been forgotten since.
        this.#processId = freshProcessId();
      }
    }
  }

  #describe(): Parameters<Storage["beat"]>[0] {
    return {
      id: this.#processId,
      ...(this.#plan.name === undefined ? {} : { name: this.#plan.name }),
      host: hostname(),
      pid: process.pid,
      lostAfterMs: this.#deps.lostAfterMs,
      queues: this.#served(),
      ...this.#pipeline.held(),
    };
  }

  #served(): ServedQueue[] {
    return [...this.#pipeline.lines.values()].map(({ queue, names, concurrency }) => ({
      queue,
      names,
      concurrency,
    }));
  }

  #mayStart(): boolean {
    if (this.#phase !== "started" || this.#paused || this.#registering) return false;
    return !this.#stepped || this.#stepping > 0;
  }

  // ── What makes it move ─────────────────────────────────────────────────────

  async #layLines(): Promise<void> {
    const names = [...this.#plan.handlers.keys()];
    const { lines } = this.#pipeline;
    let queues = this.#plan.queues;
    if (queues === undefined) {
      const found = await this.#deps.storage.lanes();
      queues = new Map(found.lanes.map(({ queue }) => [queue, this.#plan.concurrency]));
    }
    for (const [queue, concurrency] of queues) {
      if (!lines.has(queue)) lines.set(queue, new Line(queue, names, concurrency));
    }
  }

  /** Two interests: an enqueue must not cost a question about the jobs that run. */
  #watch(): void {
    const { storage } = this.#deps;
    const available = [...this.#pipeline.lines.values()].map(({ queue, names }) => ({ queue, names }));
    try {
      this.#unwatch?.();
      this.#unwatch = storage.watch({ available }, () => this.#pipeline.refresh());
      this.#unwatchAsks?.();
      this.#unwatchAsks = storage.watch({ asked: this.#processId }, () => this.#askAfterRuns());
    } catch (error) {
      // Hints only make things quick.
      this.#storageError(error, "watch", this.#plan.pollIntervalMs);
    }
  }

  async #poll(): Promise<void> {
    if (this.#plan.queues === undefined) {
      const before = this.#pipeline.lines.size;
      await this.#layLines();
      if (this.#pipeline.lines.size > before) this.#watch();
    }
    this.#pipeline.refresh();
  }

  /** Once a second: late timers tell of a blocked event loop; slow runs; stale read-ahead; asks. */
  #look(expectedAt: number): void {
    const now = performance.now();
    const blockedMs = now - expectedAt;
    if (blockedMs > this.#plan.blockedAfterMs) this.#blocked(Math.round(blockedMs));
    const clockNow = this.#deps.clock.now();
    for (const run of this.#pipeline.runs) {
      if (run.warnedSlow || clockNow - run.startedAt < this.#plan.slowAfterMs) continue;
      run.warnedSlow = true;
      this.#reporter.slow(run);
    }
    this.#pipeline.releaseAhead(now);
    this.#askAfterRuns();
    this.#timer(() => this.#look(now + LOOK_EVERY_MS), LOOK_EVERY_MS);
  }

  #blocked(blockedMs: number): void {
    const running = [...this.#pipeline.runs].slice(0, 20).map((run) => run.event);
    this.emit("blocked", { blockedMs, running });
    const names = [...new Set(running.map(({ name }) => name))].join(", ");
    this.#deps.logger.warn(
      `the event loop stood still for ${blockedMs} ms (running: ${names || "nothing"}): ` +
        "a handler that blocks it for longer than lostAfter can run twice",
      { blockedMs },
    );
  }

  /** At most one question at a time, and none when it would be about nothing. */
  #askAfterRuns(): void {
    if (this.#asking || this.#registering || this.#pipeline.runs.size + this.#pipeline.ahead === 0) return;
    this.#asking = true;
    void this.#quietly(() => this.#pipeline.look(), "look").then(() => (this.#asking = false));
  }

  #due(nextAt: number | undefined): void {
    if (nextAt === undefined || this.#stepped || this.#phase !== "started") return;
    if (nextAt >= this.#dueAt && this.#dueTimer !== undefined) return;
    this.#dueTimer?.cancel();
    this.#dueAt = nextAt;
    this.#dueTimer = this.#deps.clock.at(nextAt, () => void this.#quietly(() => this.#promote(), "promote"));
  }

  async #promote(): Promise<void> {
    this.#dueTimer = undefined;
    this.#dueAt = Number.POSITIVE_INFINITY;
    if (this.#promoting || this.#phase !== "started") return;
    this.#promoting = true;
    try {
      const { promoted, nextAt } = await this.#upkeep.promote();
      if (promoted > 0) this.#pipeline.refresh();
      this.#promoting = false;
      this.#due(nextAt);
    } finally {
      this.#promoting = false;
    }
  }

  async #rescue(): Promise<void> {
    if (this.#registering) return;
    const rescuing = this.#upkeep.rescue();
    this.#rescuing = rescuing;
    if ((await rescuing) > 0) this.#pipeline.refresh();
  }

  async #reportNeglect(): Promise<void> {
    const found = await findNeglect(this.#deps.storage);
    const keys = new Set<string>();
    for (const neglect of found) {
      const key = JSON.stringify(
        neglect.kind === "unhandled" ? [neglect.queue, neglect.name] : [neglect.queue],
      );
      keys.add(key);
      if (this.#neglected.has(key)) continue;
      this.#neglected.add(key);
      if (neglect.kind === "unhandled") {
        if (!this.#pipeline.lines.has(neglect.queue)) continue;
        const { queue, name, waiting } = neglect;
        this.emit("unhandled", { queue, name, waiting });
        this.#deps.logger.warn(
          `${waiting} jobs named "${name}" wait in queue "${queue}", but no process handles them`,
        );
      } else {
        const { queue, waiting } = neglect;
        this.emit("unserved", { queue, waiting });
        this.#deps.logger.warn(`${waiting} jobs wait in queue "${queue}", which no process serves`);
      }
    }
    for (const key of this.#neglected) if (!keys.has(key)) this.#neglected.delete(key);
  }

  // ── Errors of the storage ──────────────────────────────────────────────────

  async #failed(error: unknown, during: string): Promise<void> {
    if (error instanceof StorageClosedError) return this.#storageClosed(error, during);
    this.#failures += 1;
    const base = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** Math.min(this.#failures, 20));
    const retryInMs = Math.round(base * (0.5 + 0.5 * this.#deps.random()));
    this.#storageError(error, during, retryInMs);
    // A stop does not wait for the next try, it makes it now.
    if (this.#phase === "stopping") return this.#after(Math.min(retryInMs, RETRY_MS_FIRST));
    const soon = new Promise<void>((resolve) => (this.#tryNow = resolve));
    await Promise.race([this.#after(retryInMs), soon]);
    this.#tryNow = undefined;
  }

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

  #storageError(error: unknown, during: string, retryInMs: number): void {
    if (error instanceof StorageClosedError) return this.#storageClosed(error, during);
    this.#failing.add(during);
    this.emit("storageError", { error, during, retryInMs });
    const text = serializeError(error).message;
    this.#deps.logger.error(
      `the storage failed during ${during}: ${text}; next try in ${Math.round(retryInMs)} ms`,
    );
  }

  #worked(during: string): void {
    if (during === "exchange" || during === "register") this.#failures = 0;
    if (this.#failing.delete(during) && this.#failing.size === 0) this.emit("recovered");
  }

  /** Upkeep that fails is done again at its next turn. */
  async #quietly(work: () => Promise<unknown>, during: string, againInMs = 0): Promise<void> {
    try {
      await work();
      this.#worked(during);
    } catch (error) {
      if (this.#phase === "started") this.#storageError(error, during, againInMs);
    }
  }

  /** A listener that throws must not take a run's end with it: what it threw is logged. */
  override emit<K>(
    event: K | keyof WorkerEvents,
    ...about: K extends keyof WorkerEvents ? WorkerEvents[K] : never
  ): boolean {
    try {
      return super.emit<K>(event, ...about);
    } catch (thrown) {
      const { name, message } = serializeError(thrown);
      this.#deps.logger.error(`a listener of "${String(event)}" threw ${name}: ${message}`);
      return true;
    }
  }

  // ── Real time ──────────────────────────────────────────────────────────────

  /** Again and again, jittered so that the processes of a fleet drift apart; never twice at once. */
  #repeat(during: string, work: () => Promise<unknown>, everyMs: number, keepAlive = false): void {
    const again = (): void => {
      if (this.#phase !== "started") return;
      this.#timer(
        () => this.#phase === "started" && void this.#quietly(work, during, everyMs).then(again),
        everyMs * (0.75 + 0.25 * Math.random()),
        keepAlive,
      );
    };
    again();
  }

  #timer(fire: () => void, ms: number, keepAlive = false): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        fire();
      },
      Math.min(ms, TIMEOUT_MS_MAX),
    );
    if (!keepAlive) timer.unref();
    this.#timers.add(timer);
  }

  #after(ms: number): Promise<void> {
    return new Promise((resolve) => this.#timer(resolve, ms, true));
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}

function freshProcessId(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 16);
}

async function dispose(state: unknown): Promise<void> {
  if (typeof state !== "object" || state === null) return;
  const disposable = state as Partial<AsyncDisposable & Disposable>;
  if (typeof disposable[Symbol.asyncDispose] === "function") await disposable[Symbol.asyncDispose]?.();
  else if (typeof disposable[Symbol.dispose] === "function") disposable[Symbol.dispose]?.();
}
