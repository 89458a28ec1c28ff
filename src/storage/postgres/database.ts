import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import {
  InvalidOptionError,
  type JobwrightError,
  StorageClosedError,
  StorageUnavailableError,
} from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { checkUrl, secretsOf } from "./address.ts";
import type { Connection, Statement } from "./connection.ts";
import { Deadline, pauseMs } from "./deadline.ts";
import { isConflict, isStalePlan, isUnprepared, type Scrub, scrubber, typedError } from "./failures.ts";
import { loadPg, type PgClient, type PgPool, type PgPoolInside, type Row, type Value } from "./pg.ts";
import { clientOptions, Connections, ownPool, type Target } from "./pool.ts";
import { checkServer } from "./server.ts";
import { Transaction } from "./transaction.ts";

export type { PgClient, PgPool, Row, Statement, Value };

/** How long a call may take when nothing else is said. */
const DEADLINE_MS = 30_000;
/** The longest time a timer can be set for. */
const DEADLINE_MS_MAX = 2_147_483_647;
const CONNECTIONS = 4;
const CONNECTIONS_MAX = 1_000;
/** How long one attempt to open may take, of several until the deadline. */
const OPEN_TRY_MS = 10_000;
const OPEN_PAUSE_MS_FIRST = 50;
const OPEN_PAUSE_MS_MAX = 2_000;
/** How often a call is made when conflicting writes of others have it taken back. */
const CONFLICT_TRIES = 12;
const CONFLICT_PAUSE_MS_FIRST = 4;
const CONFLICT_PAUSE_MS_MAX = 500;
/** How often it is made when a migration has outdated prepared statements, once for each connection of a pool. */
const STALE_TRIES = 100;
/** How long calls under way may take when the database is closed. */
const CLOSE_MS = 5_000;

/** Something that takes statements: the database, or a transaction on it. */
export interface Queryable {
  /** One round trip. Values go as text; the statement casts them. */
  query(statement: Statement, values: readonly Value[]): Promise<Row[]>;
}

/** Where the database is and how it is talked to. */
export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`; exactly one of this and `pool`. */
  readonly url?: string;
  /** A `pg.Pool` of the user, which stays open. */
  readonly pool?: PgPool;
  /** Connections made from a URL, besides one for claims. @default 4 */
  readonly maxConnections?: number;
  /** Connections of our own for claims and beats. @default 1 from a URL, 0 (those of the pool) from a pool */
  readonly claimConnections?: number;
  /** Time for each call, waiting for a connection included. @default 30 s */
  readonly deadlineMs?: number;
  /** Whether the server keeps statements prepared; given up by itself where it cannot. @default true */
  readonly prepare?: boolean;
  /** How messages call it; holds no secret. */
  readonly label: string;
  readonly logger: Logger;
  readonly random?: () => number;
}

/** How one call differs from the others. */
export interface CallOptions {
  readonly deadlineMs?: number;
  /** Claims and beats have a line of their own, so that a flood of enqueues keeps nobody alive waiting. */
  readonly on?: "claims";
}

/**
 * A PostgreSQL database: every call ends, with an answer or with an error of ours that says what to do.
 * Broken connections are replaced by themselves; only conflicts are repeated here, as nothing else is
 * certain to have had no effect.
 */
export class Database implements Queryable {
  readonly #options: DatabaseOptions;
  readonly #random: () => number;
  #scrub: Scrub;
  readonly #closing = new AbortController();
  #prepare: boolean;
  #connected: Promise<void> | undefined;
  #calls: Connections | undefined;
  #claims: Connections | undefined;
  #closed: Promise<void> | undefined;

  /** @throws InvalidOptionError */
  constructor(options: DatabaseOptions) {
    checkOptions(options);
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#prepare = options.prepare ?? true;
    this.#scrub = scrubber(secretsOf(options));
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * Wait for the server, if need be until the deadline, and check that it is one we can work with.
   *
   * @throws StorageUnavailableError, StorageRefusedError, MissingDependencyError, StorageClosedError
   */
  async open(): Promise<void> {
    const deadline = this.#deadline();
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#check(deadline);
      } catch (error) {
        const waitMs = pauseMs(tries, OPEN_PAUSE_MS_FIRST, OPEN_PAUSE_MS_MAX, this.#random);
        if (!(error instanceof StorageUnavailableError) || deadline.leftMs <= waitMs) throw error;
        if (tries === 1) this.#options.logger.warn(`${error.message} Trying for ${deadline.ms} ms.`);
        await this.#pause(waitMs);
      }
    }
  }

  /**
   * One statement, in a transaction of its own.
   *
   * @throws StorageUnavailableError, StorageRefusedError, StorageFullError, StorageClosedError
   */
  async query(statement: Statement, values: readonly Value[], options: CallOptions = {}): Promise<Row[]> {
    const deadline = this.#deadline(options);
    const connections = await this.#connections(options);
    for (let tries = 1; ; tries += 1) {
      const prepare = this.#prepare;
      let connection: Connection | undefined;
      try {
        connection = await connections.take(deadline);
        const { rows } = await connection.run(statement, values, deadline, prepare);
        connections.giveBack(connection);
        return rows;
      } catch (error) {
        if (connection !== undefined) connections.giveBack(connection, error);
        if (!(await this.#repeats(error, tries, prepare, deadline))) throw this.#typed(error);
      }
    }
  }

  /**
   * Several statements that take effect together. The body is run again when conflicting writes of others
   * have had it taken back, so it keeps nothing of a run before; what it throws takes everything back.
   *
   * @throws StorageUnavailableError also when the answer to the commit was lost: it may have taken effect
   */
  async transaction<T>(body: (tx: Queryable) => Promise<T>, options: CallOptions = {}): Promise<T> {
    const deadline = this.#deadline(options);
    const connections = await this.#connections(options);
    for (let tries = 1; ; tries += 1) {
      const prepare = this.#prepare;
      let tx: Transaction | undefined;
      try {
        tx = new Transaction(
          await connections.take(deadline),
          deadline,
          prepare,
          this.#options.label,
          this.#typed,
        );
        const answer = await tx.run(body);
        connections.giveBack(tx.connection);
        return answer;
      } catch (error) {
        if (tx === undefined) throw this.#typed(error);
        connections.giveBack(tx.connection, tx.failure);
        if (!(await this.#repeats(tx.failure, tries, prepare, deadline))) throw error;
      }
    }
  }

  /**
   * A client that is not connected yet, for a connection that stays: for `LISTEN`.
   *
   * @param url where to, when that is not where the database is reached
   */
  async newClient(url?: string): Promise<PgClient> {
    if (url !== undefined) {
      checkUrl(url);
      this.#scrub = scrubber([...secretsOf(this.#options), ...secretsOf({ url })]);
    }
    const pg = await loadPg();
    const { pool } = this.#options;
    const Client = (url === undefined ? insideOf(pool)?.Client : undefined) ?? pg.Client;
    return new Client(clientOptions(url === undefined ? this.#target : { connectionString: url }));
  }

  /** Hide what no message may hold, and name what has failed, as all errors of this database do. */
  typed(error: unknown): JobwrightError {
    return this.#typed(error);
  }

  /** Let calls under way end, for a short time, and let go of everything. A pool handed in stays open. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    await this.#connected?.catch(() => undefined);
    await Promise.all([this.#calls?.close(CLOSE_MS), this.#claims?.close(CLOSE_MS)]);
  }

  async #check(deadline: Deadline): Promise<void> {
    const options = { deadlineMs: Math.max(1, deadline.atMost(OPEN_TRY_MS).leftMs) };
    await checkServer(
      { query: (statement, values) => this.query(statement, values, options) },
      this.#options.label,
      this.#options.logger,
    );
  }

  #deadline({ deadlineMs }: CallOptions = {}): Deadline {
    return new Deadline(deadlineMs ?? this.#options.deadlineMs ?? DEADLINE_MS);
  }

  async #connections({ on }: CallOptions): Promise<Connections> {
    if (this.#closed !== undefined) throw new StorageClosedError(this.#options.label);
    if (this.#calls === undefined) {
      this.#connected ??= this.#connect();
      await this.#connected;
    }
    return ((on === "claims" ? this.#claims : undefined) ?? this.#calls) as Connections;
  }

  async #connect(): Promise<void> {
    const { pool, label, maxConnections = CONNECTIONS } = this.#options;
    const { claimConnections = pool === undefined ? 1 : 0 } = this.#options;
    const own = async (max: number): Promise<Connections> => {
      const pg = await loadPg();
      const [made, end] = ownPool(pg, insideOf(pool)?.Client ?? pg.Client, this.#target, max);
      return new Connections(made, label, end);
    };
    try {
      if (claimConnections > 0) this.#claims = await own(claimConnections);
      const inside = insideOf(pool);
      this.#calls = inside === undefined ? await own(maxConnections) : new Connections(inside, label);
    } catch (error) {
      this.#connected = undefined;
      throw this.#typed(error);
    }
  }

  get #target(): Target {
    const { url, pool } = this.#options;
    if (url !== undefined) return { connectionString: url };
    const options = pool?.options as Target;
    return { ...options, password: options["password"] };
  }

  /** Whether to try again, asked when it is time to. */
  async #repeats(error: unknown, tries: number, prepare: boolean, deadline: Deadline): Promise<boolean> {
    if (prepare && isUnprepared(error)) {
      this.#stopPreparing();
      return true;
    }
    if (isStalePlan(error)) return tries < STALE_TRIES;
    if (!isConflict(error) || tries >= CONFLICT_TRIES) return false;
    const waitMs = pauseMs(tries, CONFLICT_PAUSE_MS_FIRST, CONFLICT_PAUSE_MS_MAX, this.#random);
    if (deadline.leftMs <= waitMs) return false;
    await this.#pause(waitMs);
    return true;
  }

  #stopPreparing(): void {
    if (!this.#prepare) return;
    this.#prepare = false;
    this.#options.logger.warn(
      `${this.#options.label} forgets prepared statements (a pooler in transaction mode?): going on without ` +
        "them, which costs some speed.",
    );
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#closing;
    await sleep(ms, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) throw new StorageClosedError(this.#options.label);
  }

  readonly #typed = (error: unknown): JobwrightError => typedError(error, this.#options.label, this.#scrub);
}

function insideOf(pool: PgPool | undefined): PgPoolInside | undefined {
  return pool as PgPoolInside | undefined;
}

function checkOptions(options: DatabaseOptions): void {
  const { url, pool, maxConnections = CONNECTIONS, claimConnections = 0, deadlineMs = DEADLINE_MS } = options;
  if ((url === undefined) === (pool === undefined)) {
    const given = url === undefined ? "neither" : "both";
    throw new InvalidOptionError("url or pool", given, "Give exactly one of the two.");
  }
  if (url === undefined) checkPool(pool);
  else checkUrl(url);
  checkNumber("maxConnections", maxConnections, 1, CONNECTIONS_MAX);
  checkNumber("claimConnections", claimConnections, 0, CONNECTIONS_MAX);
  checkNumber("deadlineMs", deadlineMs, 1, DEADLINE_MS_MAX);
}

function checkPool(pool: unknown): void {
  const { connect, on, options, totalCount } = (pool ?? {}) as Partial<Record<string, unknown>>;
  const isPool = typeof connect === "function" && typeof on === "function" && typeof totalCount === "number";
  if (!isPool || typeof options !== "object" || options === null) {
    throw new InvalidOptionError(
      "pool",
      pool,
      "Use a pg.Pool, not a client; for other drivers, give the URL.",
    );
  }
  if ((options as { binary?: unknown }).binary) {
    throw new InvalidOptionError("pool.options.binary", true, "Use a pool that takes answers as text.");
  }
}

function checkNumber(option: string, value: unknown, min: number, max: number): void {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return;
  throw new InvalidOptionError(option, value, `Use a whole number from ${min} to ${max}.`);
}
