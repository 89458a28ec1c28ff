import { storageFor } from "../connect.ts";
import { type Duration, toMs } from "../duration.ts";
import { StateError } from "../errors.ts";
import type { Service } from "../service.ts";
import type { Storage } from "../storage/storage.ts";
import { type SupervisedChild, SupervisorEmitter } from "./events.ts";
import { GiveBack } from "./give-back.ts";
import type { Assignment } from "./message.ts";
import { planSupervisor, type SupervisorOptions, type SupervisorPlan } from "./options.ts";
import { Place } from "./place.ts";
import { startProcess } from "./process-child.ts";
import { startThread } from "./thread-child.ts";
import type { ThreadHost } from "./thread-host.ts";

/** After its timeout a child has this much to give back what is left; then it is killed. */
const KILL_AFTER_MS = 5_000;
/** How long a stop waits to tell the storage of those it had to kill. */
const TELL_MS = 5_000;
const LOOK_MS_MAX = 1_000;
/** Storages that any thread can open for itself; all others are reached through this one. */
const OPENED_IN_THREADS = /^(?:postgres|postgresql|ws|wss):/;

/**
 * Runs worker modules in several processes or threads, and starts anew those that die. The jobs of a dead one are
 * run by others at once.
 *
 * @example
 * await using supervisor = new Supervisor({ modules: "./dist/worker.js", url: "lmdb:./jobs", processes: 4 });
 * stopOnSignals([supervisor]);
 * await supervisor.start();
 */
export class Supervisor extends SupervisorEmitter implements Service {
  readonly #plan: SupervisorPlan;
  #storage: Storage | undefined;
  #host: ThreadHost | undefined;
  #giveBack: GiveBack | undefined;
  #places: Place[] = [];
  #looking: NodeJS.Timeout | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  /** @throws InvalidOptionError */
  constructor(options: SupervisorOptions) {
    const plan = planSupervisor(options);
    super(plan.logger);
    this.#plan = plan;
  }

  /** The children as they are now. */
  get children(): readonly SupervisedChild[] {
    return this.#places.map(({ child }) => child);
  }

  /**
   * Start the children and wait until all of them work. Twice is fine.
   *
   * @throws what the first child says that cannot: then all are stopped, and it may be tried again
   * @throws StateError after `stop`
   */
  start(): Promise<void> {
    if (this.#stopping !== undefined) {
      return Promise.reject(new StateError("This Supervisor was stopped. Make another one."));
    }
    this.#starting ??= this.#start().catch(async (error: unknown) => {
      await this.#end(0);
      this.#starting = undefined;
      throw error;
    });
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { target, kind, children, lostAfterMs, logger } = this.#plan;
    const storage = typeof target === "string" ? await storageFor(target, { logger }) : target;
    this.#storage = storage;
    await storage.open();
    this.#giveBack = new GiveBack(storage, lostAfterMs);
    if (kind === "thread" && !opensItself(target)) {
      // The protocol is for those who need it.
      const { ThreadHost } = await import("./thread-host.ts");
      this.#host = new ThreadHost(storage, logger);
    }
    if (this.#stopping !== undefined) return;
    this.#places = Array.from({ length: children }, (_, index) => this.#place(index + 1, storage.label));
    this.#look();
    for (const place of this.#places) place.start();
    await Promise.all(this.#places.map(({ working }) => working));
  }

  /**
   * Stop all children: they claim nothing more, wait for their handlers, fire their signals, and give back the
   * rest unspent. What does not end within five seconds more is killed. Twice is fine: the shorter wait counts.
   *
   * @param options.timeout how long handlers may go on. @default the workers' shutdownTimeout
   */
  stop(options: { timeout?: Duration } = {}): Promise<void> {
    const timeoutMs =
      options?.timeout === undefined ? this.#plan.shutdownTimeoutMs : toMs(options.timeout, "timeout");
    if (this.#stopping === undefined) this.#stopping = this.#stop(timeoutMs);
    else if (options?.timeout !== undefined) {
      for (const place of this.#places) place.hurry(timeoutMs, timeoutMs + KILL_AFTER_MS);
    }
    return this.#stopping;
  }

  async #stop(timeoutMs: number): Promise<void> {
    const wasStarted = this.#starting !== undefined;
    if (wasStarted) this.emit("stopping");
    // While it opens its storage there is nobody to stop yet.
    if (this.#places.length === 0) await this.#starting?.catch(() => undefined);
    await this.#end(timeoutMs);
    if (wasStarted) this.emit("stopped");
  }

  async #end(timeoutMs: number): Promise<void> {
    clearInterval(this.#looking);
    await Promise.all(this.#places.map((place) => place.stop(timeoutMs, timeoutMs + KILL_AFTER_MS)));
    await within(TELL_MS, this.#giveBack?.told());
    this.#host?.close();
    this.#host = undefined;
    if (typeof this.#plan.target === "string") await this.#storage?.close();
    this.#storage = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #place(number: number, label: string): Place {
    const { kind, restart, logger } = this.#plan;
    const assignment = this.#assignment(number, label);
    return new Place({
      ...{ number, kind, restart, logger, events: this, random: Math.random },
      launch: (events) => (kind === "process" ? startProcess : startThread)(assignment, events),
      dialed: ({ port }) => {
        if (this.#host === undefined) port.close();
        else this.#host.accept(port, `worker thread ${number}`);
      },
      died: (pid, processIds) => this.#giveBack?.leave(pid, processIds),
    });
  }

  #assignment(number: number, label: string): Assignment {
    const { kind, modules, target, connect, worker, shutdownTimeoutMs, blockedAfterMs } = this.#plan;
    const isDirect = typeof target === "string" && (kind === "process" || opensItself(target));
    return {
      ...{ supervisor: process.pid, modules, label, connect, shutdownTimeoutMs },
      ...(isDirect ? { url: target } : {}),
      worker: worker.name === undefined ? worker : { ...worker, name: `${worker.name}-${number}` },
      aliveEveryMs: Math.min(LOOK_MS_MAX, blockedAfterMs / 4),
    };
  }

  /** Look again and again whether every child's event loop turns. */
  #look(): void {
    const { blockedAfterMs } = this.#plan;
    const everyMs = Math.min(LOOK_MS_MAX, blockedAfterMs / 4);
    let lookedAt = performance.now();
    this.#looking = setInterval(() => {
      const now = performance.now();
      // What children said while this loop stood still has not been heard yet.
      const isLate = now - lookedAt > 2 * everyMs;
      lookedAt = now;
      for (const place of this.#places) {
        if (isLate) place.excuse();
        else place.look(blockedAfterMs);
      }
    }, everyMs);
    this.#looking.unref();
  }
}

function opensItself(target: string | Storage): boolean {
  return typeof target === "string" && OPENED_IN_THREADS.test(target);
}

async function within(ms: number, work: Promise<void> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([work, late]);
  clearTimeout(timer);
}
