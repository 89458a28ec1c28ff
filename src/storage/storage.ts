import type { Clock } from "../clock.ts";
import type { AttemptEntry, JobId, JobSpec } from "../job/job.ts";
import type { Change, ChangeResult } from "../job/change.ts";
import type { Outcome } from "../job/lifecycle.ts";
import type { Later } from "../job/outcome.ts";
import type { KeyPage, KeyQuery, LogEntry, LogLine, Stats } from "./beside.ts";
import type {
  CountQuery,
  LaneInfo,
  LaneSettings,
  LaneTarget,
  ListQuery,
  ProcessInfo,
  StoredJob,
} from "./look.ts";
import type { DueSchedules, ScheduleWrite, ScheduleWriteResult, StoredSchedule } from "./schedule.ts";

export type * from "./beside.ts";
export type * from "./look.ts";
export type * from "./schedule.ts";

/**
 * The contract between jobwright and an engine: the narrow waist. Worker, upkeep, server, dashboard and
 * command line know this file and no engine. Methods stand in the order in which a job lives; each takes
 * and returns batches in input order. `jobwright/testing` has the executable form, `storageSuite`.
 *
 * What holds for every method:
 * - **Atomic.** A call's effect on one job (one group, for `enqueue`) happens wholly or not at all, also
 *   when the process is killed. What a resolved call did is durable as far as the engine can be durable
 *   at all; leases, beats, asks and hints need only survive the death of processes.
 * - **Current.** After a call resolved, every process sees its effect.
 * - **The storage's clock** turns delays into instants and decides what is due and expired. Liveness alone
 *   follows a clock that tests do not move. No method takes "now".
 * - **Fenced.** `settle` and `note` count only while their lease stands.
 * - **Bounded.** Cost depends on what is asked for, never on how much is stored.
 * - **Errors** are those of `errors.ts`. A failed call has had no effect, or its repetition with the same
 *   arguments (and batch id) has none beyond the first; `StorageUnavailableError` says: repeat. A `claim` or
 *   `rescue` that failed may have given leases: the caller finds them among the running jobs of its process.
 */
export interface Storage {
  /** Names the storage in messages: `memory`, `lmdb:/var/jobs`. Never holds a secret. */
  readonly label: string;
  readonly clock: Clock;

  /** Open, create or upgrade the store. Idempotent. Every other method may be called after it resolved. */
  open(): Promise<void>;
  /** Let go of everything. Idempotent; calls after it reject with `StorageClosedError`. */
  close(): Promise<void>;

  // ── In ─────────────────────────────────────────────────────────────────────

  /**
   * Store jobs. Each group is stored whole or refused whole; groups fail alone. Ids grow in input order.
   * A batch id is for one call and its repetitions: one that was seen in the last `limits.batchMemoryMs`
   * answers as it did then and stores nothing (an engine may bound how many it remembers). A given id that
   * comes twice in one group with different payloads is refused at the second, with `existing: 0`. The
   * caller does not change what it handed in.
   *
   * A job with a `unique` key that is held (see `job/key.ts`) is not stored: the answer is the holder, or the
   * holder with what the new one says (`replaced`), or a refusal of its group. A key is taken and let go of in the
   * same step as its job comes and ends. A job with a `limit` is `scheduled`, if only for now: `promote` lets it in.
   */
  enqueue(groups: readonly (readonly NewJob[])[], batchId?: string): Promise<GroupResult[]>;

  /** The same at once, where nobody else can be in the way. Left out by engines that wait for others. */
  enqueueSync?(groups: readonly (readonly NewJob[])[]): GroupResult[];

  // ── Through ────────────────────────────────────────────────────────────────

  /**
   * Give available jobs to a process, oldest place first within each priority, lower priority first,
   * across the names of a queue. At most `room + readAhead` jobs a queue. Paused lanes are passed over.
   * A marked job is given only when `room` is left for it, at most one a call, and counts as started
   * with the claim. Jobs scheduled for later are not looked at, due or not: `promote` makes them available.
   * A claim is no sign of life; starts count while their lease stands. A name asked for twice is served once.
   * Of a `limit` key no more jobs are given than its concurrency leaves beside those that run, in the whole fleet;
   * what stood ready beyond that becomes `blocked` at its place. A blocked job costs a claim nothing.
   */
  claim(request: ClaimRequest): Promise<ClaimResult>;

  /**
   * Apply outcomes. A job that is not to be kept (retention 0) is gone with its settle. `stale`: the lease no longer stands and nothing was changed. Repeating a settle
   * whose answer was lost answers `settled` again and changes nothing, as long as the job is kept and no
   * other lease has ended a run of it since (`stale` or `settled`, when it is not kept). A process that is lost but not yet rescued may still settle.
   * Of `Settlement.enqueue`, a job whose given id exists, or whose key is held, is not stored; the outcome is applied
   * all the same. When a run ends, however it ends, the next jobs of its limit key become available at their places.
   */
  settle(settlements: readonly Settlement[]): Promise<SettleResult[]>;

  /** `settle`, then `claim`, in one step where the engine can. */
  exchange(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ settled: SettleResult[]; claimed: ClaimResult }>;

  /** Save something of a running job. A stale lease is answered before the note is judged. */
  note(lease: Lease, note: Note): Promise<"saved" | "stale">;

  /**
   * Show that a process lives; register it (`first`) or take it out (`leaving`, when whatever it still
   * holds counts as lost). Answers which of the leases it names no longer stand, and who should be cancelled.
   */
  beat(beat: ProcessBeat): Promise<BeatResult>;

  /** Call `wake` soon after something of interest may have happened. A hint: it may be lost, late or for nothing. */
  watch(interest: Interest, wake: () => void): Unwatch;

  // ── Upkeep: idempotent, on any process at any time ─────────────────────────

  /**
   * Make due scheduled jobs available in (runAt, id) order; those whose limit key has no place left are `blocked`.
   * `nextAt`: the first that is left, due or not. `tickAt`: the first schedule, due or not.
   */
  promote(limit: number): Promise<Promoted>;

  /** The schedules that are due, the longest due first. The caller computes what they make, and {@link writeSchedules} it. */
  dueSchedules(limit: number): Promise<DueSchedules>;

  /**
   * Create, change, remove or fire schedules, each for itself and only if nobody else wrote it meanwhile. The jobs of
   * a write are stored in the same step; what `enqueue` would refuse is not stored, and the write counts all the same.
   *
   * @throws StorageFullError beyond `limits.schedules`
   */
  writeSchedules(writes: readonly ScheduleWrite[]): Promise<ScheduleWriteResult[]>;

  /**
   * Move leases of lost processes to the caller, who decides and settles each. Lost is who has not beaten
   * for its own `lostAfterMs`, or no longer exists. When nothing is left of a lost process, it is forgotten.
   * The generation stays, the token changes, asks go with the lease. `lostProcessId`, and the attempt entry
   * that follows, name the process that claimed the job to run it, also when a rescuer was lost in turn.
   */
  rescue(request: RescueRequest): Promise<RescuedJob[]>;

  /** Remove finished jobs past their retention and forget old batch ids. Answers how many jobs went. */
  prune(limit: number): Promise<number>;

  // ── Look ───────────────────────────────────────────────────────────────────

  get(ids: readonly JobId[]): Promise<(StoredJob | undefined)[]>;

  /**
   * One page of the jobs in one state, at most `limits.listPage`. Available ones in order of seq, scheduled
   * by (runAt, id), running by id, finished ones newest end first. A page may hold fewer jobs than asked
   * for and still have a `next`: filters look at no more than `limits.listScan` rows a page, and it ends
   * when it holds `limits.listText` of payloads and results.
   */
  list(query: ListQuery): Promise<{ jobs: StoredJob[]; next?: string }>;

  /** How many jobs; `exact` is true up to `limits.countExact` at least. */
  count(query: CountQuery): Promise<{ n: number; exact: boolean }>;

  /** The failed attempts kept of a job, oldest first. */
  attempts(id: JobId): Promise<AttemptEntry[]>;

  /** The log lines kept of a job, oldest first: the last `limits.logLines`. */
  logs(id: JobId): Promise<LogEntry[]>;

  /** All schedules, in any order. */
  schedules(): Promise<StoredSchedule[]>;

  /** Unique keys that are held now, in an order of the storage's own. */
  keys(query: KeyQuery): Promise<KeyPage>;

  /** What was enqueued and what ended lately and ever, by the storage's clock. */
  stats(query: { readonly queue?: string; readonly name?: string }): Promise<Stats>;

  /** Every lane that ever held a job or a setting, with its counts, ordered by queue and name. */
  lanes(): Promise<{ lanes: LaneInfo[]; pausedQueues: string[] }>;

  /** The processes that beat, or that are lost and not yet forgotten. */
  processes(): Promise<ProcessInfo[]>;

  // ── Steer ──────────────────────────────────────────────────────────────────

  /**
   * Apply one change to some jobs, each for itself. A waiting job that is cancelled loses its checkpoint. Whoever
   * is run again takes its unique key again; `conflict` when another job holds it.
   */
  change(ids: readonly JobId[], change: Change): Promise<ChangeResult[]>;

  /**
   * Remember with which options the jobs of some names are stored, for those who store jobs without jobwright
   * (triggers, other languages). Left out by engines that nobody else can reach.
   */
  define?(definitions: readonly JobDefaults[]): Promise<void>;

  /** Settings of a queue (`name` absent) or of one lane; durable, for all processes. */
  configure(target: LaneTarget, settings: LaneSettings): Promise<void>;
}

// ── In ───────────────────────────────────────────────────────────────────────

/** A job to store, all options resolved. */
export interface NewJob extends JobSpec {
  readonly priority: number;
  /** Absent = now. */
  readonly later?: Later;
}

/** The options of a definition's jobs where a call says nothing. */
export type JobDefaults = Omit<
  NewJob,
  "payload" | "later" | "givenId" | "unique" | "limit" | "trace" | "tickAt"
>;

/** What became of one job of a stored group. */
export type EnqueueResult =
  | { readonly status: "created"; readonly id: JobId }
  /** A job with this caller-given id and the same payload is stored already, or a job holds the unique key. */
  | { readonly status: "existing"; readonly id: JobId }
  /** The holder of the unique key waits, and took over payload, options and start. */
  | { readonly status: "replaced"; readonly id: JobId };

/** What became of a group: stored whole, in order, or refused whole. */
export type GroupResult =
  | { readonly ok: true; readonly jobs: readonly EnqueueResult[] }
  /** Nothing of the group was stored, because of its job at `index`. */
  | { readonly ok: false; readonly refusal: Refusal; readonly index: number };

/** Why a group was refused. */
export type Refusal =
  /** The caller-given id belongs to a job with another payload. */
  | { readonly kind: "duplicate-id"; readonly existing: JobId }
  /** The unique key is held, and the job says that this is an error. `existing: 0`: by a job of the same group. */
  | { readonly kind: "key-held"; readonly existing: JobId };

// ── Through ──────────────────────────────────────────────────────────────────

/** Fresh for every start of a process: random, never reused. */
export type ProcessId = string;

/** The right of one process to run one job. It stands while the job has this generation and token. */
export interface Lease {
  readonly id: JobId;
  readonly generation: number;
  /** Made by the claiming process: its id and a counter. One token for all jobs of a claim. */
  readonly token: string;
}

/** What a process asks for in one claim. */
export interface ClaimRequest {
  readonly processId: ProcessId;
  readonly token: string;
  /** Served in this order. A queue appears once. */
  readonly queues: readonly QueueRequest[];
  /** Claimed jobs whose handlers have started since the last call. */
  readonly starts: readonly Lease[];
}

/** What it asks for from one queue. */
export interface QueueRequest {
  readonly queue: string;
  readonly names: readonly string[];
  /** Free slots: these jobs start at once. */
  readonly room: number;
  /** Jobs to take beyond the free slots. */
  readonly readAhead: number;
}

/** A job in the hands of a process, with its lease. */
export interface ClaimedJob extends JobSpec {
  readonly id: JobId;
  readonly generation: number;
  readonly token: string;
  readonly priority: number;
  /** Attempts spent before this run. */
  readonly attempt: number;
  readonly createdAt: number;
  readonly runAt: number;
  readonly marked: boolean;
  /** Checkpoint entries by key, each JSON text; absent when there are none. */
  readonly checkpoint?: Readonly<Record<string, string>>;
  readonly cancelAsked?: string;
}

/** The answer to a claim. */
export interface ClaimResult {
  /** `false`: the process is not registered (any more). It must abort what it runs and register anew. */
  readonly known: boolean;
  readonly jobs: readonly ClaimedJob[];
  /** When the next scheduled job of any lane, or the next schedule, is due: `promote` then. May lie in the past. */
  readonly nextAt?: number;
  readonly asks: readonly Ask[];
}

/** Someone wants this run cancelled. Repeated with every answer until the run ends. */
export interface Ask {
  readonly id: JobId;
  readonly generation: number;
  readonly reason: string;
}

/** The end of one run, under the lease it was made with. */
export interface Settlement {
  readonly lease: Lease;
  readonly outcome: Outcome;
  /** When the handler started, by the storage's clock as the worker sees it. */
  readonly startedAt: number;
  /** Jobs that are stored if and only if the outcome is applied. */
  readonly enqueue?: readonly NewJob[];
}

/** Whether the settle counted, or its lease no longer stood. */
export type SettleResult = "settled" | "stale";

/** What can be saved of a running job. */
export interface Note {
  /** Checkpoint entries to set, JSON text by key; `null` removes one. Others stay. */
  readonly checkpoint?: Readonly<Record<string, string | null>>;
  /** The result so far, JSON text: kept whatever becomes of the run, replaced by a returned value. */
  readonly result?: string;
  /** How far it is, JSON text. */
  readonly progress?: string;
  /** Lines to add to the job's log. */
  readonly log?: readonly LogLine[];
}

/** A process as it shows itself. */
export interface ProcessBeat {
  readonly id: ProcessId;
  /** A stable name given by the operator. */
  readonly name?: string;
  readonly host: string;
  readonly pid: number;
  readonly lostAfterMs: number;
  readonly queues: readonly ServedQueue[];
  /** Keys of the schedules that its code declares. */
  readonly declares?: readonly string[];
  /** Every lease the process holds. */
  readonly holds: readonly Lease[];
  readonly starts: readonly Lease[];
  readonly first?: boolean;
  readonly leaving?: boolean;
}

/** A queue that a process claims from. */
export interface ServedQueue {
  readonly queue: string;
  readonly names: readonly string[];
  readonly concurrency: number;
}

/** The answer to a beat. */
export interface BeatResult {
  /** `false`: others took the process for lost. It must abort what it runs and register anew under a new id. */
  readonly known: boolean;
  readonly lost: readonly Lease[];
  readonly asks: readonly Ask[];
}

/** What a watcher wants to hear of. */
export interface Interest {
  /** Something became available, or was scheduled, in one of these lanes (all names when `names` is absent). */
  readonly available?: readonly { readonly queue: string; readonly names?: readonly string[] }[];
  /** One of these jobs finished. While someone watches, a job with retention 0 is kept for a minute. */
  readonly finished?: readonly JobId[];
  /** A running job of this process was asked to cancel. */
  readonly asked?: ProcessId;
}

/** Ends a watch. Twice is fine. */
export type Unwatch = () => void;

// ── Upkeep ───────────────────────────────────────────────────────────────────

/** What a promotion did and what comes next. */
export interface Promoted {
  /** Jobs that became available or blocked. */
  readonly promoted: number;
  readonly nextAt?: number;
  readonly tickAt?: number;
}

/** Who takes over the leases of lost processes, and how many at most. */
export interface RescueRequest {
  /** A registered process, to which the leases move. */
  readonly processId: ProcessId;
  readonly token: string;
  readonly limit: number;
}

/** A job taken over from a lost process. */
export interface RescuedJob extends ClaimedJob {
  readonly lostProcessId: ProcessId;
  /** Whether the lost process is known to have started it. */
  readonly started: boolean;
  /** When its start was first reported; the claim when it was not. */
  readonly startedAt: number;
}
