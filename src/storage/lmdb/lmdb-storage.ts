import { isMainThread } from "node:worker_threads";
import { type Clock, monotonicMs, systemClock } from "../../clock.ts";
import { InvalidOptionError, StateError, StorageClosedError } from "../../errors.ts";
import type { Change, ChangeResult } from "../../job/change.ts";
import type { AttemptEntry, JobId } from "../../job/job.ts";
import type {
  BeatResult,
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
import { change, configure } from "./change.ts";
import { Claim } from "./claim.ts";
import { enqueue } from "./enqueue.ts";
import { attempts, count, get, laneInfos, list } from "./look.ts";
import { logs, note } from "./note.ts";
import { beat, processInfos } from "./processes.ts";
import { rescue } from "./rescue.ts";
import { allSchedules, dueSchedules, writeSchedules } from "./schedules.ts";
import { settle } from "./settle.ts";
import { joinStore } from "./shared.ts";
import { stats } from "./stats.ts";
import type { Store } from "./store.ts";
import { heldKeys } from "./unique-keys.ts";
import { promote, prune } from "./upkeep.ts";

/** How an LMDB storage is made. */
export interface LmdbStorageOptions {
  /** Folder of the store; made if it is missing. On a local disk, and used by processes of one machine only. */
  readonly path: string;
  /** The time that scheduling follows. @default the machine's */
  readonly clock?: Clock;
  /** Milliseconds for beats and rescue; never set back, and the same in all processes. @default the machine's monotonic clock */
  readonly liveness?: () => number;
  /**
   * Address space reserved for the data, in bytes; memory and disk are used as the data need them. More than
   * the data will ever need is right: growing beyond it means that every process maps the file anew. At
   * least 1 MiB.
   *
   * @default 64 GiB, or a quarter of the address space if that is limited
   */
  readonly mapBytes?: number;
}

/**
 * Jobs in a folder, durable and shared by the processes of one machine, with no server. What a resolved
 * call did is on disk.
 *
 * ```ts
 * const jobs = await connect(new LmdbStorage({ path: "./jobs" }));
 * ```
 */
export class LmdbStorage implements Storage {
  readonly label: string;
  readonly clock: Clock;
  readonly #path: string;
  readonly #liveness: () => number;
  readonly #mapBytes: number | undefined;
  readonly #now = (): number => this.clock.now();
  #joined: Promise<{ readonly store: Store; leave(): Promise<void> }> | undefined;
  #store: Store | undefined;
  #closing: Promise<void> | undefined;

  /** @throws InvalidOptionError */
  constructor(options: LmdbStorageOptions) {
    const { path, clock = systemClock, liveness = monotonicMs, mapBytes } = options;
    if (typeof path !== "string" || path === "" || path.includes("\0")) {
      throw new InvalidOptionError("path", path, "Name a folder.");
    }
    if (mapBytes !== undefined && (!Number.isSafeInteger(mapBytes) || mapBytes < MAP_BYTES_MIN)) {
      throw new InvalidOptionError("mapBytes", mapBytes, `Use an integer of at least ${MAP_BYTES_MIN}.`);
    }
    this.#path = path;
    this.#liveness = liveness;
    this.#mapBytes = mapBytes;
    this.clock = clock;
    this.label = `lmdb:${path}`;
  }

  async open(): Promise<void> {
    if (this.#closing !== undefined) throw new StorageClosedError(this.label);
    if (!isMainThread) {
      throw new StateError(
        `${this.label} can be opened in the main thread only: a thread that is ended while it writes takes the ` +
          "process with it. Open it there and let threads talk to it by messages.",
      );
    }
    this.#joined ??= joinStore(this.#path, this.label, this.#mapBytes);
    try {
      this.#store = (await this.#joined).store;
    } catch (error) {
      // Another try may find things better.
      this.#joined = undefined;
      throw error;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const unwatch of [...this.#watches]) unwatch();
    const joined = await this.#joined?.catch(() => undefined);
    await joined?.leave();
  }

  // ── In ─────────────────────────────────────────────────────────────────────

  async enqueue(groups: readonly (readonly NewJob[])[], batchId?: string): Promise<GroupResult[]> {
    return enqueue(this.#open(), this.clock, groups, batchId);
  }

  // ── Through ────────────────────────────────────────────────────────────────

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    return new Claim(this.#open(), request).finish(this.#now, this.#liveness);
  }

  async settle(settlements: readonly Settlement[]): Promise<SettleResult[]> {
    return settle(this.#open(), settlements, this.#now);
  }

  async exchange(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ settled: SettleResult[]; claimed: ClaimResult }> {
    const claim = new Claim(this.#open(), request);
    const settled = await settle(this.#open(), settlements, this.#now, () =>
      claim.step(this.clock.now(), this.#liveness()),
    );
    return { settled, claimed: await claim.finish(this.#now, this.#liveness) };
  }

  async note(lease: Lease, what: Note): Promise<"saved" | "stale"> {
    return note(this.#open(), lease, what, this.#now);
  }

  async beat(message: ProcessBeat): Promise<BeatResult> {
    return beat(this.#open(), message, this.#now, this.#liveness);
  }

  readonly #watches = new Set<Unwatch>();

  watch(interest: Interest, wake: () => void): Unwatch {
    const unwatch = this.#open().watchers.add(interest, wake);
    const stop = (): void => {
      this.#watches.delete(stop);
      unwatch();
    };
    this.#watches.add(stop);
    return stop;
  }

  // ── Upkeep ─────────────────────────────────────────────────────────────────

  async promote(limit: number): Promise<Promoted> {
    return promote(this.#open(), limit, this.#now);
  }

  async dueSchedules(limit: number): Promise<DueSchedules> {
    const store = this.#open();
    return store.read(() => dueSchedules(store, limit, this.#now()));
  }

  async writeSchedules(writes: readonly ScheduleWrite[]): Promise<ScheduleWriteResult[]> {
    return writeSchedules(this.#open(), writes, this.#now);
  }

  async rescue(request: RescueRequest): Promise<RescuedJob[]> {
    return rescue(this.#open(), request, this.#liveness);
  }

  async prune(limit: number): Promise<number> {
    return prune(this.#open(), limit, this.#now);
  }

  // ── Look ───────────────────────────────────────────────────────────────────

  async get(ids: readonly JobId[]): Promise<(StoredJob | undefined)[]> {
    const store = this.#open();
    return store.read(() => get(store, ids));
  }

  async list(query: ListQuery): Promise<{ jobs: StoredJob[]; next?: string }> {
    const store = this.#open();
    return store.read(() => list(store, query));
  }

  async count(query: CountQuery): Promise<{ n: number; exact: boolean }> {
    const store = this.#open();
    return store.read(() => count(store, query));
  }

  async attempts(id: JobId): Promise<AttemptEntry[]> {
    const store = this.#open();
    return store.read(() => attempts(store, id));
  }

  async logs(id: JobId): Promise<LogEntry[]> {
    const store = this.#open();
    return store.read(() => logs(store, id));
  }

  async schedules(): Promise<StoredSchedule[]> {
    const store = this.#open();
    return store.read(() => allSchedules(store.durable));
  }

  async keys(query: KeyQuery): Promise<KeyPage> {
    const store = this.#open();
    return store.read(() => heldKeys(store, query, this.#now()));
  }

  async stats(query: { readonly queue?: string; readonly name?: string }): Promise<Stats> {
    const store = this.#open();
    return store.read(() => stats(store, query, this.#now()));
  }

  async lanes(): Promise<{ lanes: LaneInfo[]; pausedQueues: string[] }> {
    const store = this.#open();
    return store.read(() => laneInfos(store));
  }

  async processes(): Promise<ProcessInfo[]> {
    const store = this.#open();
    return store.read(() => processInfos(store, this.#liveness()));
  }

  // ── Steer ──────────────────────────────────────────────────────────────────

  async change(ids: readonly JobId[], what: Change): Promise<ChangeResult[]> {
    return change(this.#open(), ids, what, this.#now);
  }

  async configure(target: LaneTarget, settings: LaneSettings): Promise<void> {
    return configure(this.#open(), target, settings, this.#now);
  }

  #open(): Store {
    if (this.#closing !== undefined) throw new StorageClosedError(this.label);
    if (this.#store === undefined) throw new StateError(`${this.label} is not open. Await open() first.`);
    return this.#store;
  }
}

const MAP_BYTES_MIN = 1_048_576;
