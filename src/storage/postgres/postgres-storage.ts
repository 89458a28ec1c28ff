import { createHash } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { StorageClosedError } from "../../errors.ts";
import type { AttemptEntry, JobId } from "../../job/job.ts";
import type { Change, ChangeResult } from "../../job/lifecycle.ts";
import { checkKnown } from "../../known-options.ts";
import { lineLogger, type Logger, safeLogger } from "../../logger.ts";
import type {
  BeatResult,
  ClaimRequest,
  ClaimResult,
  CountQuery,
  GroupResult,
  JobDefaults,
  Interest,
  LaneInfo,
  LaneSettings,
  LaneTarget,
  Lease,
  ListQuery,
  NewJob,
  Note,
  ProcessBeat,
  ProcessInfo,
  RescuedJob,
  RescueRequest,
  Settlement,
  SettleResult,
  StoredJob,
  Unwatch,
} from "../storage.ts";
import type { Completion, TransactionalStorage } from "../transactional.ts";
import { postgresLabel } from "./address.ts";
import { Awaiting } from "./awaiting.ts";
import { beat } from "./beat.ts";
import { change, configure } from "./change.ts";
import { Claims } from "./claim.ts";
import { isCompletion } from "./complete.ts";
import { Database, type PgPool } from "./database.ts";
import { DatabaseClock } from "./database-clock.ts";
import { define } from "./define.ts";
import { enqueue } from "./enqueue.ts";
import { completeJoined, enqueueJoined } from "./join.ts";
import { Listener } from "./listener.ts";
import { attempts, count, get, lanes, list, processes } from "./look.ts";
import { migrate } from "./migrate.ts";
import { DEFAULT_SCHEMA, MIGRATIONS } from "./migrations.ts";
import { note } from "./note.ts";
import { Policies } from "./policies.ts";
import { checkSchemaName, quoteIdentifier } from "./quoting.ts";
import { rescue } from "./rescue.ts";
import { exchange, settle } from "./settle.ts";
import { Leases, statements, type Store } from "./store.ts";
import { checkVersion } from "./stored-version.ts";
import { ensureDays, promote, prune } from "./upkeep.ts";
import { ANYTHING, readNews, Watchers } from "./watchers.ts";

/** How a PostgreSQL storage is made; exactly one of `url` and `pool`. */
export interface PostgresStorageOptions {
  /** `postgres://user:password@host:port/database` */
  readonly url?: string;
  /** Your own `pg.Pool`. It stays yours: its settings are not touched, and it is not closed. */
  readonly pool?: PgPool;
  /** The schema that holds the tables; made when it is missing. @default "jobwright" */
  readonly schema?: string;
  /** Connections for everything but claims and LISTEN, when made from a URL. @default 4 */
  readonly maxConnections?: number;
  /** Own connections for claims and beats. @default 1 with a URL, 0 with a pool */
  readonly claimConnections?: number;
  /** Where LISTEN works, when `url` or `pool` lead through a pooler in transaction mode. */
  readonly listenUrl?: string;
  /** Create or upgrade the schema when the storage is opened. @default true */
  readonly migrate?: boolean;
  /** The time that scheduling follows, for tests. @default the database's */
  readonly clock?: Clock;
  /** Milliseconds for beats and rescue, for tests. @default the database's */
  readonly liveness?: () => number;
  /** Longest time a call may take, in ms. @default 30_000 */
  readonly deadlineMs?: number;
  /** Prepare statements by name; given up by itself where a pooler does not keep them. @default true */
  readonly prepare?: boolean;
  /** @default warnings and errors as lines on standard error */
  readonly logger?: Logger;
}

/** A third of the time for which an enqueue is repeated. */
const PROMPT_MS = 10_000;

const KNOWN: readonly (keyof PostgresStorageOptions)[] = [
  "url",
  "pool",
  "schema",
  "maxConnections",
  "claimConnections",
  "listenUrl",
  "migrate",
  "clock",
  "liveness",
  "deadlineMs",
  "prepare",
  "logger",
];

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
    checkKnown("PostgresStorage option", options, KNOWN);
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

  async promote(limit: number): Promise<{ promoted: number; nextAt?: number }> {
    this.#checkOpen();
    await this.#databaseClock?.compare(this.#store);
    const result = await promote(this.#store, limit);
    if (result.promoted > 0) this.#watchers.tell({ available: "any" });
    return result;
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

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Options that were given. */
function defined<T extends object>(options: T): Defined<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Defined<T>;
}
