import type { Clock } from "../clock.ts";
import type { AttemptEntry, JobHead, JobId, JobSpec, JobState } from "../job/job.ts";
import type { Change, ChangeResult, Outcome } from "../job/lifecycle.ts";
import type { Later } from "../job/outcome.ts";

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
   */
  enqueue(groups: readonly (readonly NewJob[])[], batchId?: string): Promise<GroupResult[]>;

  // ── Through ────────────────────────────────────────────────────────────────

  /**
   * Give available jobs to a process, oldest place first within each priority, lower priority first,
   * across the names of a queue. At most `room + readAhead` jobs a queue. Paused lanes are passed over.
   * A marked job is given only when `room` is left for it, at most one a call, and counts as started
   * with the claim. Jobs scheduled for later are not looked at, due or not: `promote` makes them available.
   * A claim is no sign of life; starts count while their lease stands. A name asked for twice is served once.
   */
  claim(request: ClaimRequest): Promise<ClaimResult>;

  /**
   * Apply outcomes. A job that is not to be kept (retention 0) is gone with its settle. `stale`: the lease no longer stands and nothing was changed. Repeating a settle
   * whose answer was lost answers `settled` again and changes nothing, as long as the job is kept and no
   * other lease has ended a run of it since (`stale` or `settled`, when it is not kept). A process that is lost but not yet rescued may still settle.
   * Of `Settlement.enqueue`, a job whose given id exists is not stored; the outcome is applied all the same.
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

  /** Make due scheduled jobs available in (runAt, id) order. `nextAt`: the first that is left, due or not. */
  promote(limit: number): Promise<{ promoted: number; nextAt?: number }>;

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

  /** Every lane that ever held a job or a setting, with its counts, ordered by queue and name. */
  lanes(): Promise<{ lanes: LaneInfo[]; pausedQueues: string[] }>;

  /** The processes that beat, or that are lost and not yet forgotten. */
  processes(): Promise<ProcessInfo[]>;

  // ── Steer ──────────────────────────────────────────────────────────────────

  /** Apply one change to some jobs, each for itself. A waiting job that is cancelled loses its checkpoint. */
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
export type JobDefaults = Omit<NewJob, "payload" | "later" | "givenId">;

/** What became of one job of a stored group. */
export type EnqueueResult =
  | { readonly status: "created"; readonly id: JobId }
  /** A job with this caller-given id and the same payload is stored already. */
  | { readonly status: "existing"; readonly id: JobId };

/** What became of a group: stored whole, in order, or refused whole. */
export type GroupResult =
  | { readonly ok: true; readonly jobs: readonly EnqueueResult[] }
  /** Nothing of the group was stored, because of its job at `index`. */
  | { readonly ok: false; readonly refusal: Refusal; readonly index: number };

/** Why a group was refused. */
export type Refusal =
  /** The caller-given id belongs to a job with another payload. */
  { readonly kind: "duplicate-id"; readonly existing: JobId };

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
  /** When the next scheduled job of any lane is due: `promote` then. May lie in the past. */
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

// ── Look ─────────────────────────────────────────────────────────────────────

/** A job as the storage knows it: one consistent look. */
export interface StoredJob extends JobSpec, Omit<JobHead, "state" | "settledBy"> {
  readonly id: JobId;
  readonly state: JobState;
  readonly createdAt: number;
  /** The process that holds it, while it runs; `startedAt` is then still that of the last run that ended. */
  readonly processId?: ProcessId;
}

/** Which page of which jobs to list. */
export interface ListQuery {
  readonly state: JobState;
  readonly queue?: string;
  readonly name?: string;
  readonly tag?: string;
  /** 1 to `limits.listPage`. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string;
}

/** Which jobs to count; all of them when nothing is said. */
export interface CountQuery {
  readonly state?: JobState;
  readonly queue?: string;
  readonly name?: string;
}

/** A queue, or one lane of it. */
export interface LaneTarget {
  readonly queue: string;
  readonly name?: string;
}

/** Durable settings of a queue or a lane. */
export interface LaneSettings {
  readonly paused?: boolean;
}

/** A lane with its counts. */
export interface LaneInfo {
  readonly queue: string;
  readonly name: string;
  /** Paused itself, or with its queue. */
  readonly paused: boolean;
  readonly counts: Readonly<Record<JobState, number>>;
}

/** A process as the storage sees it. */
export interface ProcessInfo extends Omit<ProcessBeat, "holds" | "starts" | "first" | "leaving"> {
  /** Epoch ms, by the storage's clock. */
  readonly registeredAt: number;
  /** Time since the last beat. */
  readonly silentMs: number;
  readonly lost: boolean;
  readonly running: number;
}
