import type { AnyJobDefinition } from "../job/definition.ts";
import type { RunEnd } from "../job/lifecycle.ts";
import { validatePayload } from "../job/options.ts";
import { parsePayload } from "../job/payload.ts";
import { RolledBackError, ShutdownError, type TimeoutError } from "../errors.ts";
import type { ClaimedJob, Lease } from "../storage/storage.ts";
import type { JobEvent } from "./events.ts";
import type { Line } from "./line.ts";
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
  /** A completion was written in a transaction of the user: whether it has committed only the storage knows. */
  completedIn = false;
  cancelAsked: string | undefined;
  /** Checkpoint entries as JSON text, this run's own included. */
  checkpoint: Map<string, string> | undefined;
  /** Ends the thread in which it runs; absent when it runs in none. Too late is fine. */
  kill: ((reason: Error) => void) | undefined;
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
    const checked = checkedPayload(run, definition);
    const returned =
      checked instanceof Promise
        ? checked.then((done) => call(run, definition, done, context))
        : call(run, definition, checked, context);
    if (isThenable(returned)) {
      // A foreign thenable may call back twice, or throw: a real promise does neither.
      const promise = returned instanceof Promise ? returned : Promise.resolve(returned);
      promise.then(
        (value: unknown) => ended(run, endOf(run, endOfReturn(value))),
        (thrown: unknown) => ended(run, endOf(run, endOfThrow(thrown))),
      );
      return;
    }
    end = endOfReturn(returned);
  } catch (thrown) {
    end = endOfThrow(thrown);
  }
  ended(run, endOf(run, end));
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

function call(run: Run, definition: AnyJobDefinition, checked: Awaited<Checked>, context: unknown): unknown {
  if (!checked.ok) throw refusedPayload(run.job.name, checked);
  const handler = definition.run as (payload: unknown, ctx: unknown) => unknown;
  return handler(checked.payload, context);
}

function isThenable(value: unknown): value is Promise<never> {
  return (
    ((typeof value === "object" && value !== null) || typeof value === "function") &&
    "then" in value &&
    typeof (value as { then: unknown }).then === "function"
  );
}
