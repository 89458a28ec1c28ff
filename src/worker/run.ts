import type { AnyJobDefinition } from "../job/definition.ts";
import { serializeError } from "../job/error.ts";
import type { RunEnd } from "../job/lifecycle.ts";
import { limits } from "../job/limits.ts";
import { validatePayload } from "../job/options.ts";
import { directiveOf, RetryAfter } from "../job/outcome.ts";
import { parsePayload, valueText } from "../job/payload.ts";
import {
  InvalidPayloadError,
  RolledBackError,
  ShutdownError,
  type TimeoutError,
  UnrecoverableError,
} from "../errors.ts";
import type { ClaimedJob, Lease } from "../storage/storage.ts";
import type { JobEvent } from "./events.ts";
import type { Line } from "./line.ts";

/** One run of one job in this process, from start to settle. */
export class Run {
  readonly job: ClaimedJob;
  readonly line: Line;
  readonly startedAt: number;
  /** When the timeout fires, by the clock; `Infinity` = never. */
  readonly deadline: number;
  /** The storage knows that it started. A marked job is known to have started by its claim. */
  reported: boolean;
  /** Its end no longer counts: it was settled as overdue, or its lease is gone. */
  over = false;
  /** Set when the run outlived its timeout, whatever had fired its signal before. */
  timedOut: TimeoutError | undefined;
  warnedSlow = false;
  /** A completion was written in a transaction of the user: whether it has committed only the storage knows. */
  completedIn = false;
  cancelAsked: string | undefined;
  /** Checkpoint entries as JSON text, this run's own included. */
  checkpoint: Map<string, string> | undefined;
  #controller: AbortController | undefined;
  #abortReason: Error | undefined;

  constructor(job: ClaimedJob, line: Line, now: number) {
    this.job = job;
    this.line = line;
    this.startedAt = now;
    this.deadline = job.timeoutMs === null ? Number.POSITIVE_INFINITY : now + job.timeoutMs;
    this.reported = job.marked;
    this.cancelAsked = job.cancelAsked;
  }

  get lease(): Lease {
    const { id, generation, token } = this.job;
    return { id, generation, token };
  }

  get id(): number {
    return this.job.id;
  }
  get event(): JobEvent {
    return eventOf(this.job);
  }

  get abortReason(): Error | undefined {
    return this.#abortReason;
  }

  /** Made when first asked for: a controller costs more than a whole run without one. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  /** Fire the signal. The first reason stands. */
  abort(reason: Error): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }
}

export function eventOf(job: ClaimedJob): JobEvent {
  return { id: String(job.id), name: job.name, queue: job.queue, attempt: job.attempt + 1 };
}

/** Run the handler; whatever happens becomes a value and `ended` is called once. */
export function execute(
  run: Run,
  definition: AnyJobDefinition,
  context: unknown,
  ended: (run: Run, end: RunEnd) => void,
): void {
  let end: RunEnd;
  try {
    const checked = check(run, definition);
    const returned =
      checked instanceof Promise
        ? checked.then((done) => call(run, definition, done, context))
        : call(run, definition, checked, context);
    if (isThenable(returned)) {
      // A foreign thenable may call back twice, or throw: a real promise does neither.
      const promise = returned instanceof Promise ? returned : Promise.resolve(returned);
      promise.then(
        (value: unknown) => ended(run, endOfReturn(run, value)),
        (thrown: unknown) => ended(run, endOfThrow(run, thrown)),
      );
      return;
    }
    end = endOfReturn(run, returned);
  } catch (thrown) {
    end = endOfThrow(run, thrown);
  }
  ended(run, end);
}

type Checked = ReturnType<typeof validatePayload>;

/** The stored payload is bad: no retry will make it good. Not to be taken for an error the handler throws. */
class RefusedPayload extends Error {}

function check(run: Run, definition: AnyJobDefinition): Checked {
  try {
    return validatePayload(definition, parsePayload(run.job.payload));
  } catch (problem) {
    throw new RefusedPayload("", { cause: problem });
  }
}

function call(run: Run, definition: AnyJobDefinition, checked: Awaited<Checked>, context: unknown): unknown {
  if (!checked.ok) {
    // A schema that failed (a bug, a service it asks) may know better next time.
    if ("thrown" in checked) throw checked.thrown;
    throw new RefusedPayload("", { cause: new InvalidPayloadError(run.job.name, checked.issues) });
  }
  const handler = definition.run as (payload: unknown, ctx: unknown) => unknown;
  return handler(checked.payload, context);
}

function endOfReturn(run: Run, value: unknown): RunEnd {
  // Too late is too late, also for a handler that comes back with a value after all.
  if (run.timedOut !== undefined) return endOfThrow(run, run.timedOut);
  const directive = directiveIn(value);
  if (directive !== undefined) {
    switch (directive.kind) {
      case "snooze":
        return { kind: "snoozed", later: directive.later };
      case "reschedule":
        return { kind: "rescheduled", later: directive.later };
      case "cancel":
        return { kind: "cancelled", reason: directive.reason };
    }
  }
  // That it was completed is not its handler's word any more. After a commit this end changes nothing.
  if (run.completedIn) return { kind: "threw", error: serializeError(new RolledBackError(run.id)) };
  if (value === undefined) return { kind: "returned" };
  try {
    return { kind: "returned", result: valueText("The result", value, limits.resultBytes) };
  } catch (problem) {
    // The work is done: running it again because its result is odd would do it twice.
    return { kind: "returned", note: serializeError(problem).message };
  }
}

function endOfThrow(run: Run, thrown: unknown): RunEnd {
  if (run.abortReason instanceof ShutdownError) return { kind: "released" };
  if (run.timedOut !== undefined) return { kind: "threw", error: serializeError(run.timedOut) };
  if (isA(thrown, RefusedPayload)) {
    return { kind: "threw", error: serializeError(thrown.cause), fatal: true };
  }
  const error = serializeError(thrown);
  if (isA(thrown, RetryAfter)) return { kind: "threw", error, retryAfterMs: thrown.delayMs };
  if (isA(thrown, UnrecoverableError)) return { kind: "threw", error, fatal: true };
  return { kind: "threw", error };
}

/** `instanceof` runs the value's own code when it is a proxy, and that may throw. */
function isA<T>(value: unknown, type: abstract new (...args: never[]) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

function directiveIn(value: unknown): ReturnType<typeof directiveOf> {
  try {
    return directiveOf(value);
  } catch {
    return undefined;
  }
}

function isThenable(value: unknown): value is Promise<never> {
  return (
    ((typeof value === "object" && value !== null) || typeof value === "function") &&
    "then" in value &&
    typeof (value as { then: unknown }).then === "function"
  );
}
