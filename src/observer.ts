import type { Logger } from "./logger.ts";
import type { Middleware } from "./middleware.ts";
import type { Storage } from "./storage/storage.ts";
import type { JobEvent } from "./worker/events.ts";

/** What watches jobs from outside and takes no part: telemetry. Several may watch at once. */
export interface Observer {
  /** Around a call of `enqueue` or `enqueueMany`. `store` takes the trace that its jobs are to carry. */
  enqueued<T>(call: EnqueueCall, store: (trace: string | undefined) => Promise<T>): Promise<T>;
  /** Around a whole run, the check of its payload included. */
  ran(job: ObservedRun, run: () => unknown): unknown;
  /** The storage of the jobs that it watches, as it wants it to be called. */
  watching?<S extends Storage>(storage: S): S;
  /** A run was decided. */
  decided(run: DecidedRun): void;
}

/** A call of `enqueue` or `enqueueMany`. */
export interface EnqueueCall {
  /** The definitions' names, each once. */
  readonly names: readonly string[];
  readonly count: number;
}

/** A run as observers see it: never its payload. */
export interface ObservedRun extends JobEvent {
  /** The same for a run in all that is told of it. */
  readonly run: object;
  /** A W3C `traceparent`, and `tracestate` behind a line break. */
  readonly trace: string | undefined;
  /** What the definition's `spanAttributes` said. Asked only by who wants to know. */
  attributes(): Readonly<Record<string, string | number | boolean>>;
}

/** A run that ended and what becomes of its job. */
export interface DecidedRun extends JobEvent {
  /** The same for a run in all that is told of it. */
  readonly run: object;
  /** `retried` and `dead` have failed; `lost`: its job had been taken away, and its end changed nothing. */
  readonly outcome:
    | "completed"
    | "retried"
    | "dead"
    | "cancelled"
    | "snoozed"
    | "rescheduled"
    | "released"
    | "lost";
  /** From the earliest start it was given to its start. */
  readonly waitedMs: number;
  /** Whether it was given a start later than its enqueue, or than its last end. */
  readonly wasTimed: boolean;
  readonly durationMs: number;
  readonly error: { readonly name: string; readonly message: string } | undefined;
}

export function isObserver(middleware: Middleware | Observer): middleware is Observer {
  return "decided" in middleware && typeof middleware.decided === "function";
}

/** An observer that cannot harm what it watches: what it throws is told once, and jobs go on as if it were not there. */
export function harmless(observer: Observer, logger: Logger): Observer {
  let isTold = false;
  const tell = (error: unknown): void => {
    if (isTold) return;
    isTold = true;
    logger.error(`telemetry failed, and jobs go on without it: ${String(error)}; this is told once`);
  };
  /** What it stands around happens once, and ends as it ends by itself. */
  const around = async <T>(
    inside: (trace?: string) => Promise<T>,
    observe: (once: (trace?: string) => Promise<T>) => unknown,
  ): Promise<T> => {
    let done: Promise<T> | undefined;
    const once = (trace?: string): Promise<T> => (done ??= inside(trace));
    try {
      await observe(once);
    } catch (error) {
      const isOwn = await once().then(
        () => true,
        (failure: unknown) => failure !== error,
      );
      if (isOwn) tell(error);
    }
    return once();
  };
  return {
    ...(observer.watching === undefined ? {} : { watching: observer.watching.bind(observer) }),
    enqueued: (call, store) =>
      around(
        (trace) => store(trace),
        (once) => observer.enqueued(call, once),
      ),
    ran: (job, run) =>
      around(
        async () => run(),
        (once) => observer.ran(job, once),
      ),
    decided: (run) => {
      try {
        observer.decided(run);
      } catch (error) {
        tell(error);
      }
    },
  };
}

/** What `connect` was told to put around enqueues and runs. */
export interface Surroundings {
  readonly middleware: readonly Middleware[];
  readonly observers: readonly Observer[];
  /** Whether what handlers log is kept with their jobs. */
  readonly keepsLogs: boolean;
}

export const NO_SURROUNDINGS: Surroundings = { middleware: [], observers: [], keepsLogs: true };
