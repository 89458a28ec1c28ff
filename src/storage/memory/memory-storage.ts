import { type Clock, monotonicMs, systemClock } from "../../clock.ts";
import { InvalidOptionError, StorageClosedError } from "../../errors.ts";
import type { AttemptEntry, JobId } from "../../job/job.ts";
import type { Change, ChangeResult } from "../../job/change.ts";
import type {
  BeatResult,
  ClaimedJob,
  ClaimRequest,
  ClaimResult,
  CountQuery,
  DueSchedules,
  GroupResult,
  Interest,
  KeyPage,
  KeyQuery,
  LaneInfo,
  LaneSettings,
  LaneTarget,
  Lease,
  ListQuery,
  LogEntry,
  NewJob,
  Note,
  ProcessBeat,
  ProcessInfo,
  Promoted,
  RescuedJob,
  RescueRequest,
  ScheduleWrite,
  ScheduleWriteResult,
  Settlement,
  SettleResult,
  Stats,
  Storage,
  StoredJob,
  StoredSchedule,
  Unwatch,
} from "../storage.ts";
import { Batches } from "./batches.ts";
import { changeJob } from "./change.ts";
import { giveJobs } from "./give.ts";
import { JobStore } from "./job-store.ts";
import { statsOf } from "./flow-counter.ts";
import { addLog, AVAILABLE, claimedJob, type KeptJob, saveCheckpoint, storedJob } from "./kept-job.ts";
import { countJobs, listPage } from "./listing.ts";
import { Processes } from "./processes.ts";
import { Runs } from "./runs.ts";
import { Schedules } from "./schedules.ts";

/** How a memory storage is made. */
export interface MemoryStorageOptions {
  /** The time that scheduling follows. @default the machine's */
  readonly clock?: Clock;
  /** Milliseconds for beats and rescue; never set back. @default the machine's monotonic clock */
  readonly liveness?: () => number;
  /** Jobs kept, finished ones included, before `StorageFullError`. @default 1_000_000 */
  readonly maxJobs?: number;
  /** Names the storage in messages. @default "memory" */
  readonly label?: string;
}

/**
 * Jobs in the memory of this process: gone with it, and as fast as it gets.
 *
 * Every method does its work in one go before it returns its promise, so a call is atomic by itself.
 */
export class MemoryStorage implements Storage {
  readonly label: string;
  readonly clock: Clock;
  readonly #liveness: () => number;
  #isClosed = false;

  #store: JobStore;
  #runs: Runs;
  #schedules: Schedules;
  readonly #batches = new Batches();
  readonly #processes = new Processes();

  /** @throws InvalidOptionError */
  constructor(options: MemoryStorageOptions = {}) {
    const { clock = systemClock, liveness = monotonicMs, maxJobs = MAX_JOBS, label = "memory" } = options;
    if (!Number.isSafeInteger(maxJobs) || maxJobs < 1) {
      throw new InvalidOptionError("maxJobs", maxJobs, "Use an integer of at least 1.");
    }
    this.clock = clock;
    this.#liveness = liveness;
    this.label = label;
    this.#store = new JobStore(label, maxJobs);
    this.#runs = new Runs(this.#store);
    this.#schedules = new Schedules(this.#store, label);
  }

  async open(): Promise<void> {
    this.#checkOpen();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#store.watchers.stopAll();
    // Whoever still holds the storage must not hold its jobs.
    this.#store = new JobStore(this.label, 1);
    this.#runs = new Runs(this.#store);
    this.#schedules = new Schedules(this.#store, this.label);
  }

  // ── In ─────────────────────────────────────────────────────────────────────

  async enqueue(groups: readonly (readonly NewJob[])[], batchId?: string): Promise<GroupResult[]> {
    this.#checkOpen();
    if (batchId !== undefined) {
      const answer = this.#batches.answerOf(batchId);
      if (answer !== undefined) return answer;
    }
    const now = this.clock.now();
    this.#store.checkRoom(groups, now);
    const answer = groups.map((group) => this.#store.storeGroup(group, now));
    if (batchId !== undefined) this.#batches.remember(batchId, answer, now);
    return answer;
  }

  enqueueSync(groups: readonly (readonly NewJob[])[]): GroupResult[] {
    this.#checkOpen();
    const now = this.clock.now();
    this.#store.checkRoom(groups, now);
    return groups.map((group) => this.#store.storeGroup(group, now));
  }

  // ── Through ────────────────────────────────────────────────────────────────

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    this.#checkOpen();
    return this.#claim(request);
  }

  #claim(request: ClaimRequest): ClaimResult {
    const now = this.clock.now();
    this.#runs.recordStarts(request.starts, now);
    const jobs: ClaimedJob[] = [];
    const process = this.#processes.living(request.processId, this.#liveness());
    if (process !== undefined) {
      const take = (job: KeptJob): boolean => {
        if (job.spec.limit !== undefined) {
          this.#store.limitKeys.stoodInLine(job, -1);
          if (!this.#store.limitKeys.mayRun(job)) {
            this.#store.park(job);
            return false;
          }
        }
        this.#runs.lease(job, process, request.token, now);
        jobs.push(claimedJob(job));
        return true;
      };
      let mayMark = true;
      for (const asked of request.queues) {
        const queue = this.#store.lanes.queue(asked.queue);
        if (queue === undefined || queue.paused) continue;
        if (giveJobs(queue, asked, mayMark, take)) mayMark = false;
      }
    }
    const nextAt = least(this.#store.scheduled.first()?.at, this.#schedules.firstAt);
    return {
      known: process !== undefined,
      jobs,
      asks: process === undefined ? [] : process.asks(),
      ...(nextAt === undefined ? {} : { nextAt }),
    };
  }

  async settle(settlements: readonly Settlement[]): Promise<SettleResult[]> {
    this.#checkOpen();
    return this.#runs.settle(settlements, this.clock.now());
  }

  async exchange(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ settled: SettleResult[]; claimed: ClaimResult }> {
    this.#checkOpen();
    const settled = this.#runs.settle(settlements, this.clock.now());
    return { settled, claimed: this.#claim(request) };
  }

  async note(lease: Lease, note: Note): Promise<"saved" | "stale"> {
    this.#checkOpen();
    const job = this.#runs.standing(lease);
    if (job === undefined) return "stale";
    if (note.checkpoint !== undefined) saveCheckpoint(job, note.checkpoint);
    if (note.result !== undefined) job.head = { ...job.head, result: note.result };
    if (note.progress !== undefined) job.head = { ...job.head, progress: note.progress };
    if (note.log !== undefined) addLog(job, note.log);
    return "saved";
  }

  async beat(beat: ProcessBeat): Promise<BeatResult> {
    this.#checkOpen();
    this.#runs.recordStarts(beat.starts, this.clock.now());
    const process = this.#processes.beat(beat, this.clock.now(), this.#liveness());
    const lost = beat.holds.filter((lease) => this.#runs.standing(lease) === undefined);
    const asks = process === undefined ? [] : process.asks();
    if (process !== undefined && beat.leaving === true) this.#processes.leave(process);
    return { known: process !== undefined, lost, asks };
  }

  watch(interest: Interest, wake: () => void): Unwatch {
    this.#checkOpen();
    return this.#store.watchers.add(interest, wake);
  }

  // ── Upkeep ─────────────────────────────────────────────────────────────────

  async promote(limit: number): Promise<Promoted> {
    this.#checkOpen();
    const now = this.clock.now();
    let promoted = 0;
    let next = this.#store.scheduled.first();
    for (; promoted < limit && next !== undefined && next.at <= now; next = this.#store.scheduled.first()) {
      this.#store.scheduled.shift();
      this.#store.promote(next, now);
      promoted++;
    }
    const tickAt = this.#schedules.firstAt;
    return {
      promoted,
      ...(next === undefined ? {} : { nextAt: next.at }),
      ...(tickAt === undefined ? {} : { tickAt }),
    };
  }

  async dueSchedules(limit: number): Promise<DueSchedules> {
    this.#checkOpen();
    return this.#schedules.due(limit, this.clock.now());
  }

  async writeSchedules(writes: readonly ScheduleWrite[]): Promise<ScheduleWriteResult[]> {
    this.#checkOpen();
    return this.#schedules.write(writes, this.clock.now());
  }

  async rescue(request: RescueRequest): Promise<RescuedJob[]> {
    this.#checkOpen();
    const alive = this.#liveness();
    const rescued: RescuedJob[] = [];
    const rescuer = this.#processes.living(request.processId, alive);
    // Who is lost itself could not be trusted to decide about the jobs.
    if (rescuer === undefined) return rescued;
    for (const process of this.#processes.all()) {
      if (!process.isLost(alive)) continue;
      for (let job = process.first; job !== null && rescued.length < request.limit; job = process.first) {
        process.letGo(job);
        rescuer.hold(job, request.token);
        rescued.push({
          ...claimedJob(job),
          lostProcessId: job.claimedBy,
          started: job.started,
          startedAt: job.startedAt,
        });
      }
      this.#processes.forgetIfEmpty(process);
    }
    return rescued;
  }

  async prune(limit: number): Promise<number> {
    this.#checkOpen();
    const now = this.clock.now();
    this.#batches.forgetOld(now);
    this.#store.uniqueKeys.forgetOld(now);
    let pruned = 0;
    for (; pruned < limit; pruned++) {
      const job = this.#store.finished.anyExpired(now);
      if (job === undefined) break;
      this.#store.remove(job, now, false);
    }
    return pruned;
  }

  // ── Look ───────────────────────────────────────────────────────────────────

  async get(ids: readonly JobId[]): Promise<(StoredJob | undefined)[]> {
    this.#checkOpen();
    return ids.map((id) => {
      const job = this.#store.jobs.get(id);
      return job === undefined ? undefined : storedJob(job);
    });
  }

  async list(query: ListQuery): Promise<{ jobs: StoredJob[]; next?: string }> {
    this.#checkOpen();
    return listPage(
      {
        lanes: this.#store.lanes,
        scheduled: this.#store.scheduled,
        blocked: this.#store.blocked,
        finished: this.#store.finished,
        processes: this.#processes,
      },
      query,
    );
  }

  async count(query: CountQuery): Promise<{ n: number; exact: boolean }> {
    this.#checkOpen();
    return { n: countJobs(this.#store, query), exact: true };
  }

  async attempts(id: JobId): Promise<AttemptEntry[]> {
    this.#checkOpen();
    return [...(this.#store.jobs.get(id)?.attempts ?? [])];
  }

  async logs(id: JobId): Promise<LogEntry[]> {
    this.#checkOpen();
    return [...(this.#store.jobs.get(id)?.logs ?? [])];
  }

  async schedules(): Promise<StoredSchedule[]> {
    this.#checkOpen();
    return this.#schedules.all();
  }

  async keys(query: KeyQuery): Promise<KeyPage> {
    this.#checkOpen();
    return this.#store.uniqueKeys.page(query, this.clock.now());
  }

  async stats({ queue, name }: { readonly queue?: string; readonly name?: string }): Promise<Stats> {
    this.#checkOpen();
    const lanes = this.#store.lanes.select(queue, name);
    return statsOf(
      Array.from(lanes, ({ flow }) => flow),
      this.clock.now(),
    );
  }

  async lanes(): Promise<{ lanes: LaneInfo[]; pausedQueues: string[] }> {
    this.#checkOpen();
    const lanes = Array.from(this.#store.lanes.select(undefined, undefined), (lane) => ({
      queue: lane.queue.name,
      name: lane.name,
      paused: lane.paused || lane.queue.paused,
      counts: lane.countsByState(),
    }));
    lanes.sort((a, b) => byText(a.queue, b.queue) || byText(a.name, b.name));
    return { lanes, pausedQueues: this.#store.lanes.pausedQueues().sort(byText) };
  }

  async processes(): Promise<ProcessInfo[]> {
    this.#checkOpen();
    return this.#processes.infos(this.#liveness());
  }

  // ── Steer ──────────────────────────────────────────────────────────────────

  async change(ids: readonly JobId[], change: Change): Promise<ChangeResult[]> {
    this.#checkOpen();
    const now = this.clock.now();
    return ids.map((id) => {
      const job = this.#store.jobs.get(id);
      return job === undefined ? "missing" : changeJob(this.#store, job, change, now);
    });
  }

  async configure(target: LaneTarget, settings: LaneSettings): Promise<void> {
    this.#checkOpen();
    const { paused } = settings;
    if (paused === undefined) return;
    const { queue, name } = target;
    if (name === undefined) {
      this.#store.lanes.queueFor(queue).paused = paused;
    } else {
      this.#store.lanes.checkRoom([[{ queue, name }]]);
      this.#store.lanes.laneFor(queue, name).paused = paused;
    }
    if (paused) return;
    for (const lane of this.#store.lanes.select(queue, name)) {
      if ((lane.counts[AVAILABLE] as number) > 0) this.#store.watchers.available(lane);
    }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new StorageClosedError(`The storage "${this.label}"`);
  }
}

/** About 1 GB of small jobs. */
const MAX_JOBS = 1_000_000;

function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
