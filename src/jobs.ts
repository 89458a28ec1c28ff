import type { Clock } from "./clock.ts";
import { Changer } from "./changer.ts";
import { DeadJobs } from "./dead.ts";
import type { Duration } from "./duration.ts";
import { Enqueuer } from "./enqueuer.ts";
import { KeyHeldError, StateError } from "./errors.ts";
import { JobHandle } from "./handle.ts";
import { type EnqueueArguments, Intake } from "./intake.ts";
import type { EnqueueItem } from "./item.ts";
import type { AnyJobDefinition, InputOf, JobOptions, ResultOf, StateOf } from "./job/definition.ts";
import type { Change, ChangeResult } from "./job/change.ts";
import { checkName } from "./job/name.ts";
import { builtIn, checkDefaults, type EnqueueOptions, fixedOptions } from "./job/options.ts";
import { reasonText } from "./job/outcome.ts";
import type { Logger } from "./logger.ts";
import type { Surroundings } from "./observer.ts";
import { Look } from "./look.ts";
import {
  cron,
  type CronOptions,
  every,
  type ScheduleArguments,
  type ScheduleOptions,
} from "./schedule/declaration.ts";
import { DeclaredSchedules } from "./schedule/declared.ts";
import { Schedules } from "./schedule/schedules.ts";
import type { GroupResult, NewJob, Storage } from "./storage/storage.ts";
import { transactional } from "./storage/transactional.ts";
import { TransactionJobs } from "./transaction-jobs.ts";
import { toJobId } from "./view.ts";
import { waitAll, type JobEnds } from "./wait-all.ts";
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
  /** What stands around enqueues and runs. */
  readonly around: Surroundings;
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
export class Jobs extends Look implements AsyncDisposable {
  readonly #deps: JobsDeps;
  readonly #enqueuer: Enqueuer;
  readonly #intake: Intake;
  readonly #waiter: Waiter;
  readonly #changer: Changer;
  readonly #workers = new Set<Worker>();
  /** What comes back: look, pause, resume, trigger, remove. */
  readonly schedules: Schedules;
  /** Those that gave up: look, run again, throw away. */
  readonly dead: DeadJobs;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(deps: JobsDeps) {
    super(deps.storage);
    this.#deps = { ...deps, defaults: checkDefaults(deps.defaults) };
    this.#enqueuer = new Enqueuer(deps.storage, deps.random);
    this.#intake = this.#makeIntake((jobs) => this.#enqueuer.add(jobs));
    this.#waiter = new Waiter(deps.storage);
    this.#changer = new Changer(deps.storage);
    this.dead = new DeadJobs(this, deps.storage);
    this.schedules = new Schedules({
      storage: deps.storage,
      checkOpen: () => this.#checkOpen(),
      prepare: ({ definition, payload, options }) => this.#intake.prepare(definition, payload, options),
      handle: (id) => this.handle(id),
      changed: () => {
        for (const worker of this.#workers) worker.lookAgain();
      },
    });
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
   * @throws KeyHeldError when another job holds the unique key and `onConflict` is "error"
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

  // ── Again and again ────────────────────────────────────────────────────────

  /**
   * A job again and again, durably and once in the whole fleet. For what code knows beforehand, declare it:
   * `jobs.worker([…], { schedules: [every("1h", cleanUp)] })`. Under a key that is there, it changes that schedule.
   *
   * @param interval 100 ms at least
   * @throws InvalidOptionError, and what {@link enqueue} throws for the payload
   */
  every<D extends AnyJobDefinition>(
    interval: Duration,
    definition: D,
    ...args: ScheduleArguments<D, ScheduleOptions>
  ): Promise<void> {
    return this.schedules.save(every(interval, definition, ...args), false);
  }

  /**
   * A job whenever a cron expression says, in a time zone; as {@link every}.
   *
   * @example
   * await jobs.cron("0 9 * * 1-5", report, { kind: "daily" }, { zone: "Europe/Berlin" });
   */
  cron<D extends AnyJobDefinition>(
    expression: string,
    definition: D,
    ...args: ScheduleArguments<D, CronOptions>
  ): Promise<void> {
    return this.schedules.save(cron(expression, definition, ...args), false);
  }

  /**
   * One job of its kind for ever, however many processes say so and however often: the first call stores it, and
   * every other one answers with it, also when it has ended. It is retried without end, unless `maxRetries` says
   * otherwise. To have it made once more, `remove` it.
   *
   * @throws as {@link enqueue}
   */
  ensure<D extends AnyJobDefinition>(
    definition: D,
    ...[payload, options]: EnqueueArguments<D>
  ): Promise<JobHandle<ResultOf<D>>> {
    const ever: EnqueueOptions = {
      maxRetries: Number.POSITIVE_INFINITY,
      ...options,
      unique: { key: "jobwright:ensure", for: Number.POSITIVE_INFINITY },
    };
    return this.#intake.enqueue(definition, payload, ever) as Promise<JobHandle<ResultOf<D>>>;
  }

  /**
   * Store a job before this call returns, from code that cannot wait. On `memory:` only: a storage that others share
   * would have to hold up the whole process until it is its turn.
   *
   * @throws StateError on other storages, and for a schema that answers later
   * @throws as {@link enqueue} otherwise
   */
  enqueueSync<D extends AnyJobDefinition>(
    definition: D,
    ...[payload, options]: EnqueueArguments<D>
  ): JobHandle<ResultOf<D>> {
    const { storage } = this.#deps;
    if (storage.enqueueSync === undefined) {
      throw new StateError(
        `${storage.label} cannot store a job at once: other processes may be in the middle of a write. ` +
          "Use enqueue(), which waits for them without holding up this process.",
      );
    }
    const store = (jobs: readonly NewJob[]): GroupResult => {
      const [result] = (storage as Required<Storage>).enqueueSync([jobs]);
      return result as GroupResult;
    };
    return this.#intake.enqueueSync(definition, payload, options, store) as JobHandle<ResultOf<D>>;
  }

  #makeIntake(store: (jobs: readonly NewJob[]) => Promise<GroupResult>): Intake {
    return new Intake({
      defaults: this.#deps.defaults,
      around: this.#deps.around,
      checkOpen: () => this.#checkOpen(),
      store,
      handle: (id, status) => new JobHandle(id, status, this, this.#waiter),
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
    const { storage, clock, logger, random, around, beatEveryMs, lostAfterMs } = this.#deps;
    const worker = new Worker(
      {
        storage,
        clock,
        logger,
        random,
        around,
        beatEveryMs,
        lostAfterMs,
        jobs: this,
        defaultQueue: this.#deps.defaults.queue ?? builtIn.queue,
        ...(storage.define === undefined
          ? {}
          : {
              define: (some) =>
                (storage as Required<Storage>).define(
                  some.map((one) => fixedOptions(one, this.#deps.defaults)),
                ),
            }),
        stopped: (stopped) => this.#workers.delete(stopped),
        declared: (declarations, names) =>
          new DeclaredSchedules(declarations, names, { storage, logger, schedules: this.schedules }),
      },
      definitions,
      (options === undefined ? {} : options) as WorkerOptions<unknown> & { state?: StateFactory<unknown> },
    );
    this.#workers.add(worker);
    return worker;
  }

  /** A handle from an id that was kept somewhere. Nothing is asked of the storage. @throws InvalidOptionError */
  handle<Result = unknown>(id: string): JobHandle<Result> {
    toJobId(id);
    return new JobHandle<Result>(id, "existing", this, this.#waiter);
  }

  // ── Steer ──────────────────────────────────────────────────────────────────

  /** Cancel: a waiting job ends now; a running one is asked to. */
  async cancel(id: string, reason = "cancelled by request"): Promise<CancelResult> {
    const result = await this.#change(id, { kind: "cancel", reason: reasonText(reason) });
    if (result === "changed") return "cancelled";
    return result === "asked" || result === "missing" ? result : "finished";
  }

  /**
   * Wait for many jobs to end, and answer how each did, in their order. One that fails is an answer like another.
   * Works before any worker runs, and when every notification is lost.
   *
   * @param options.timeout real time, 1 ms to 24 days, for all of them together
   * @param options.signal ends the wait with its reason; nothing happens to the jobs
   * @throws ResultTimeoutError when one of them has not ended in time, StorageClosedError
   *
   * @example
   * const [a, b] = await jobs.waitAll([first, second], { timeout: "1m" });
   * if (a.state === "completed") console.log(a.result);
   */
  waitAll<const H extends readonly JobHandle[]>(
    handles: H,
    options: { readonly timeout: Duration; readonly signal?: AbortSignal },
  ): Promise<JobEnds<H>> {
    return waitAll(this.#waiter, handles, options);
  }

  /**
   * Run again: a finished job with attempts anew, a scheduled one now. `false`: it waits or runs already, or is missing.
   *
   * @throws KeyHeldError when another job holds its unique key by now
   */
  async retry(id: string): Promise<boolean> {
    const result = await this.#change(id, { kind: "retry" });
    if (result !== "conflict") return result === "changed";
    const [job] = await this.#deps.storage.get([toJobId(id)]);
    const unique = job?.unique;
    if (job === undefined || unique === undefined) return false;
    const { keys } = await this.#deps.storage.keys({ scope: unique.scope, key: unique.key, limit: 1 });
    throw new KeyHeldError(job.name, unique.key, keys[0] === undefined ? undefined : String(keys[0].id));
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
