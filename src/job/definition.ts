import type { Duration } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import type { Middleware } from "../middleware.ts";
import type { JobContext, SetupJob, ThreadContext } from "../worker/context.ts";
import type { Backoff } from "./backoff.ts";
import type { DefinitionKeys } from "./key-options.ts";
import { checkDefinition } from "./options.ts";
import type { NoResult } from "./outcome.ts";
import { json, type StandardSchema } from "./schema.ts";

/**
 * The user's function. It returns the job's result (JSON), or {@link snooze}, {@link reschedule} or
 * {@link cancel}; it throws to fail the attempt.
 */
export type Handler<Payload, Result, State = unknown> = (
  payload: Payload,
  ctx: JobContext<State>,
) => Result | NoResult | Promise<Result | NoResult>;

/**
 * The default export of the module that a definition's `thread` names: a handler that runs in a thread of
 * the worker. Everything it gets and returns crosses by message.
 *
 * @example
 * import type { resize } from "./jobs.ts";
 *
 * const handler: ThreadHandler<typeof resize> = async ({ file, width }, ctx) => { … };
 * export default handler;
 */
export type ThreadHandler<D extends AnyJobDefinition, Result = unknown> = (
  payload: PayloadOf<D>,
  ctx: ThreadContext,
) => Result | NoResult | Promise<Result | NoResult>;

/** Options that can stand at a definition, at `connect` and at a call; see `docs/options.md`. */
export interface JobOptions {
  /** The queue it waits in. @default "default" */
  readonly queue?: string;
  /** Integer from −1000 to 1000; lower runs first. @default 0 */
  readonly priority?: number;
  /** Retries after the first attempt: an integer from 0, or `Infinity`. @default 5 */
  readonly maxRetries?: number;
  /** The wait before a retry. @default exponential({ first: "2s", factor: 2, max: "1h", jitter: 0.2 }) */
  readonly backoff?: Backoff;
  /** Longest run; then the signal fires and the attempt has failed. `Infinity` = no limit. @default "15m" */
  readonly timeout?: Duration;
  /** How long the finished job is kept: 0 = not at all, `Infinity` = for ever. */
  readonly retention?: RetentionOptions;
  /** Words to find it by: at most 20. @default [] */
  readonly tags?: readonly string[];
}

/** How long a finished job is kept, by how it ended. */
export interface RetentionOptions {
  /** @default "1d" */
  readonly completed?: Duration;
  /** @default "7d" */
  readonly cancelled?: Duration;
  /** @default "7d" */
  readonly dead?: Duration;
}

/** Options of a definition; where it makes sense, a function of the payload (the schema's output). */
export interface DefinitionOptions<Payload>
  extends Omit<JobOptions, "queue" | "priority" | "tags">, DefinitionKeys<Payload> {
  readonly queue?: string | ((payload: Payload) => string);
  readonly priority?: number | ((payload: Payload) => number);
  readonly tags?: readonly string[] | ((payload: Payload) => readonly string[]);
  /**
   * `"checkpoint"`: a run that set a checkpoint to something new before it failed begins a new series of attempts,
   * since it got further than the ones before. @default "never"
   */
  readonly resetAttempts?: "checkpoint" | "never";
  /** Most runs of this definition at once in one worker, over all its queues. 1 to 10,000. @default no limit of its own */
  readonly concurrency?: number;
}

/**
 * What a job is: a name, a payload type, options and, where it runs, a handler.
 * `Input` is what `enqueue` takes and what is stored, `Payload` what the handler gets.
 */
export interface JobDefinition<
  Name extends string = string,
  Input = never,
  Payload = unknown,
  Result = unknown,
  State = never,
> {
  readonly name: Name;
  readonly schema: StandardSchema<Input, Payload>;
  readonly options: DefinitionOptions<Payload>;
  readonly run?: Handler<Payload, Result, State>;
  /** What stands around its enqueues and runs, inside of `connect`'s. */
  readonly middleware?: readonly Middleware[];
  /** Prepares each run: what it returns is `ctx.setup`. */
  readonly setup?: (job: SetupJob<Payload>, ctx: JobContext<State>) => unknown;
  /** What spans of its runs say besides what all of them say. */
  readonly spanAttributes?: (payload: Payload) => SpanAttributes;
  /** The module whose default export is the handler, run in a thread of the worker. Instead of `run`. */
  readonly thread?: URL;
  /** Heap of that thread, in MiB. */
  readonly threadMemoryMb?: number;
  /** How many of these jobs are handled by one call; made by `defineBatchJob`. Instead of `run`. */
  readonly batch?: BatchHandling;
  /** Types only; never set. */
  readonly "~types"?: {
    readonly input: Input;
    readonly payload: Payload;
    readonly result: Result;
    readonly state: State;
  };
}

/** A handler of many jobs at once, as a definition keeps it. Its types are those of `defineBatchJob`. */
export interface BatchHandling {
  readonly maxBatch: number;
  readonly maxWaitMs: number;
  readonly run: (items: readonly never[], ctx: never) => unknown;
}

/** What a definition puts around its enqueues and runs. */
export interface DefinitionAround<Input, Payload> {
  readonly middleware?: readonly Middleware<NoInfer<Input>>[];
  readonly spanAttributes?: (payload: Payload) => SpanAttributes;
}

/** What a span says: never a payload by itself. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** Any definition: what lists of definitions hold. */
// oxlint-disable-next-line typescript/no-explicit-any -- variance: a list holds definitions of all types
export type AnyJobDefinition = JobDefinition<string, any, any, any, any>;

/** What `enqueue` takes for a definition. */
export type InputOf<D> =
  D extends JobDefinition<string, infer Input, infer _P, infer _R, infer _S> ? Input : never;
/** What the handler gets: the schema's output. */
export type PayloadOf<D> =
  D extends JobDefinition<string, infer _I, infer Payload, infer _R, infer _S> ? Payload : never;
/** What a definition's `run` returns, as `result()` answers it. */
export type ResultOf<D> =
  D extends JobDefinition<string, infer _I, infer _P, infer Result, infer _S> ? Result : never;
/** What a definition's handler needs as `ctx.state`. */
export type StateOf<D> =
  D extends JobDefinition<string, infer _I, infer _P, infer _R, infer State> ? State : never;

/** A result as it comes back through JSON: what a handler returned, less the directives. */
type Returned<R> = Exclude<Awaited<R>, NoResult>;

/**
 * Define a job.
 *
 * @param definition.name unique name: 1 to 200 characters, no control characters
 * @param definition.payload any Standard Schema, or `json<T>()`. Checked at enqueue and before a run. @default json<unknown>()
 * @param definition.run the handler. What it returns is the result and goes through JSON: no Date, Map or BigInt. Leave it out where jobs are only enqueued, and bind it with {@link implement}
 * @param definition.thread instead of `run`: the module whose default export is the handler, for work that keeps a processor busy. It runs in a thread: see docs/threads.md
 * @param definition.threadMemoryMb heap of that thread, 32 to 65,536 MiB; a run that needs more fails alone. @default 512
 * @param definition.setup prepares each run from its job, before the handler and within the attempt: what it returns is `ctx.setup`, and is disposed after the run if it can be. Write it before `run`, which gets its type from it
 * @param definition.middleware what stands around its enqueues and runs: see docs/middleware.md
 * @param definition.spanAttributes what spans of its runs say besides: see docs/telemetry.md
 * @throws InvalidOptionError
 *
 * @example
 * const greet = defineJob({
 *   name: "greet",
 *   payload: json<{ who: string }>(),
 *   run: ({ who }) => `Hello, ${who}!`,
 * });
 */
export function defineJob<
  const Name extends string,
  Input = unknown,
  Payload = Input,
  R = unknown,
  State = unknown,
  Setup = unknown,
>(
  definition: DefinitionOptions<Payload> & {
    readonly name: Name;
    readonly payload?: StandardSchema<Input, Payload>;
  } & DefinitionAround<Input, Payload> &
    (
      | {
          readonly setup?: (job: SetupJob<Payload>, ctx: JobContext<State>) => Setup;
          readonly run?: (payload: Payload, ctx: JobContext<State, Awaited<Setup>>) => R;
          readonly thread?: never;
          readonly threadMemoryMb?: never;
        }
      | {
          readonly thread: URL;
          readonly threadMemoryMb?: number;
          readonly run?: never;
          readonly setup?: never;
        }
    ),
): JobDefinition<Name, Input, Payload, Returned<R>, State>;
/**
 * The same handler and payload under another name, with its own options and more middleware inside of the base's.
 *
 * @example
 * const greetLoudly = defineJob(greet, { name: "greet-loudly", queue: "loud", middleware: [loud] });
 */
export function defineJob<const Name extends string, Input, Payload, Result, State>(
  base: JobDefinition<string, Input, Payload, Result, State>,
  changes: DefinitionOptions<Payload> & { readonly name: Name } & DefinitionAround<Input, Payload>,
): JobDefinition<Name, Input, Payload, Result, State>;
export function defineJob(definition: Whole | AnyJobDefinition, changes?: Whole): AnyJobDefinition {
  if (typeof definition !== "object" || definition === null) {
    throw new InvalidOptionError("definition", definition, "Use an object with at least a name.");
  }
  return changes === undefined
    ? define(definition as Whole)
    : defineAnew(definition as AnyJobDefinition, changes);
}

/** A definition as it is written, of whatever types. */
type Whole = DefinitionOptions<unknown> &
  DefinitionAround<unknown, unknown> &
  Partial<Omit<AnyJobDefinition, "schema" | "options">> & {
    readonly name: string;
    readonly payload?: StandardSchema;
  };

function define(definition: Whole): AnyJobDefinition {
  const { name, payload, run, thread, threadMemoryMb, setup, middleware, spanAttributes, ...options } =
    definition;
  const defined = {
    name,
    schema: payload === undefined ? json() : payload,
    options,
    ...present({ run, thread, threadMemoryMb, setup, middleware, spanAttributes }),
  } as AnyJobDefinition;
  checkDefinition(defined);
  return Object.freeze(defined);
}

function defineAnew(base: AnyJobDefinition, changes: Whole): AnyJobDefinition {
  if (typeof base.schema?.["~standard"]?.validate !== "function" || typeof changes !== "object") {
    throw new InvalidOptionError(
      "definition",
      base,
      "Use what defineJob() returns, and an object with a name.",
    );
  }
  for (const fixed of ["payload", "run", "thread", "threadMemoryMb", "setup", "batch"] as const) {
    if (changes[fixed] !== undefined) {
      throw new InvalidOptionError(
        fixed,
        changes[fixed],
        "It is the base's. Define another job for another one.",
      );
    }
  }
  const { name, middleware, spanAttributes, ...options } = changes;
  const all = [...(base.middleware ?? []), ...(middleware ?? [])];
  const defined = {
    ...base,
    name,
    options: { ...base.options, ...options },
    ...(all.length === 0 ? {} : { middleware: all }),
    ...present({ spanAttributes }),
  } as AnyJobDefinition;
  checkDefinition(defined);
  return Object.freeze(defined);
}

/** Without what is undefined: a definition says what it has. */
function present(fields: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/**
 * Bind a handler to a definition that has none, so that producers need not import it.
 * The handler's result must fit the definition's if that names one.
 *
 * @throws InvalidOptionError when `run` is no function or the definition has a handler already
 */
export function implement<Name extends string, Input, Payload, R, State = unknown>(
  definition:
    | JobDefinition<Name, Input, Payload, unknown, never>
    | JobDefinition<Name, Input, Payload, unknown, unknown>,
  run: (payload: Payload, ctx: JobContext<State>) => R,
): JobDefinition<Name, Input, Payload, Returned<R>, State> {
  if (typeof definition?.name !== "string") {
    throw new InvalidOptionError("definition", definition, "Use what defineJob() returns.");
  }
  const { name, schema, options, middleware, spanAttributes } = definition;
  const bound = {
    ...{ name, schema, options, run: run as unknown as Handler<Payload, Returned<R>, State> },
    ...present({ middleware, spanAttributes }),
  } as JobDefinition<Name, Input, Payload, Returned<R>, State>;
  checkDefinition(bound, hasHandler(definition as AnyJobDefinition));
  return Object.freeze(bound);
}

/** Whether a worker can run its jobs, one way or another. */
export function hasHandler({
  run,
  thread,
  batch,
}: {
  readonly run?: unknown;
  readonly thread?: unknown;
  readonly batch?: unknown;
}): boolean {
  return run !== undefined || thread !== undefined || batch !== undefined;
}
