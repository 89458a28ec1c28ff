import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import type { JobContext } from "../worker/context.ts";
import {
  type AnyJobDefinition,
  type DefinitionAround,
  type DefinitionOptions,
  hasHandler,
  type JobDefinition,
} from "./definition.ts";
import { limits } from "./limits.ts";
import { checkDefinition } from "./options.ts";
import type { NoResult } from "./outcome.ts";
import { json, type StandardSchema } from "./schema.ts";

/** Jobs of one call where nothing is said. */
const MAX_BATCH = 25;
/** Longest time that jobs may be made to wait for others. */
const MAX_WAIT_MS = 60_000;

/** One job of a batch. What is said of it counts when the handler ends; the last word stands. */
export interface BatchItem<Payload = unknown> extends Pick<
  JobContext,
  "job" | "checkpoint" | "progress" | "log"
> {
  readonly payload: Payload;
  /** Fires when this job should end: with the batch, when it is cancelled, or when its lease is lost. */
  readonly signal: AbortSignal;
  /** It is done, also when the handler throws later. @throws InvalidValueError when JSON cannot carry the result */
  complete(result?: unknown): void;
  /** Its attempt has failed: it is retried as if a handler of its own had thrown this. */
  fail(error: unknown): void;
  /** Too early: it runs again later, no attempt is spent. */
  snooze(until: Duration | Date): void;
  /** This cycle is done: it runs again later, its attempts start anew. */
  reschedule(when: Duration | Date): void;
  /** Its attempt has failed, and this is the wait before the next one. */
  retryAfter(delay: Duration, message?: string): void;
  /** It ends as cancelled. */
  cancel(reason: string): void;
}

/** What the handler of a batch gets besides its jobs. */
export interface BatchContext<State = unknown> extends Pick<
  JobContext<State>,
  "state" | "jobs" | "log" | "clock"
> {
  readonly name: string;
  readonly queue: string;
  /**
   * Fires when the whole batch should end: its time is up, the worker stops, or none of its jobs is its own any more.
   * The time of a batch is the longest `timeout` of its jobs.
   */
  readonly signal: AbortSignal;
  /**
   * Complete jobs inside a transaction of yours, for jobs in PostgreSQL: what you write there and the completions take
   * effect together or not at all. Begin with it, and write what belongs to `completed` only: `stale` jobs are held by
   * somebody else by now, who does their work.
   *
   * @param tx what `jobs.in(tx)` takes
   * @param items those to complete. @default all of which nothing else was said
   * @throws StateError when the jobs are stored elsewhere
   */
  completeIn<Item extends BatchItem>(tx: object, items?: readonly Item[]): Promise<CompletedIn<Item>>;
  /**
   * Do the work of one job in a savepoint of your transaction and complete the job there. When it throws, the
   * transaction goes back to the savepoint and this job alone has failed. Failures that are about the transaction
   * (40001, 40P01, a lost connection) are thrown: repeat or leave it.
   *
   * @param work gets the transaction to write through, which is not `tx` with every driver
   * @returns whether the work is done
   */
  isolate<Tx extends object>(tx: Tx, item: BatchItem, work: (tx: Tx) => Promise<unknown>): Promise<boolean>;
  /**
   * Do the work of many jobs at once in a savepoint and complete them there. When it throws, the transaction goes back
   * to it, and the two halves are tried by themselves, until those that fail stand alone.
   *
   * @param work called with all of them, and with fewer after a failure
   * @returns those whose work is done
   */
  bisect<Tx extends object, Item extends BatchItem>(
    tx: Tx,
    items: readonly Item[],
    work: (tx: Tx, items: readonly Item[]) => Promise<unknown>,
  ): Promise<Item[]>;
}

/** What became of completions in a transaction. */
export interface CompletedIn<Item> {
  readonly completed: readonly Item[];
  /** No longer held by this process: nothing was done about them. */
  readonly stale: readonly Item[];
}

/**
 * What the handler of a batch returns: nothing, or for each job in its order a result, {@link snooze} and the like, or
 * the error with which it has failed. What was said through an item wins.
 */
export type BatchOutcomes = readonly unknown[] | undefined | void;

/** How jobs are handled together. */
export interface BatchOptions<Payload, R, State> {
  /** Most jobs in one call. 1 to 1,000. @default 25 */
  readonly maxBatch?: number;
  /** How long jobs wait here for others to join them. 0 to 1 min. @default 0: those that are ready go at once */
  readonly maxWait?: Duration;
  /**
   * The handler. A job of which it says nothing is completed when it returns; when it throws, every job of which it
   * has said nothing has failed with that.
   */
  readonly run: (items: readonly BatchItem<Payload>[], ctx: BatchContext<State>) => R;
}

/** Results as they come back: those of an array less its directives and errors; unknown where items say them. */
type Results<R> =
  Awaited<R> extends readonly (infer One)[] ? Exclude<Awaited<One>, NoResult | Error> : unknown;

/**
 * Define a job whose handler gets many at once: those of one queue that are ready, without waiting for more. Each has
 * an outcome, attempts and a backoff of its own. A call takes one slot, so `concurrency` counts calls.
 *
 * @throws InvalidOptionError
 *
 * @example
 * const index = defineBatchJob({
 *   name: "index",
 *   payload: json<{ page: string }>(),
 *   maxBatch: 100,
 *   async run(items, ctx) {
 *     await ctx.state.search.addAll(items.map(({ payload }) => payload.page));
 *   },
 * });
 */
export function defineBatchJob<
  const Name extends string,
  Input = unknown,
  Payload = Input,
  R extends BatchOutcomes | Promise<BatchOutcomes> = void,
  State = unknown,
>(
  definition: DefinitionOptions<Payload> &
    DefinitionAround<Input, Payload> &
    BatchOptions<Payload, R, State> & {
      readonly name: Name;
      readonly payload?: StandardSchema<Input, Payload>;
    },
): JobDefinition<Name, Input, Payload, Results<R>, State> {
  if (typeof definition !== "object" || definition === null) {
    throw new InvalidOptionError("definition", definition, "Use an object with a name and `run`.");
  }
  const { name, payload, run, maxBatch, maxWait, middleware, spanAttributes, ...options } = definition;
  const base = {
    ...{ name, schema: payload === undefined ? json() : payload, options },
    ...(middleware === undefined ? {} : { middleware }),
    ...(spanAttributes === undefined ? {} : { spanAttributes }),
  };
  return made(base, { run, maxBatch, maxWait }) as JobDefinition<Name, Input, Payload, Results<R>, State>;
}

/**
 * Bind a batch handler to a definition that has no handler, so that producers need not import it.
 *
 * @throws InvalidOptionError when the definition has a handler already
 */
export function implementBatch<
  Name extends string,
  Input,
  Payload,
  R extends BatchOutcomes | Promise<BatchOutcomes> = void,
  State = unknown,
>(
  definition:
    | JobDefinition<Name, Input, Payload, unknown, never>
    | JobDefinition<Name, Input, Payload, unknown, unknown>,
  batch: BatchOptions<Payload, R, State>,
): JobDefinition<Name, Input, Payload, Results<R>, State> {
  if (typeof definition?.name !== "string") {
    throw new InvalidOptionError("definition", definition, "Use what defineJob() returns.");
  }
  if (typeof batch !== "object" || batch === null) {
    throw new InvalidOptionError("batch", batch, "Use an object with `run`.");
  }
  const {
    run: _run,
    thread: _thread,
    threadMemoryMb: _heap,
    setup: _setup,
    batch: _batch,
    ...base
  } = definition;
  return made(base, batch, hasHandler(definition)) as JobDefinition<Name, Input, Payload, Results<R>, State>;
}

/** What a batch has in common with other definitions. */
type Base = Omit<AnyJobDefinition, "run" | "thread" | "threadMemoryMb" | "setup" | "batch">;

/** What would have to be done for each run, where there is one call for many. */
const FOR_ONE_RUN = {
  thread: "A batch runs in the worker's own thread: define a job of its own for the heavy part.",
  threadMemoryMb: "A batch runs in the worker's own thread.",
  setup: "A batch prepares its jobs in its handler.",
} as const;

function made(
  base: Base,
  {
    run,
    maxBatch = MAX_BATCH,
    maxWait = 0,
  }: { run: unknown; maxBatch?: number | undefined; maxWait?: Duration | undefined },
  hasHandlerAlready = false,
): AnyJobDefinition {
  if (typeof run !== "function") {
    throw new InvalidOptionError("run", run, "Use a function of the batch's items.");
  }
  for (const [option, remedy] of Object.entries(FOR_ONE_RUN)) {
    const value: unknown = (base.options as Readonly<Record<string, unknown>>)[option];
    if (value !== undefined) throw new InvalidOptionError(option, value, `Leave it out. ${remedy}`);
  }
  if (base.middleware?.some((one) => one.run !== undefined) === true) {
    throw new InvalidOptionError("middleware", base.middleware, "Around a batch there is only `enqueue`.");
  }
  if (!Number.isInteger(maxBatch) || maxBatch < 1 || maxBatch > limits.batchJobs) {
    throw new InvalidOptionError("maxBatch", maxBatch, `Use an integer from 1 to ${limits.batchJobs}.`);
  }
  const defined: AnyJobDefinition = {
    ...base,
    batch: {
      maxBatch,
      maxWaitMs: toMs(maxWait, "maxWait", { max: MAX_WAIT_MS }),
      run: run as (items: readonly never[], ctx: never) => unknown,
    },
  };
  checkDefinition(defined, hasHandlerAlready);
  return Object.freeze(defined);
}
