import type { Duration } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import type { JobContext, ThreadContext } from "../worker/context.ts";
import type { Backoff } from "./backoff.ts";
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
export interface DefinitionOptions<Payload> extends Omit<JobOptions, "queue" | "priority" | "tags"> {
  readonly queue?: string | ((payload: Payload) => string);
  readonly priority?: number | ((payload: Payload) => number);
  readonly tags?: readonly string[] | ((payload: Payload) => readonly string[]);
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
  /** The module whose default export is the handler, run in a thread of the worker. Instead of `run`. */
  readonly thread?: URL;
  /** Heap of that thread, in MiB. */
  readonly threadMemoryMb?: number;
  /** Types only; never set. */
  readonly "~types"?: {
    readonly input: Input;
    readonly payload: Payload;
    readonly result: Result;
    readonly state: State;
  };
}

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
>(
  definition: DefinitionOptions<Payload> & {
    readonly name: Name;
    readonly payload?: StandardSchema<Input, Payload>;
  } & (
      | {
          readonly run?: (payload: Payload, ctx: JobContext<State>) => R;
          readonly thread?: never;
          readonly threadMemoryMb?: never;
        }
      | { readonly thread: URL; readonly threadMemoryMb?: number; readonly run?: never }
    ),
): JobDefinition<Name, Input, Payload, Returned<R>, State> {
  if (typeof definition !== "object" || definition === null) {
    throw new InvalidOptionError("definition", definition, "Use an object with at least a name.");
  }
  const { name, payload, run, thread, threadMemoryMb, ...options } = definition;
  const defined: JobDefinition<Name, Input, Payload, Returned<R>, State> = {
    name,
    schema: payload === undefined ? (json() as StandardSchema<Input, Payload>) : payload,
    options,
    ...(run === undefined ? {} : { run: run as unknown as Handler<Payload, Returned<R>, State> }),
    ...(thread === undefined ? {} : { thread }),
    ...(threadMemoryMb === undefined ? {} : { threadMemoryMb }),
  };
  checkDefinition(defined);
  return Object.freeze(defined);
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
  const bound: JobDefinition<Name, Input, Payload, Returned<R>, State> = {
    name: definition.name,
    schema: definition.schema,
    options: definition.options,
    run: run as unknown as Handler<Payload, Returned<R>, State>,
  };
  checkDefinition(bound, definition.run !== undefined || definition.thread !== undefined);
  return Object.freeze(bound);
}
