import { availableParallelism } from "node:os";
import { type Duration, toMs } from "../duration.ts";
import { DuplicateJobError, InvalidOptionError, MissingHandlerError } from "../errors.ts";
import { type AnyJobDefinition, hasHandler } from "../job/definition.ts";
import { limits } from "../job/limits.ts";
import { checkName } from "../job/name.ts";
import { builtIn } from "../job/options.ts";
import { checkKnown } from "../known-options.ts";
import type { Jobs } from "../jobs.ts";
import { checkDeclarations, type ScheduleDeclaration } from "../schedule/declaration.ts";
import { threadModule } from "./threads.ts";

/** Options of a worker that do not depend on its definitions. */
export interface WorkerSettings {
  /**
   * The queues it serves: names, or names with the slots of each, or `"*"` for every queue there is.
   *
   * @default the fixed queues of its definitions, and the queue of jobs that name none
   */
  readonly queues?: "*" | readonly string[] | Readonly<Record<string, number>>;
  /** Slots of each queue: how many of its jobs run at once in this worker. 1 to 10,000. @default 10 */
  readonly concurrency?: number;
  /** Most jobs that run at once in this worker over all its queues. @default no limit */
  readonly maxConcurrency?: number;
  /** Claim again only when fewer than this many run or wait in this worker. @default maxConcurrency */
  readonly refillBelow?: number;
  /** Threads for the jobs whose definition names one: as many of them run at once. 1 to 256. @default one a processor */
  readonly threads?: number;
  /** How long `stop` waits for running handlers before it fires their signals. @default "25s" */
  readonly shutdownTimeout?: Duration;
  /** After its timeout a run that does not end is given up this much later; its slot stays taken. @default "30s" */
  readonly timeoutGrace?: Duration;
  /** A run that takes longer is reported as `slow`, once. `Infinity` = never. @default "5m" */
  readonly slowAfter?: Duration;
  /** An event loop that stood still for longer is reported as `blocked`. @default "1s" */
  readonly blockedAfter?: Duration;
  /** Jobs that are available for longer and not taken are reported as `stuck`. `Infinity` = never. @default "5m" */
  readonly stuckAfter?: Duration;
  /** Longest time between two looks for work, when no wake-up comes. 10 ms to 1 min. @default "2s" */
  readonly pollInterval?: Duration;
  /**
   * What comes back, as this code says it: `every(…)` and `cron(…)`. Stored when the worker starts; what an earlier
   * version said and no living process says any more comes no more.
   *
   * @default none, and those of others are left alone
   */
  readonly schedules?: readonly ScheduleDeclaration[];
  /** A stable name for people: shown with the process, never used to tell processes apart. */
  readonly name?: string;
}

/** `state` is required as soon as one handler names the type of its `ctx.state`. */
export type WorkerOptions<State> = WorkerSettings &
  (unknown extends State
    ? { readonly state?: StateFactory<unknown> }
    : { readonly state: StateFactory<State> });

/** Makes what handlers get as `ctx.state`; disposed after the last handler when it can be. */
export type StateFactory<State> = (jobs: Jobs) => State | Promise<State>;

/** A worker's options, checked, defaults filled in. */
export interface WorkerPlan {
  readonly handlers: Map<string, AnyJobDefinition>;
  /** Slots by queue; `undefined` = every queue there is. */
  readonly queues: Map<string, number> | undefined;
  /** They are those of the definitions: nobody has named any. */
  readonly isQueuesOpen: boolean;
  readonly concurrency: number;
  readonly maxConcurrency: number;
  readonly refillBelow: number;
  readonly threads: number;
  readonly shutdownTimeoutMs: number;
  readonly timeoutGraceMs: number;
  readonly slowAfterMs: number;
  readonly blockedAfterMs: number;
  readonly stuckAfterMs: number;
  readonly pollIntervalMs: number;
  readonly name: string | undefined;
  readonly schedules: readonly ScheduleDeclaration[] | undefined;
}

const KNOWN: readonly (keyof WorkerSettings | "state")[] = [
  "queues",
  "concurrency",
  "maxConcurrency",
  "refillBelow",
  "threads",
  "shutdownTimeout",
  "timeoutGrace",
  "slowAfter",
  "blockedAfter",
  "stuckAfter",
  "pollInterval",
  "name",
  "schedules",
  "state",
];

/** @throws InvalidOptionError, DuplicateJobError or MissingHandlerError */
export function planWorker(
  definitions: readonly AnyJobDefinition[],
  options: WorkerSettings,
  defaultQueue: string = builtIn.queue,
): WorkerPlan {
  if (!Array.isArray(definitions) || definitions.length === 0) {
    throw new InvalidOptionError("definitions", definitions, "Give the worker at least one definition.");
  }
  checkKnown("worker option", options, KNOWN);
  const { state } = options as { readonly state?: unknown };
  if (state !== undefined && typeof state !== "function") {
    throw new InvalidOptionError(
      "state",
      state,
      "Use a function that makes it: it is called once at the start.",
    );
  }
  const handlers = new Map<string, AnyJobDefinition>();
  for (const definition of definitions as readonly AnyJobDefinition[]) addHandler(handlers, definition);
  const concurrency = slots(options.concurrency ?? 10, "concurrency");
  const maxConcurrency =
    options.maxConcurrency === undefined
      ? Number.POSITIVE_INFINITY
      : slots(options.maxConcurrency, "maxConcurrency");
  const refillBelow =
    options.refillBelow === undefined ? maxConcurrency : slots(options.refillBelow, "refillBelow");
  if (refillBelow > maxConcurrency) {
    throw new InvalidOptionError(
      "refillBelow",
      refillBelow,
      `Use at most maxConcurrency, ${maxConcurrency}.`,
    );
  }
  return {
    handlers,
    queues: queuesOf(definitions as readonly AnyJobDefinition[], options.queues, concurrency, defaultQueue),
    isQueuesOpen: options.queues === undefined,
    concurrency,
    maxConcurrency,
    refillBelow,
    threads:
      options.threads === undefined
        ? Math.min(availableParallelism(), limits.threads)
        : slots(options.threads, "threads", limits.threads),
    shutdownTimeoutMs: toMs(options.shutdownTimeout ?? "25s", "shutdownTimeout"),
    timeoutGraceMs: toMs(options.timeoutGrace ?? "30s", "timeoutGrace"),
    slowAfterMs: patience(options.slowAfter ?? "5m", "slowAfter"),
    blockedAfterMs: toMs(options.blockedAfter ?? "1s", "blockedAfter", { min: 10 }),
    stuckAfterMs: patience(options.stuckAfter ?? "5m", "stuckAfter"),
    pollIntervalMs: toMs(options.pollInterval ?? "2s", "pollInterval", { min: 10, max: 60_000 }),
    name: options.name === undefined ? undefined : checkName(options.name, "worker name"),
    schedules: options.schedules === undefined ? undefined : checkDeclarations(options.schedules),
  };
}

/** Plan for one more definition. @throws InvalidOptionError, DuplicateJobError or MissingHandlerError */
export function planAlso(plan: WorkerPlan, definition: AnyJobDefinition): void {
  addHandler(plan.handlers, definition);
  const { queue } = definition.options;
  if (plan.isQueuesOpen && typeof queue === "string" && plan.queues?.has(queue) === false) {
    plan.queues.set(queue, plan.concurrency);
  }
}

function addHandler(handlers: Map<string, AnyJobDefinition>, definition: AnyJobDefinition): void {
  if (typeof definition?.name !== "string") {
    throw new InvalidOptionError("definitions", definition, "Use what defineJob() returns.");
  }
  if (handlers.has(definition.name)) throw new DuplicateJobError(definition.name);
  if (definition.thread !== undefined) threadModule(definition.thread);
  if (!hasHandler(definition)) throw new MissingHandlerError(definition.name);
  handlers.set(definition.name, definition);
}

function queuesOf(
  definitions: readonly AnyJobDefinition[],
  queues: WorkerSettings["queues"],
  concurrency: number,
  defaultQueue: string,
): Map<string, number> | undefined {
  if (queues === "*") return undefined;
  const served = new Map<string, number>();
  if (queues === undefined) {
    served.set(defaultQueue, concurrency);
    for (const { options } of definitions) {
      if (typeof options.queue === "string") served.set(options.queue, concurrency);
    }
  } else if (Array.isArray(queues)) {
    for (const queue of queues as readonly string[]) served.set(checkName(queue, "queue"), concurrency);
  } else if (typeof queues === "object" && queues !== null) {
    for (const [queue, n] of Object.entries(queues)) {
      served.set(checkName(queue, "queue"), slots(n, `queues["${queue}"]`));
    }
  }
  if (served.size === 0) {
    throw new InvalidOptionError("queues", queues, 'Name at least one queue, or use "*" for all.');
  }
  return served;
}

function patience(value: Duration, option: string): number {
  return value === Number.POSITIVE_INFINITY ? value : toMs(value, option, { min: 1 });
}

function slots(value: unknown, option: string, most: number = limits.concurrency): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new InvalidOptionError(option, value, `Use an integer from 1 to ${most}.`);
}
