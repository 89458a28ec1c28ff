import type { Clock } from "../clock.ts";
import type { AnyJobDefinition, InputOf } from "../job/definition.ts";
import type { EnqueueOptions } from "../job/options.ts";
import type { Jobs } from "../jobs.ts";
import type { Logger } from "../logger.ts";

/** What a handler gets besides its payload. */
export interface JobContext<State = unknown, Setup = unknown> {
  readonly job: RunningJobInfo;
  /** What the definition's `setup` made for this run; `undefined` without one. */
  readonly setup: Setup;
  /** What the worker's `state` made, once for all its jobs. */
  readonly state: State;
  /**
   * Fires when the run should end. Its reason is a `TimeoutError`, `CancelledError`, `ShutdownError` or
   * `LeaseLostError`. Made when first looked at: a handler that ignores it pays nothing.
   */
  readonly signal: AbortSignal;
  /** To enqueue from inside, with everything that works outside. */
  readonly jobs: Jobs;
  /** Values that survive retries, crashes and reschedules. Gone when the job completes or is cancelled. */
  readonly checkpoint: Checkpoint;
  /**
   * Keep a result before the end; it stays whatever becomes of the run, and a returned value replaces it.
   *
   * @throws InvalidValueError when JSON cannot carry it
   * @throws LeaseLostError when this process no longer holds the job
   */
  setResult(value: unknown): Promise<void>;
  /**
   * Complete the job inside a transaction of yours, for jobs in PostgreSQL: what you write there and the
   * completion take effect together or not at all. Takes what `jobs.in(tx)` takes; see docs/transactions.md.
   * Resolves to the result, which is stored with the completion; what the handler returns afterwards is not.
   * When the transaction does not commit, what the handler throws or returns then counts: return the answer
   * of this call from the handler, let the failure of the transaction throw, or complete in another one.
   *
   * @throws LeaseLostError when this process no longer holds the job, or has completed it already: let it
   * roll the transaction back
   * @throws InvalidValueError when JSON cannot carry the result
   * @throws StateError when the jobs are stored elsewhere
   */
  completeIn<T = undefined>(tx: object, result?: T): Promise<T>;
  /**
   * Tell how far the run is; `jobs.get()` shows the newest. Saved at most twice a second, and before the run ends;
   * what cannot be saved is no failure.
   *
   * @param done from 0 to 1
   * @param note what it is doing, in a few words
   * @throws InvalidOptionError
   */
  progress(done: number, note?: string): void;
  /**
   * The worker's logger, with the job's id, name and attempt added to the details. The last 100 messages of a job are
   * kept with it, without their details (`connect({ keepLogs: false })` keeps none).
   */
  readonly log: Logger;
  /** The clock that scheduling follows. */
  readonly clock: Clock;
}

/**
 * What a handler gets that runs in a thread. All of it works through the main thread; `state` and
 * `completeIn` do not reach that far and throw a `StateError`.
 */
export interface ThreadContext extends Pick<
  JobContext,
  "job" | "signal" | "checkpoint" | "setResult" | "progress" | "log"
> {
  /** To enqueue from inside. */
  readonly jobs: ThreadJobs;
  /** The clock that scheduling follows, to be read only. An injected one stands still between two messages. */
  readonly clock: Pick<Clock, "now">;
}

/** Enqueues from a thread. Options and errors are those of `Jobs`. */
export interface ThreadJobs {
  /** @param definition a definition, or the name of one that the worker has */
  enqueue<D extends AnyJobDefinition>(
    definition: D | string,
    payload?: InputOf<D>,
    options?: EnqueueOptions,
  ): Promise<EnqueuedJob>;
  /** All or nothing, in order. */
  enqueueMany<D extends AnyJobDefinition>(
    definition: D | string,
    payloads: readonly InputOf<D>[],
    options?: Omit<EnqueueOptions, "id">,
  ): Promise<EnqueuedJob[]>;
}

/** What became of an enqueue from a thread. */
export interface EnqueuedJob {
  readonly id: string;
  /** `false` when the enqueue met a job that was there already. */
  readonly created: boolean;
  readonly status: "created" | "existing" | "replaced";
}

/** The running job, as its handler sees it. */
export interface RunningJobInfo {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  /** 1 for the first run. */
  readonly attempt: number;
  /** Retries after the first attempt; `Infinity` = without end. */
  readonly maxRetries: number;
  readonly createdAt: Date;
  readonly runAt: Date;
  readonly tags: readonly string[];
  /** For a job that a schedule made: the tick it is for. Unlike `runAt` it stays through retries. */
  readonly tickAt?: Date;
}

/** A job as its `setup` sees it. */
export interface SetupJob<Payload = unknown> extends RunningJobInfo {
  /** As the handler gets it. */
  readonly payload: Payload;
}

/** JSON values by key, saved durably and fenced by the lease. */
export interface Checkpoint {
  /** As saved by this or an earlier run; `undefined` when there is none. */
  get<T = unknown>(key: string): T | undefined;
  /**
   * @throws InvalidValueError when JSON cannot carry it or the job's checkpoints grow too large
   * @throws LeaseLostError when this process no longer holds the job
   */
  set(key: string, value: unknown): Promise<void>;
  /** @throws LeaseLostError when this process no longer holds the job */
  remove(key: string): Promise<void>;
}
