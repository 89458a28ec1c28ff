import { type Duration, toMs } from "./duration.ts";
import { InvalidValueError, JobCancelledError, JobFailedError, ResultGoneError } from "./errors.ts";
import { errorFromJob } from "./job/error.ts";
import type { CancelResult, Jobs } from "./jobs.ts";
import type { EnqueueResult } from "./storage/storage.ts";
import type { Job } from "./view.ts";
import { toJobId } from "./view.ts";
import type { Waiter } from "./waiter.ts";

/** A `setTimeout` beyond this would fire at once. */
const WAIT_MS_MAX = 2_147_483_647;

/** A job in the application's hand. It can be made again from the id alone: `jobs.handle(id)`. */
export class JobHandle<Result = unknown> {
  /** A decimal string, unique per storage. */
  readonly id: string;
  /** `false` when the enqueue met a job that was there already (or the handle was made from an id). */
  readonly created: boolean;
  /**
   * What the enqueue did: `"created"` a job, met an `"existing"` one by its id or unique key, or `"replaced"` what the
   * waiting holder of the unique key was to do. `"existing"` for a handle from an id.
   */
  readonly status: EnqueueResult["status"];
  readonly #jobs: Jobs;
  readonly #waiter: Waiter;

  /** @internal */
  constructor(id: string, status: EnqueueResult["status"], jobs: Jobs, waiter: Waiter) {
    this.id = id;
    this.created = status === "created";
    this.status = status;
    this.#jobs = jobs;
    this.#waiter = waiter;
  }

  /** The job as it stands now, or `undefined` when it is not in the storage. */
  get(): Promise<Job<unknown, Result> | undefined> {
    return this.#jobs.get(this.id) as Promise<Job<unknown, Result> | undefined>;
  }

  /**
   * Wait for the job to end and answer what its handler returned. Works before any worker runs, and when
   * every notification is lost. Nothing happens to the job when the wait ends early.
   *
   * @param options.timeout real time, 1 ms to 24 days
   * @param options.signal ends the wait with its reason
   * @throws JobFailedError when the job is dead, JobCancelledError, ResultGoneError, ResultTimeoutError
   */
  async result(options: { readonly timeout: Duration; readonly signal?: AbortSignal }): Promise<Result> {
    const timeoutMs = toMs(options?.timeout, "timeout", { min: 1, max: WAIT_MS_MAX });
    const job = await this.#waiter.finished(toJobId(this.id), timeoutMs, options.signal);
    if (job === undefined) throw new ResultGoneError(this.id);
    if (job.state === "cancelled") throw new JobCancelledError(this.id, job.reason ?? "no reason given");
    if (job.state === "dead") {
      const error = job.error ?? { name: "Error", message: "unknown" };
      throw new JobFailedError(this.id, `${error.name}: ${error.message}`, errorFromJob(error));
    }
    if (job.result === undefined && job.reason !== undefined) {
      // The reason is a sentence of its own that says the same of "The result".
      const problem = job.reason.replace(/^The result cannot be stored\. /, "");
      throw new InvalidValueError(`The result of job ${this.id}`, problem);
    }
    return (job.result === undefined ? undefined : JSON.parse(job.result)) as Result;
  }

  /** As `jobs.cancel(id)`. */
  cancel(reason?: string): Promise<CancelResult> {
    return this.#jobs.cancel(this.id, reason);
  }
}
