import { connect } from "../connect.ts";
import { InvalidOptionError, StateError } from "../errors.ts";
import type { AnyJobDefinition, InputOf, ResultOf, StateOf } from "../job/definition.ts";
import { JOB_STATES, type JobError } from "../job/job.ts";
import { limits } from "../job/limits.ts";
import { checkName } from "../job/name.ts";
import type { EnqueueOptions } from "../job/options.ts";
import { valueText } from "../job/payload.ts";
import type { CancelResult, Jobs } from "../jobs.ts";
import { type Logger, silentLogger } from "../logger.ts";
import type { StoredJob } from "../storage/storage.ts";
import { type Job, jobView } from "../view.ts";
import type { Worker } from "../worker/worker.ts";
import { runEarlier } from "./earlier-runs.ts";
import { lent } from "./lent-state.ts";
import { TestClock } from "./test-clock.ts";
import { WatchedStorage } from "./watched-storage.ts";

/** How to {@link perform} a job, whatever state it needs; options of an enqueue besides. */
export interface PerformSettings extends Omit<EnqueueOptions, "in" | "at" | "retention"> {
  /** Which attempt this is, up to 1 + maxRetries: those before have failed. @default 1 */
  readonly attempt?: number;
  /** What earlier runs saved, by key. */
  readonly checkpoint?: Readonly<Record<string, unknown>>;
  /** The time that the job is run at. It stands still unless you move it. @default one that begins in 2030 */
  readonly clock?: TestClock;
  /** Who hears of the run. @default nobody */
  readonly logger?: Logger;
  /** Called when the handler has begun, to do something to it. What it throws, `perform` rejects with. */
  readonly during?: (run: PerformedRun) => unknown;
}

/** `state` is what the handler gets as `ctx.state`, required when it names its type. Nothing disposes of it. */
export type PerformOptions<State = unknown> = PerformSettings &
  (unknown extends State ? { readonly state?: unknown } : { readonly state: State });

/** A run that {@link perform} has begun, for `during`. */
export interface PerformedRun {
  readonly clock: TestClock;
  /** Ask to cancel the job, as `jobs.cancel` does. */
  cancel(reason?: string): Promise<CancelResult>;
  /** Stop the worker at once: the handler's signal fires, and half a second later its job is given back. */
  stop(): Promise<void>;
}

/** The payload may be left out where its type allows `undefined`, the options where no state is needed. */
export type PerformArguments<D extends AnyJobDefinition> =
  unknown extends StateOf<D>
    ? undefined extends InputOf<D>
      ? [payload?: InputOf<D>, options?: PerformOptions<StateOf<D>>]
      : [payload: InputOf<D>, options?: PerformOptions<StateOf<D>>]
    : [payload: InputOf<D>, options: PerformOptions<StateOf<D>>];

/** What became of a job that was performed. */
export type Performed<D extends AnyJobDefinition = AnyJobDefinition> = {
  /** The job as it stands afterwards. */
  readonly job: Job<InputOf<D>, ResultOf<D>>;
  /** Checkpoint entries as the run left them. A job that completes or is cancelled drops them then. */
  readonly checkpoint: Readonly<Record<string, unknown>>;
  /** The jobs that the handler enqueued, in their order. None of them has run. */
  readonly enqueued: readonly Job[];
} & PerformedOutcome<ResultOf<D>>;

/** How the run of a job that was performed has ended. */
export type PerformedOutcome<Result = unknown> =
  | {
      readonly outcome: "completed";
      /** As it came back through JSON. */
      readonly result: Result;
      /** Why the result that was returned is not kept. */
      readonly reason?: string;
    }
  /** The attempt failed, and the job will be tried again. The delay is the one without jitter. */
  | ({ readonly outcome: "retry"; readonly error: JobError } & Later)
  /** It gave up. */
  | { readonly outcome: "dead"; readonly error: JobError }
  | ({ readonly outcome: "snoozed" } & Later)
  | ({ readonly outcome: "rescheduled" } & Later)
  /** `error`: what the handler threw when it was asked to end. */
  | { readonly outcome: "cancelled"; readonly reason: string; readonly error?: JobError }
  /** Given back because the worker stopped, no attempt spent. */
  | { readonly outcome: "released" };

/** When the job runs again. */
interface Later {
  readonly runAt: Date;
  readonly delayMs: number;
}

/**
 * Run one job once, as a worker does, and answer what became of it. Its payload and result go through JSON and
 * its schema is asked; outcomes, retries, timeouts and checkpoints are those of a real run. Nothing is left behind.
 *
 * A timeout passes by the clock alone: move it in `during`. A handler that does not end by itself or by its
 * signal keeps this call waiting.
 *
 * @throws what `enqueue` throws for the payload and the options, and what `during` throws
 * @throws MissingHandlerError for a definition without a handler
 * @throws InvalidOptionError, or InvalidValueError for a checkpoint that JSON cannot carry
 *
 * @example
 * const done = await perform(sendReceipt, { orderId: 7 }, { state: { mail: fakeMail }, attempt: 3 });
 * expect(done).toMatchObject({ outcome: "retry", delayMs: 8_000 });
 */
export async function perform<D extends AnyJobDefinition>(
  definition: D,
  ...[payload, options]: PerformArguments<D>
): Promise<Performed<D>> {
  const {
    attempt = 1,
    checkpoint = {},
    clock = new TestClock(),
    logger = silentLogger,
    state,
    during,
    ...call
  } = (options ?? {}) as PerformOptions;
  if (!(clock instanceof TestClock)) throw new InvalidOptionError("clock", clock, "Use a TestClock.");
  const storage = new WatchedStorage({ clock, label: "perform()" });
  // Without jitter: what a test expects is the delay that was configured.
  const jobs = await connect(storage, { logger, random: () => 0 });
  let worker: Worker | undefined;
  try {
    const settings = { queues: "*", concurrency: 1, threads: 1, name: "perform()" } as const;
    const definitions: readonly AnyJobDefinition[] = [definition];
    worker = jobs.worker(definitions, { ...settings, state: () => lent(state) });
    const anyone: AnyJobDefinition = definition;
    const { id } = await jobs.enqueue(anyone, payload, { ...call, retention: KEPT });
    const before = await prepare(storage, Number(id), attempt, checkpoint);
    const endedAt = await runOnce({ storage, jobs, worker, clock, id, during });
    await worker.stop({ timeout: 0 });
    const after = await stored(storage, before.id);
    const common = {
      job: jobView(after),
      checkpoint: storage.savedEntries(),
      enqueued: await othersThan(id, jobs),
    };
    return { ...common, ...outcomeOf(before, after, endedAt) } as Performed<D>;
  } finally {
    await worker?.stop({ timeout: 0 });
    await jobs.close();
  }
}

/** What became of a job is read when it has ended. */
const KEPT = {
  completed: Number.POSITIVE_INFINITY,
  cancelled: Number.POSITIVE_INFINITY,
  dead: Number.POSITIVE_INFINITY,
};
/** Attempts that can be passed over where retries have no end. */
const ATTEMPT_MAX = 1_000;

/** Brings the job to where its run is to begin. */
async function prepare(
  storage: WatchedStorage,
  id: number,
  attempt: number,
  checkpoint: Readonly<Record<string, unknown>>,
): Promise<StoredJob> {
  const job = await stored(storage, id);
  const most = job.maxRetries === null ? ATTEMPT_MAX : Math.min(job.maxRetries + 1, ATTEMPT_MAX);
  if (!Number.isInteger(attempt) || attempt < 1 || attempt > most) {
    throw new InvalidOptionError(
      "attempt",
      attempt,
      `Use an integer from 1 to ${most}, the last attempt it has.`,
    );
  }
  if (typeof checkpoint !== "object" || checkpoint === null || Array.isArray(checkpoint)) {
    throw new InvalidOptionError("checkpoint", checkpoint, "Use an object: entries by key.");
  }
  const entries = Object.fromEntries(
    Object.entries(checkpoint).map(([key, value]) => [
      checkName(key, "checkpoint key"),
      valueText(`The checkpoint entry "${key}"`, value, limits.checkpointBytes),
    ]),
  );
  storage.watched = id;
  await runEarlier(storage, job, { attempts: attempt - 1, checkpoint: entries });
  return stored(storage, id);
}

interface Stage {
  readonly storage: WatchedStorage;
  readonly jobs: Jobs;
  readonly worker: Worker;
  readonly clock: TestClock;
  readonly id: string;
  readonly during: PerformSettings["during"];
}

/** Resolves to the time of the run's end, when the storage has it. */
async function runOnce({ storage, jobs, worker, clock, id, during }: Stage): Promise<number> {
  const ended = storage.nextEnd();
  const begun = new Promise<void>((resolve) => {
    worker.once("started", () => {
      // What the handler enqueues, and a retry that is due at once, are not run.
      worker.pause();
      // By then the handler has been called.
      setImmediate(resolve);
    });
  });
  await worker.start();
  const disturbed = begun.then(() =>
    during?.({
      clock,
      cancel: (reason) => jobs.cancel(id, reason),
      stop: () => worker.stop({ timeout: 0 }),
    }),
  );
  const [endedAt] = await Promise.all([ended, disturbed]);
  return endedAt;
}

async function stored(storage: WatchedStorage, id: number): Promise<StoredJob> {
  const [job] = await storage.get([id]);
  if (job === undefined) throw new StateError(`Job ${id} is gone: it was removed while it was performed.`);
  return job;
}

async function othersThan(id: string, jobs: Jobs): Promise<Job[]> {
  const others: Job[] = [];
  for (const state of JOB_STATES) {
    let after: string | undefined;
    do {
      const page = await jobs.list({
        ...{ state, limit: limits.listPage },
        ...(after === undefined ? {} : { after }),
      });
      others.push(...page.jobs.filter((job) => job.id !== id));
      after = page.next;
    } while (after !== undefined);
  }
  return others.sort((a, b) => Number(a.id) - Number(b.id));
}

/** What the end of a run has made of its job. */
function outcomeOf(before: StoredJob, after: StoredJob, endedAt: number): PerformedOutcome {
  const { state, result, reason = "" } = after;
  const error = after.error as JobError;
  const hasFailed = after.failures > before.failures;
  switch (state) {
    case "completed":
      return {
        outcome: "completed",
        result: result === undefined ? undefined : (JSON.parse(result) as unknown),
        ...(after.reason === undefined ? {} : { reason }),
      };
    case "dead":
      return { outcome: "dead", error };
    case "cancelled":
      return { outcome: "cancelled", reason, ...(hasFailed ? { error } : {}) };
    default: {
      if (after.releases > before.releases) return { outcome: "released" };
      const later = { runAt: new Date(after.runAt), delayMs: Math.max(0, after.runAt - endedAt) };
      if (hasFailed) return { outcome: "retry", error, ...later };
      return { outcome: after.snoozes > before.snoozes ? "snoozed" : "rescheduled", ...later };
    }
  }
}
