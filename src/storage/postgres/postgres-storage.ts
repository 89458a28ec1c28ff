import { createHash } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { StorageClosedError } from "../../errors.ts";
import type { Change, ChangeResult } from "../../job/change.ts";
import type { AttemptEntry, JobId } from "../../job/job.ts";
import { lineLogger, type Logger, safeLogger } from "../../logger.ts";
import type {
  BeatResult,
  ClaimRequest,
  ClaimResult,
  CountQuery,
  DueSchedules,
  GroupResult,
  JobDefaults,
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
  StoredJob,
  StoredSchedule,
  Unwatch,
} from "../storage.ts";
import type { Completion, Nested, TransactionalStorage } from "../transactional.ts";
import { postgresLabel } from "./address.ts";
import { Awaiting } from "./awaiting.ts";
import { beat } from "./beat.ts";
import { change, configure } from "./change.ts";
import { Claims } from "./claim.ts";
import { isCompletion } from "./complete.ts";
import { Database } from "./database.ts";
import { DatabaseClock } from "./database-clock.ts";
import { define } from "./define.ts";
import { enqueue } from "./enqueue.ts";
import { completeAllJoined, completeJoined, enqueueJoined } from "./join.ts";
import { inSavepoint } from "./savepoint.ts";
import { Listener } from "./listener.ts";
import { attempts, count, get, lanes, list, logs, processes } from "./look.ts";
import { migrate } from "./migrate.ts";
import { DEFAULT_SCHEMA, MIGRATIONS } from "./migrations.ts";
import { note } from "./note.ts";
import { Policies } from "./policies.ts";
import { checkSchemaName, quoteIdentifier } from "./quoting.ts";
import { rescue } from "./rescue.ts";
import { dueSchedules, schedules, writeSchedules } from "./schedules.ts";
import { exchange, settle } from "./settle.ts";
import { stats } from "./stats.ts";
import { checkStorageOptions, defined, type PostgresStorageOptions } from "./storage-options.ts";
import { Leases, statements, type Store } from "./store.ts";
import { checkVersion } from "./stored-version.ts";
import { heldKeys } from "./unique-keys.ts";
import { ensureDays, promote, prune } from "./upkeep.ts";
import { ANYTHING, readNews, Watchers } from "./watchers.ts";

/** A third of the time for which an enqueue is repeated. */
const PROMPT_MS = 10_000;

/**
 * Jobs in a PostgreSQL database, for as many processes and machines as the database can serve. What is
 * acknowledged has been committed; claims and beats alone do not wait for the disk.
 */
export class PostgresStorage implements TransactionalStorage {
  readonly label: string;
  readonly clock: Clock;
  readonly #options: PostgresStorageOptions;
  readonly #schemaName: string;
  readonly #store: Store;
  readonly #claims: Claims;
  readonly #watchers: Watchers;
  readonly #awaiting: Awaiting;
  readonly #databaseClock: DatabaseClock | undefined;
  readonly #logger: Logger;
  #listener: Listener | undefined;
  #opened: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** @throws InvalidOptionError */
  constructor(options: PostgresStorageOptions) {
    checkStorageOptions(options);
    const { schema = DEFAULT_SCHEMA, clock, liveness, url, pool } = options;
    checkSchemaName(schema);
    this.#options = options;
    this.#schemaName = schema;
    this.#logger = safeLogger(options.logger ?? lineLogger());
    this.label = postgresLabel(
      { ...(url === undefined ? {} : { url }), ...(pool === undefined ? {} : { pool }) },
      schema,
    );
    const { maxConnections, claimConnections, deadlineMs, prepare } = options;
    const database = new Database({
      ...defined({ url, pool, maxConnections, claimConnections, deadlineMs, prepare }),
      label: this.label,
      logger: this.#logger,
    });
    this.#databaseClock = clock === undefined ? new DatabaseClock() : undefined;
    this.clock = clock ?? (this.#databaseClock as DatabaseClock);
    const quoted = quoteIdentifier(schema);
    const statement = statements(quoted);
    this.#store = {
      database,
      schema: quoted,
      label: this.label,
      now: () => (clock === undefined ? null : clock.now()),
      alive: () => (liveness === undefined ? null : liveness()),
      statement,
      promptMs: Math.min(deadlineMs ?? PROMPT_MS, PROMPT_MS),
      leases: new Leases(),
      policies: new Policies({ database, statement, label: this.label }),
    };
    // What came while the process began to wait was not told to it.
    this.#claims = new Claims(this.#store, () => this.#watchers.tell({ available: "any" }));
    this.#watchers = new Watchers(() => this.#awaiting.changed());
    this.#awaiting = new Awaiting(this.#store, () => this.#watchers.awaited);
  }

  async open(): Promise<void> {
    this.#checkOpen();
    this.#opened ??= this.#open().catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    await this.#opened;
  }

  async #open(): Promise<void> {
    const { database } = this.#store;
    await database.open();
    const target = { schema: this.#schemaName, migrations: MIGRATIONS, label: this.label };
    if (this.#options.migrate === false) await checkVersion(database, target);
    else await migrate(database, target);
    await this.#databaseClock?.compare(this.#store);
    await ensureDays(this.#store);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#watchers.stopAll();
    await this.#awaiting.close();
    await this.#listener?.close();
    await this.#store.database.close();
  }

  // ── In ─────────────────────────────────────────────────────────────────────

  async enqueue(groups: readonly (readonly NewJob[])[], batchId?: string): Promise<GroupResult[]> {
    this.#checkOpen();
    const results = await enqueue(this.#store, groups, batchId);
    this.#watchers.tell({ available: groups.flat() });
    return results;
  }

  /**
   * Store one group of jobs in a transaction of the caller: they are there when it commits, and never were
   * when it does not. A given id that exists does not abort the transaction.
   *
   * @param transaction of `pg`, `postgres`, drizzle, kysely, knex, typeorm or prisma
   */
  async enqueueIn(transaction: unknown, group: readonly NewJob[]): Promise<GroupResult> {
    this.#checkOpen();
    return enqueueJoined(this.#store, transaction, group);
  }

  // ── Through ────────────────────────────────────────────────────────────────

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    this.#checkOpen();
    return this.#claims.claim(request);
  }

  async settle(settlements: readonly Settlement[]): Promise<SettleResult[]> {
    this.#checkOpen();
    await this.#awaiting.known();
    const results = await settle(this.#store, settlements);
    this.#tellEnds(settlements);
    return results;
  }

  async exchange(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ settled: SettleResult[]; claimed: ClaimResult }> {
    this.#checkOpen();
    await this.#awaiting.known();
    const results = await exchange(this.#store, this.#claims, settlements, request);
    this.#tellEnds(settlements);
    return results;
  }

  /**
   * Settle one run in a transaction of the caller: both take effect, or neither. The job's row is locked
   * until it ends.
   */
  async settleIn(transaction: unknown, completion: Completion): Promise<SettleResult> {
    this.#checkOpen();
    return completeJoined(this.#store, transaction, completion);
  }

  /** The same for runs that were never completed before. */
  async settleAllIn(transaction: unknown, completions: readonly Completion[]): Promise<SettleResult[]> {
    this.#checkOpen();
    return completeAllJoined(this.#store, transaction, completions);
  }

  /** Do some work in a savepoint of a transaction of the caller. */
  async nestIn(transaction: unknown, work: (inner: unknown) => Promise<void>): Promise<Nested> {
    this.#checkOpen();
    return inSavepoint(transaction, work);
  }

  async note(lease: Lease, what: Note): Promise<"saved" | "stale"> {
    this.#checkOpen();
    return note(this.#store, lease, what);
  }

  async beat(of: ProcessBeat): Promise<BeatResult> {
    this.#checkOpen();
    return beat(this.#store, this.#claims, of);
  }

  watch(interest: Interest, wake: () => void): Unwatch {
    this.#checkOpen();
    this.#listen();
    return this.#watchers.add(interest, wake);
  }

  // ── Upkeep ─────────────────────────────────────────────────────────────────

  async promote(limit: number): Promise<Promoted> {
    this.#checkOpen();
    await this.#databaseClock?.compare(this.#store);
    const result = await promote(this.#store, limit);
    if (result.promoted > 0) this.#watchers.tell({ available: "any" });
    return result;
  }

  async dueSchedules(limit: number): Promise<DueSchedules> {
    this.#checkOpen();
    return dueSchedules(this.#store, limit);
  }

  async writeSchedules(writes: readonly ScheduleWrite[]): Promise<ScheduleWriteResult[]> {
    this.#checkOpen();
    const results = await writeSchedules(this.#store, writes);
    this.#watchers.tell({ available: writes.flatMap(({ jobs = [] }) => jobs) });
    return results;
  }

  async rescue(request: RescueRequest): Promise<RescuedJob[]> {
    this.#checkOpen();
    return rescue(this.#store, request);
  }

  async prune(limit: number): Promise<number> {
    this.#checkOpen();
    return prune(this.#store, limit);
  }

  // ── Look ───────────────────────────────────────────────────────────────────

  async get(ids: readonly JobId[]): Promise<(StoredJob | undefined)[]> {
    this.#checkOpen();
    await this.#awaiting.known();
    return get(this.#store, ids);
  }

  async list(query: ListQuery): Promise<{ jobs: StoredJob[]; next?: string }> {
    this.#checkOpen();
    return list(this.#store, query);
  }

  async count(query: CountQuery): Promise<{ n: number; exact: boolean }> {
    this.#checkOpen();
    return count(this.#store, query);
  }

  async attempts(id: JobId): Promise<AttemptEntry[]> {
    this.#checkOpen();
    return attempts(this.#store, id);
  }

  async logs(id: JobId): Promise<LogEntry[]> {
    this.#checkOpen();
    return logs(this.#store, id);
  }

  async schedules(): Promise<StoredSchedule[]> {
    this.#checkOpen();
    return schedules(this.#store);
  }

  async keys(query: KeyQuery): Promise<KeyPage> {
    this.#checkOpen();
    return heldKeys(this.#store, query);
  }

  async stats(query: { readonly queue?: string; readonly name?: string }): Promise<Stats> {
    this.#checkOpen();
    return stats(this.#store, query);
  }

  async lanes(): Promise<{ lanes: LaneInfo[]; pausedQueues: string[] }> {
    this.#checkOpen();
    return lanes(this.#store);
  }

  async processes(): Promise<ProcessInfo[]> {
    this.#checkOpen();
    return processes(this.#store);
  }

  // ── Steer ──────────────────────────────────────────────────────────────────

  async change(ids: readonly JobId[], what: Change): Promise<ChangeResult[]> {
    this.#checkOpen();
    await this.#awaiting.known();
    const results = await change(this.#store, ids, what);
    this.#watchers.tell({ available: "any", finished: ids, asked: "any" });
    return results;
  }

  async define(definitions: readonly JobDefaults[]): Promise<void> {
    this.#checkOpen();
    await define(this.#store, definitions);
  }

  async configure(target: LaneTarget, settings: LaneSettings): Promise<void> {
    this.#checkOpen();
    await configure(this.#store, target, settings);
    if (settings.paused === false) this.#watchers.tell({ available: "any" });
  }

  // ── News ───────────────────────────────────────────────────────────────────

  #tellEnds(settlements: readonly Settlement[]): void {
    const finished = settlements.map(({ lease }) => lease.id);
    this.#watchers.tell(settlements.every(isCompletion) ? { finished } : { finished, available: "any" });
  }

  /** From the first time that somebody wants to hear of something. */
  #listen(): void {
    if (this.#listener !== undefined) return;
    const { database } = this.#store;
    const { listenUrl } = this.#options;
    const channel = channelOf(this.#store.schema);
    this.#listener = new Listener({
      connect: () => database.newClient(listenUrl),
      database,
      channel,
      heard: (payload) => this.#watchers.tell(readNews(payload)),
      reconnected: () => this.#watchers.tell(ANYTHING),
      logger: this.#logger,
      label: this.label,
      typed: (error) => database.typed(error),
    });
    this.#listener.start();
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw new StorageClosedError(`The storage "${this.label}"`);
  }
}

/** As the SQL function `channel` makes it. Where cryptography is regulated, neither side has MD5. */
function channelOf(schema: string): string {
  return `jobwright_${createHash("sha256").update(schema).digest("hex").slice(0, 32)}`;
}
