import type { Clock } from "./clock.ts";
import { Changer } from "./changer.ts";
import { Enqueuer } from "./enqueuer.ts";
import {
  DuplicateIdError,
  InvalidOptionError,
  InvalidPayloadError,
  PayloadTooLargeError,
  StateError,
} from "./errors.ts";
import { checkFilter, checkState, type JobFilter } from "./filter.ts";
import { JobHandle } from "./handle.ts";
import { type EnqueueItem, itemsOf } from "./item.ts";
import type { AnyJobDefinition, InputOf, JobOptions, ResultOf, StateOf } from "./job/definition.ts";
import type { Change, ChangeResult } from "./job/lifecycle.ts";
import { limits } from "./job/limits.ts";
import { checkName } from "./job/name.ts";
import {
  builtIn,
  checkDefaults,
  type EnqueueOptions,
  isUnchecked,
  resolveOptions,
  validatePayload,
} from "./job/options.ts";
import { reasonText } from "./job/outcome.ts";
import { payloadText } from "./job/payload.ts";
import type { Logger } from "./logger.ts";
import { type Queue, queueViews } from "./queues.ts";
import type { NewJob, ProcessInfo, Storage } from "./storage/storage.ts";
import { type Attempt, attemptView, type Job, jobView, toJobId } from "./view.ts";
import { Waiter } from "./waiter.ts";
import type { StateFactory, WorkerOptions } from "./worker/options.ts";
import { Worker } from "./worker/worker.ts";

/** What `connect` resolved for its `Jobs`. */
export interface JobsDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  readonly defaults: JobOptions;
  readonly beatEveryMs: number;
  readonly lostAfterMs: number;
}

/** What became of a request to cancel. */
export type CancelResult =
  /** It will not run (again). */
  | "cancelled"
  /** It runs: its signal fires within two seconds. A value it still returns wins. */
  | "asked"
  | "finished"
  | "missing";

/** A queue, or one job name in it. */
export interface PauseTarget {
  readonly queue: string;
  readonly name?: string;
}

/** The payload may be left out where its type allows `undefined`; it is stored as `null` then. */
type EnqueueArguments<D extends AnyJobDefinition> =
  undefined extends InputOf<D>
    ? [payload?: InputOf<D>, options?: EnqueueOptions]
    : [payload: InputOf<D>, options?: EnqueueOptions];

type UnionToIntersection<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void
  ? I
  : never;
/** What `ctx.state` must be for all handlers of a worker at once. */
export type WorkerState<D extends readonly AnyJobDefinition[]> = UnionToIntersection<StateOf<D[number]>>;
type WorkerArguments<S> = unknown extends S ? [options?: WorkerOptions<S>] : [options: WorkerOptions<S>];

/** What an application holds: enqueue, work, look, steer. Made by `connect`. */
export class Jobs implements AsyncDisposable {
  readonly #deps: JobsDeps;
  readonly #enqueuer: Enqueuer;
  readonly #waiter: Waiter;
  readonly #changer: Changer;
  readonly #workers = new Set<Worker>();
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(deps: JobsDeps) {
    this.#deps = { ...deps, defaults: checkDefaults(deps.defaults) };
    this.#enqueuer = new Enqueuer(deps.storage, deps.random);
    this.#waiter = new Waiter(deps.storage);
    this.#changer = new Changer(deps.storage);
  }

  get clock(): Clock {
    return this.#deps.clock;
  }

  // ── Enqueue ────────────────────────────────────────────────────────────────

  /**
   * Store a job. Resolves when it is durable; many at once share a commit.
   *
   * @throws InvalidPayloadError, PayloadTooLargeError or InvalidOptionError, with nothing stored
   * @throws DuplicateIdError when `options.id` belongs to a job with another payload
   * @throws OverloadedError, StorageUnavailableError, StorageFullError or StorageClosedError
   */
  async enqueue<D extends AnyJobDefinition>(
    definition: D,
    ...[payload, options]: EnqueueArguments<D>
  ): Promise<JobHandle<ResultOf<D>>> {
    // No await for a schema that answers at once: calls of one turn must share a batch.
    const made = this.#newJob(definition, payload, options);
    const job = made instanceof Promise ? await made : made;
    const [handle] = await this.#store([job]);
    return handle as JobHandle<ResultOf<D>>;
  }

  /**
   * Store many jobs: all or nothing, in order. At most 5,000 jobs and 16 MiB of payloads a call.
   *
   * @throws as {@link enqueue}, with nothing stored
   */
  enqueueMany<D extends AnyJobDefinition>(
    definition: D,
    payloads: readonly InputOf<D>[],
    options?: Omit<EnqueueOptions, "id">,
  ): Promise<JobHandle<ResultOf<D>>[]>;
  enqueueMany(items: readonly EnqueueItem[]): Promise<JobHandle[]>;
  async enqueueMany(
    first: AnyJobDefinition | readonly EnqueueItem[],
    payloads?: readonly unknown[],
    options?: Omit<EnqueueOptions, "id">,
  ): Promise<JobHandle[]> {
    const items = itemsOf(first, payloads, options);
    if (items.length > limits.enqueueJobs) {
      throw new InvalidOptionError(
        "enqueueMany",
        items.length,
        `Use at most ${limits.enqueueJobs} jobs a call.`,
      );
    }
    // Counted as they are made: a batch far too large must not be serialized whole before it is refused.
    let bytes = 0;
    const counted = (job: NewJob): NewJob => {
      bytes += Buffer.byteLength(job.payload);
      if (bytes > limits.enqueueBytes)
        throw new PayloadTooLargeError("The batch", bytes, limits.enqueueBytes);
      return job;
    };
    const made = items.map((one) => {
      const job = this.#newJob(one?.definition, one?.payload, one?.options);
      return job instanceof Promise ? job : counted(job);
    });
    const jobs: NewJob[] = made.some((job) => job instanceof Promise)
      ? (await Promise.all(made)).map((job, i) => (made[i] instanceof Promise ? counted(job) : job))
      : (made as NewJob[]);
    return jobs.length === 0 ? [] : this.#store(jobs);
  }

  /** The job to store. A promise only where the schema is asynchronous. */
  #newJob(
    definition: AnyJobDefinition,
    payload: unknown,
    options: EnqueueOptions | undefined,
  ): NewJob | Promise<NewJob> {
    this.#checkOpen();
    if (typeof definition?.schema?.["~standard"]?.validate !== "function") {
      throw new InvalidOptionError("definition", definition, "Use what defineJob() returns.");
    }
    // Without a schema anything goes, nothing included; a schema has its own opinion of `undefined`.
    const input = payload === undefined && isUnchecked(definition) ? null : payload;
    const checked = validatePayload(definition, input);
    const finish = (result: Awaited<typeof checked>): NewJob => {
      if (!result.ok) throw new InvalidPayloadError(definition.name, result.issues);
      // The schema's input is stored; its output is for the handler and for option functions.
      const text = payloadText(definition.name, input);
      return { ...resolveOptions(definition, result.payload, options, this.#deps.defaults), payload: text };
    };
    if (!(checked instanceof Promise)) return finish(checked);
    const finished = checked.then(finish);
    // When another job of its batch is refused first, nobody listens to this one any more.
    finished.catch(() => undefined);
    return finished;
  }

  async #store(jobs: readonly NewJob[]): Promise<JobHandle[]> {
    const result = await this.#enqueuer.add(jobs);
    if (!result.ok) {
      const { name, givenId } = jobs[result.index] as NewJob;
      if (result.refusal.existing === 0) {
        throw new InvalidOptionError(
          "id",
          givenId,
          `Two jobs "${name}" of this call have it, with different payloads.`,
        );
      }
      throw new DuplicateIdError(name, givenId ?? "", String(result.refusal.existing));
    }
    return result.jobs.map(
      ({ id, status }) => new JobHandle(String(id), status === "created", this, this.#waiter),
    );
  }

  // ── Work ───────────────────────────────────────────────────────────────────

  /**
   * A worker for these definitions; `start` it.
   *
   * @throws InvalidOptionError, DuplicateJobError or MissingHandlerError
   */
  worker<const D extends readonly AnyJobDefinition[]>(
    definitions: D,
    ...[options]: WorkerArguments<WorkerState<D>>
  ): Worker {
    this.#checkOpen();
    const { storage, clock, logger, random, beatEveryMs, lostAfterMs } = this.#deps;
    const worker = new Worker(
      {
        storage,
        clock,
        logger,
        random,
        beatEveryMs,
        lostAfterMs,
        jobs: this,
        defaultQueue: this.#deps.defaults.queue ?? builtIn.queue,
        stopped: (stopped) => this.#workers.delete(stopped),
      },
      definitions,
      (options === undefined ? {} : options) as WorkerOptions<unknown> & { state?: StateFactory<unknown> },
    );
    this.#workers.add(worker);
    return worker;
  }

  // ── Look ───────────────────────────────────────────────────────────────────

  /** A handle from an id that was kept somewhere. Nothing is asked of the storage. @throws InvalidOptionError */
  handle<Result = unknown>(id: string): JobHandle<Result> {
    toJobId(id);
    return new JobHandle<Result>(id, false, this, this.#waiter);
  }

  /** One job, or `undefined` when it is not in the storage. @throws InvalidOptionError */
  async get(id: string): Promise<Job | undefined> {
    const [stored] = await this.#deps.storage.get([toJobId(id)]);
    return stored === undefined ? undefined : jobView(stored);
  }

  /**
   * One page of the jobs in one state: available ones in the order they became so, scheduled by due time,
   * finished ones newest first. A page can be short and still have a `next` when `tag` filters.
   *
   * @param query.limit 1 to 1,000. @default 100
   * @param query.after `next` of the page before
   */
  async list(
    query: JobFilter & { readonly limit?: number; readonly after?: string },
  ): Promise<{ jobs: Job[]; next?: string }> {
    const { limit = 100, after, ...filter } = query ?? {};
    checkFilter(filter, ["state", "queue", "name", "tag"]);
    checkState(filter.state);
    if (after !== undefined && typeof after !== "string") {
      throw new InvalidOptionError("after", after, "Use `next` of the page before.");
    }
    if (!Number.isInteger(limit) || limit < 1 || limit > limits.listPage) {
      throw new InvalidOptionError("limit", limit, `Use an integer from 1 to ${limits.listPage}.`);
    }
    const { jobs, next } = await this.#deps.storage.list({
      ...filter,
      limit,
      ...(after === undefined ? {} : { after }),
    });
    return { jobs: jobs.map(jobView), ...(next === undefined ? {} : { next }) };
  }

  /** How many jobs there are; exact up to 10,000 at least. Never scans. */
  async count(filter: Partial<Omit<JobFilter, "tag">> = {}): Promise<{ n: number; exact: boolean }> {
    checkFilter(filter, ["state", "queue", "name"]);
    if (filter.state !== undefined) checkState(filter.state);
    return this.#deps.storage.count(filter);
  }

  /** The failed attempts of a job, oldest first: the first 10 and the last 40. */
  async attempts(id: string): Promise<Attempt[]> {
    return (await this.#deps.storage.attempts(toJobId(id))).map(attemptView);
  }

  /** Every queue with its counts by state and name, whether it is paused, and whether anybody serves it. */
  async queues(): Promise<Queue[]> {
    const { storage } = this.#deps;
    const [lanes, processes] = await Promise.all([storage.lanes(), storage.processes()]);
    return queueViews(lanes, processes);
  }

  /** The processes that work, or that were lost and still hold jobs. */
  processes(): Promise<ProcessInfo[]> {
    return this.#deps.storage.processes();
  }

  // ── Steer ──────────────────────────────────────────────────────────────────

  /** Cancel: a waiting job ends now; a running one is asked to. */
  async cancel(id: string, reason = "cancelled by request"): Promise<CancelResult> {
    const result = await this.#change(id, { kind: "cancel", reason: reasonText(reason) });
    if (result === "changed") return "cancelled";
    return result === "unchanged" ? "finished" : result;
  }

  /** Run again: a finished job with attempts anew, a scheduled one now. `false`: it waits or runs already, or is missing. */
  async retry(id: string): Promise<boolean> {
    return (await this.#change(id, { kind: "retry" })) === "changed";
  }

  /** Take a job out of the storage. `false`: it runs, or is missing. */
  async remove(id: string): Promise<boolean> {
    return (await this.#change(id, { kind: "remove" })) === "changed";
  }

  async #change(id: string, change: Change): Promise<ChangeResult> {
    return this.#changer.change(toJobId(id), change);
  }

  /**
   * Claim nothing more from a queue, or of one name in it, in the whole fleet and durably. Running jobs go on,
   * and what workers have read ahead still starts: at most what they run in a second.
   */
  async pause(target: PauseTarget): Promise<void> {
    return this.#deps.storage.configure(laneTarget(target), { paused: true });
  }

  async resume(target: PauseTarget): Promise<void> {
    return this.#deps.storage.configure(laneTarget(target), { paused: false });
  }

  // ── End ────────────────────────────────────────────────────────────────────

  /** Stop the workers, wait for enqueues under way, close the storage. Twice is fine. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const stops = await Promise.allSettled([...this.#workers].map((worker) => worker.stop()));
    await this.#enqueuer.close();
    await this.#changer.close();
    this.#waiter.close();
    await this.#deps.storage.close();
    // A state that could not be disposed is the caller's to know, but it must not keep the storage open.
    for (const stop of stops) if (stop.status === "rejected") throw stop.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkOpen(): void {
    // While workers stop, their handlers may still enqueue: only the storage says when it is too late.
    if (this.#closing !== undefined && this.#workers.size === 0) {
      throw new StateError("These jobs are closed. Connect again to go on.");
    }
  }
}

function laneTarget(target: PauseTarget): PauseTarget {
  const queue = checkName(target?.queue, "queue");
  return target.name === undefined ? { queue } : { queue, name: checkName(target.name, "name") };
}
