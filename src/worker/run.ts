import type { AnyJobDefinition, SpanAttributes } from "../job/definition.ts";
import type { RunEnd } from "../job/lifecycle.ts";
import { parsePayload } from "../job/payload.ts";
import { validatePayload } from "../job/validation.ts";
import { RolledBackError, ShutdownError, type TimeoutError } from "../errors.ts";
import type { ClaimedJob, Lease } from "../storage/storage.ts";
import type { JobEvent } from "./events.ts";
import type { Line } from "./line.ts";
import { isSurrounded, observed, throughMiddleware, withSetup } from "./around.ts";
import type { Journal } from "./journal.ts";
import type { RunContext } from "./run-context.ts";
import { endOfReturn, endOfThrow, RefusedPayload, refusedPayload } from "./thread/ending.ts";

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
  /** Those who watch from outside have been told how it ended. */
  isDecided = false;
  /** A completion was written in a transaction of the user: whether it has committed only the storage knows. */
  completedIn = false;
  cancelAsked: string | undefined;
  /** The end that its handler has stated before its own, as the handler of a batch may for each of its jobs. */
  said: RunEnd | undefined;
  /** Checkpoint entries as JSON text, this run's own included. */
  checkpoint: Map<string, string> | undefined;
  /** A checkpoint was set to something new, and the definition says that this begins a new series of attempts. */
  gotFurther = false;
  /** What it says of itself; absent until it says something. */
  journal: Journal | undefined;
  /** The payload as the handler gets it, kept only where somebody around the run asks. */
  payload: unknown;
  /** Ends the thread in which it runs; absent when it runs in none. Too late is fine. */
  kill: ((reason: Error) => void) | undefined;
  #controller: AbortController | undefined;
  #abortReason: Error | undefined;

  /** @param timeoutMs that of its batch, where it runs with others */
  constructor(job: ClaimedJob, line: Line, now: number, timeoutMs: number | null = job.timeoutMs) {
    this.job = job;
    this.line = line;
    this.startedAt = now;
    this.deadline = timeoutMs === null ? Number.POSITIVE_INFINITY : now + timeoutMs;
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

  /** What the definition has to say of this run, for spans. It only describes: what goes wrong leaves it out. */
  spanAttributes({ spanAttributes }: AnyJobDefinition): SpanAttributes {
    if (spanAttributes === undefined || this.payload === undefined) return {};
    try {
      return spanAttributes(this.payload) ?? {};
    } catch {
      return {};
    }
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
  context: RunContext,
  ended: (run: Run, end: RunEnd) => void,
): void {
  let end: RunEnd;
  try {
    const { around } = context;
    const returned = isSurrounded(definition, around)
      ? observed(run, definition, around, () => handled(run, definition, context, surroundedCall))
      : handled(run, definition, context, call);
    if (isThenable(returned)) {
      // A foreign thenable may call back twice, or throw: a real promise does neither.
      const promise = returned instanceof Promise ? returned : Promise.resolve(returned);
      promise.then(
        (value: unknown) => finish(run, endOf(run, endOfReturn(value)), ended),
        (thrown: unknown) => finish(run, endOf(run, endOfThrow(thrown)), ended),
      );
      return;
    }
    end = endOfReturn(returned);
  } catch (thrown) {
    end = endOfThrow(thrown);
  }
  finish(run, endOf(run, end), ended);
}

/** The run is over as soon as its last words are saved: its lease goes with its settle. */
export function finish(run: Run, end: RunEnd, ended: (run: Run, end: RunEnd) => void): void {
  if (run.journal === undefined || !run.journal.isOpen) ended(run, end);
  else void run.journal.saved().then(() => ended(run, end));
}

type Call = typeof call;

function handled(run: Run, definition: AnyJobDefinition, context: RunContext, by: Call): unknown {
  const checked = checkedPayload(run, definition);
  return checked instanceof Promise
    ? checked.then((done) => by(run, definition, done, context))
    : by(run, definition, checked, context);
}

/** What the end of a handler means for its run, given what has happened to that meanwhile. */
export function endOf(run: Run, end: RunEnd): RunEnd {
  // Too late is too late, also for a handler that comes back with a value after all.
  if (run.timedOut !== undefined || end.kind === "threw") {
    if (run.abortReason instanceof ShutdownError) return { kind: "released" };
    return run.timedOut === undefined ? end : endOfThrow(run.timedOut);
  }
  // That it was completed is not its handler's word any more. After a commit this end changes nothing.
  if (run.completedIn && end.kind === "returned") return endOfThrow(new RolledBackError(run.id));
  return end;
}

export type Checked = ReturnType<typeof validatePayload>;

/** The stored payload as the handler gets it. @throws RefusedPayload when it is no JSON */
export function checkedPayload(run: Run, definition: AnyJobDefinition): Checked {
  try {
    return validatePayload(definition, parsePayload(run.job.payload));
  } catch (problem) {
    throw new RefusedPayload("", { cause: problem });
  }
}

function call(
  run: Run,
  definition: AnyJobDefinition,
  checked: Awaited<Checked>,
  context: RunContext,
): unknown {
  if (!checked.ok) throw refusedPayload(run.job.name, checked);
  const handler = definition.run as (payload: unknown, ctx: unknown) => unknown;
  return handler(checked.payload, context);
}

/** The same, with all that the program and the definition put around it. */
function surroundedCall(
  run: Run,
  definition: AnyJobDefinition,
  checked: Awaited<Checked>,
  context: RunContext,
): unknown {
  if (!checked.ok) throw refusedPayload(run.job.name, checked);
  run.payload = checked.payload;
  const handler = (): unknown => call(run, definition, checked, context);
  const prepared =
    definition.setup === undefined ? handler : () => withSetup(definition, context, checked.payload, handler);
  return throughMiddleware(definition, context, context.around, prepared);
}

function isThenable(value: unknown): value is Promise<never> {
  return (
    ((typeof value === "object" && value !== null) || typeof value === "function") &&
    "then" in value &&
    typeof (value as { then: unknown }).then === "function"
  );
}
