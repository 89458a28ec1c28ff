import { EventEmitter } from "node:events";
import type { Logger } from "../logger.ts";
import { tellSafely } from "../worker/emitter.ts";

/** Where a child stands. */
export type ChildState =
  /** It loads its modules and connects. */
  | "starting"
  /** Its worker claims jobs. */
  | "ready"
  /** Its event loop has stood still for longer than `blockedAfter`. */
  | "blocked"
  /** It ended, and will be started again. */
  | "waiting"
  | "stopping"
  | "stopped";

/** A child as people see it. */
export interface SupervisedChild {
  /** Its place, from 1: it stays when the child is started again. */
  readonly number: number;
  readonly kind: "process" | "thread";
  /** Of a process that is there. */
  readonly pid?: number;
  /** Of a thread that is there. */
  readonly threadId?: number;
  readonly state: ChildState;
  /** When it came into this state. */
  readonly since: Date;
  /** How often it was started again. */
  readonly restarts: number;
}

/** How a child ended. */
export interface ChildEnd {
  /** Its exit code; `null` when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
  /** Time from its start to its end. */
  readonly ranMs: number;
  /** What it said about it. */
  readonly error?: Error;
}

/** What a Supervisor tells, by event name. */
export interface SupervisorEvents {
  started: [SupervisedChild];
  /** Its worker claims jobs. */
  ready: [SupervisedChild];
  /** Its event loop stands still: nothing is done about it, a handler may need that long. */
  blocked: [SupervisedChild & { readonly silentMs: number }];
  exited: [SupervisedChild & ChildEnd];
  restarting: [SupervisedChild & { readonly inMs: number }];
  stopping: [];
  stopped: [];
}

/** What a Supervisor tells, and how. */
export class SupervisorEmitter extends EventEmitter<SupervisorEvents> {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    super();
    this.#logger = logger;
  }

  override emit<K>(
    event: K | keyof SupervisorEvents,
    ...about: K extends keyof SupervisorEvents ? SupervisorEvents[K] : never
  ): boolean {
    return tellSafely(this.#logger, event, () => super.emit<K>(event, ...about));
  }
}
