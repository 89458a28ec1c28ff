import type { Clock } from "./clock.ts";
import { Changer } from "./changer.ts";
import { Enqueuer } from "./enqueuer.ts";
import { InvalidOptionError, StateError } from "./errors.ts";
import { checkFilter, checkState, type JobFilter } from "./filter.ts";
import { JobHandle } from "./handle.ts";
import { type EnqueueArguments, Intake } from "./intake.ts";
import type { EnqueueItem } from "./item.ts";
import type { AnyJobDefinition, InputOf, JobOptions, ResultOf, StateOf } from "./job/definition.ts";
import type { Change, ChangeResult } from "./job/lifecycle.ts";
import { limits } from "./job/limits.ts";
import { checkName } from "./job/name.ts";
import { builtIn, checkDefaults, type EnqueueOptions, fixedOptions } from "./job/options.ts";
import { reasonText } from "./job/outcome.ts";
import type { Logger } from "./logger.ts";
import { type Queue, queueViews } from "./queues.ts";
import type { GroupResult, NewJob, ProcessInfo, Storage } from "./storage/storage.ts";
import { transactional } from "./storage/transactional.ts";
import { TransactionJobs } from "./transaction-jobs.ts";
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
  readonly #intake: Intake;
  readonly #waiter: Waiter;
  readonly #changer: Changer;
  readonly #workers = new Set<Worker>();
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(deps: JobsDeps) {
    this.#deps = { ...deps, defaults: checkDefaults(deps.defaults) };
    this.#enqueuer = new Enqueuer(deps.storage, deps.random);
    this.#intake = this.#makeIntake((jobs) => this.#enqueuer.add(jobs));
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
  enqueue<D extends AnyJobDefinition>(
    definition: D,
    ...[payload, options]: EnqueueArguments<D>
  ): Promise<JobHandle<ResultOf<D>>> {
    return this.#intake.enqueue(definition, payload, options) as Promise<JobHandle<ResultOf<D>>>;
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
  enqueueMany(
    first: AnyJobDefinition | readonly EnqueueItem[],
    payloads?: readonly unknown[],
    options?: Omit<EnqueueOptions, "id">,
  ): Promise<JobHandle[]> {
    return this.#intake.enqueueMany(first, payloads, options);
  }

  /**
   * The same inside a transaction of yours, for jobs in PostgreSQL: they are stored exactly when it commits.
   * Takes a transaction of pg, postgres.js, drizzle, kysely, knex, typeorm or prisma, on the database of the
   * jobs, or any object whose `query(text, values)` runs in one; see docs/transactions.md.
   *
   * @throws StateError when the jobs are stored elsewhere
   *
   * @example
   * await db.transaction(async (tx) => {
   *   const [order] = await tx.insert(orders).values(basket).returning();
   *   await jobs.in(tx).enqueue(sendReceipt, { orderId: order.id });
   * });
   */
  in(tx: object): TransactionJobs {
    const storage = transactional(this.#deps.storage, "jobs.in(tx)");
    return new TransactionJobs(this.#makeIntake((jobs) => storage.enqueueIn(tx, jobs)));
  }

  #makeIntake(store: (jobs: readonly NewJob[]) => Promise<GroupResult>): Intake {
    return new Intake({
      defaults: this.#deps.defaults,
      checkOpen: () => this.#checkOpen(),
      store,
      handle: (id, created) => new JobHandle(id, created, this, this.#waiter),
    });
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
        ...(storage.define === undefined
          ? {}
          : {
              define: () =>
                (storage as Required<Storage>).define(
                  definitions.map((one) => fixedOptions(one, this.#deps.defaults)),
                ),
            }),
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
