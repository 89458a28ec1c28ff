import { StateError } from "../errors.ts";
import { errorFromJob, serializeError } from "../job/error.ts";
import type { Logger } from "../logger.ts";
import type { ChildHandle, ChildHandleEvents } from "./child-handle.ts";
import type { ChildState, SupervisedChild, SupervisorEmitter } from "./events.ts";
import { toldError, type ToParent } from "./message.ts";
import { afterEnd, type RestartPolicy } from "./restart.ts";

/** A worker that registers anew again and again is known by its last ids. */
const PROCESS_IDS_MAX = 16;

export interface PlaceDeps {
  readonly number: number;
  readonly kind: "process" | "thread";
  readonly restart: RestartPolicy;
  readonly logger: Logger;
  readonly events: SupervisorEmitter;
  readonly random: () => number;
  launch(events: ChildHandleEvents): ChildHandle;
  /** A thread wants to reach the storage. */
  dialed(message: ToParent & { jobwright: "dial" }): void;
  /** The storage may still believe that it lives. */
  died(pid: number, processIds: Iterable<string>): void;
}

/** One of the n children: the process or thread that is there now, and those that follow when it dies. */
export class Place {
  readonly #deps: PlaceDeps;
  #child: ChildHandle | undefined;
  #state: ChildState = "waiting";
  #since: Date = new Date();
  #restarts = 0;
  /** Ends in a row. */
  #ends = 0;
  #startedAt = 0;
  #readyAt: number | undefined;
  #heardAt = 0;
  #processIds: string[] = [];
  #error: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;
  #killAt = Number.POSITIVE_INFINITY;
  #over: (() => void) | undefined;
  #stopping: Promise<void> | undefined;
  #isFirst = true;
  /** The first child of this place works, or could not. */
  readonly working: Promise<void>;
  #works: () => void = () => undefined;
  #fails: (error: Error) => void = () => undefined;

  constructor(deps: PlaceDeps) {
    this.#deps = deps;
    this.working = new Promise((resolve, reject) => {
      this.#works = resolve;
      this.#fails = reject;
    });
    this.working.catch(() => undefined);
  }

  get child(): SupervisedChild {
    const { number, kind } = this.#deps;
    const id = this.#child?.id;
    return {
      number,
      kind,
      ...(id === undefined || id === 0 ? {} : kind === "process" ? { pid: id } : { threadId: id }),
      state: this.#state,
      since: this.#since,
      restarts: this.#restarts,
    };
  }

  start(): void {
    const { events, launch } = this.#deps;
    this.#startedAt = this.#heardAt = performance.now();
    this.#readyAt = undefined;
    this.#error = undefined;
    this.#processIds = [];
    try {
      this.#child = launch({
        message: (message) => this.#take(message),
        exited: (code, signal, error) => this.#exited(code, signal, error),
      });
    } catch (thrown) {
      // The system gives no more of them now: as if it had ended at once.
      const error = errorFromJob(serializeError(thrown));
      setImmediate(() => this.#exited(null, null, error));
    }
    this.#become("starting");
    events.emit("started", this.child);
  }

  /** Ask it to stop; what is left after `killAfterMs` is killed. Resolves when nothing is left. Twice is fine. */
  stop(timeoutMs: number, killAfterMs: number): Promise<void> {
    // A stop comes while a start that failed ends what it had begun: both wait for the same end.
    if (this.#stopping === undefined) this.#stopping = this.#stop(timeoutMs, killAfterMs);
    else this.hurry(timeoutMs, killAfterMs);
    return this.#stopping;
  }

  async #stop(timeoutMs: number, killAfterMs: number): Promise<void> {
    clearTimeout(this.#timer);
    this.#isStopping = true;
    this.#works();
    if (this.#child === undefined) return this.#become("stopped");
    this.#become("stopping");
    const over = new Promise<void>((resolve) => (this.#over = resolve));
    this.#child.tell({ jobwright: "stop", timeoutMs });
    this.#killAfter(killAfterMs);
    await over;
  }

  /** A stop that goes on is to take less time. */
  hurry(timeoutMs: number, killAfterMs: number): void {
    if (this.#child === undefined || !this.#isStopping) return;
    this.#child.tell({ jobwright: "stop", timeoutMs });
    this.#killAfter(killAfterMs);
  }

  #killAfter(ms: number): void {
    const at = performance.now() + ms;
    if (at >= this.#killAt) return;
    this.#killAt = at;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#deps.logger.warn(`${this.#name} did not stop in time and was killed`);
      this.#child?.kill();
    }, ms);
  }

  /** Forget the silence so far: the Supervisor's own event loop stood still. */
  excuse(): void {
    this.#heardAt = performance.now();
  }

  /** Report it when it has been silent for longer than this. */
  look(blockedAfterMs: number): void {
    const silentMs = Math.round(performance.now() - this.#heardAt);
    if ((this.#state !== "ready" && this.#state !== "starting") || silentMs <= blockedAfterMs) return;
    this.#become("blocked");
    this.#deps.logger.warn(
      `${this.#name} has not turned its event loop for ${silentMs} ms: something blocks it. ` +
        "After lostAfter its jobs run elsewhere as well",
    );
    this.#deps.events.emit("blocked", { ...this.child, silentMs });
  }

  #take(message: ToParent): void {
    this.#heardAt = performance.now();
    if (this.#state === "blocked") this.#become(this.#readyAt === undefined ? "starting" : "ready");
    switch (message.jobwright) {
      case "registered":
        this.#processIds = [...this.#processIds, message.processId].slice(-PROCESS_IDS_MAX);
        return;
      case "ready":
        if (this.#isStopping) return;
        this.#readyAt = performance.now();
        this.#isFirst = false;
        this.#become("ready");
        this.#deps.events.emit("ready", this.child);
        return this.#works();
      case "failed":
        this.#error = toldError(message.error);
        return;
      case "dial":
        return this.#deps.dialed(message);
      case "alive":
        return;
    }
  }

  #exited(code: number | null, signal: string | null, error?: Error): void {
    const { events, kind } = this.#deps;
    const now = performance.now();
    const ranMs = Math.round(now - this.#startedAt);
    const why = this.#error ?? error;
    const wasAsked = this.#isStopping && code === 0;
    clearTimeout(this.#timer);
    if (!wasAsked)
      this.#deps.died(kind === "process" ? (this.#child?.id ?? 0) : process.pid, this.#processIds);
    const { child: was } = this;
    const name = this.#name;
    this.#child = undefined;
    this.#become(this.#isStopping ? "stopped" : "waiting");
    const { state, since } = this.child;
    events.emit("exited", {
      ...was,
      state,
      since,
      code,
      signal,
      ranMs,
      ...(why === undefined ? {} : { error: why }),
    });
    if (this.#isStopping) this.#over?.();
    else if (this.#isFirst) this.#fails(why ?? silentEnd(name, how(code, signal)));
    else {
      const reason = why === undefined ? "" : `: ${why.name}: ${why.message}`;
      this.#restart(`${name} ended with ${how(code, signal)} after ${ranMs} ms${reason}`);
    }
  }

  #restart(end: string): void {
    const { restart, random, logger, events } = this.#deps;
    const workedMs = this.#readyAt === undefined ? 0 : performance.now() - this.#readyAt;
    const { ends, inMs } = afterEnd(restart, this.#ends, workedMs, random());
    this.#ends = ends;
    this.#timer = setTimeout(() => {
      this.#restarts += 1;
      this.start();
    }, inMs);
    logger.error(`${end}; started again in ${inMs} ms`);
    events.emit("restarting", { ...this.child, inMs });
  }

  #become(state: ChildState): void {
    this.#state = state;
    this.#since = new Date();
  }

  get #name(): string {
    const { kind, number } = this.#deps;
    const id = this.#child?.id;
    return `worker ${kind} ${number}${id === undefined || kind === "thread" ? "" : ` (pid ${id})`}`;
  }
}

function how(code: number | null, signal: string | null): string {
  return signal ?? (code === null ? "no exit code" : `code ${code}`);
}

function silentEnd(name: string, end: string): StateError {
  return new StateError(
    `${name} ended with ${end} before its worker was ready, and did not say why. ` +
      "Look at what it wrote to standard error, or import its modules by themselves.",
  );
}
