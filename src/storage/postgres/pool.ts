import { StorageUnavailableError } from "../../errors.ts";
import { Connection, type Lender } from "./connection.ts";
import type { Deadline } from "./deadline.ts";
import { isReadOnly } from "./failures.ts";
import type { Pg, PgClient, PgClientClass, PgPoolInside } from "./pg.ts";

/** How long the server may take to open a connection of ours. */
const CONNECT_MS = 10_000;
/** Unused connections of ours end after this time. */
const IDLE_MS = 60_000;
/** Silence on a connection after which the kernel asks whether the other side is still there. */
const KEEP_ALIVE_MS = 10_000;
/** Calls that may wait for a connection of one pool, those that have given up included. */
const WAITING_MAX = 1_000;
/** Connections that one call throws away because nobody has heard of them since others fell silent. */
const DISTRUSTED_MAX = 100;
/** What `pg` says of a pool that its owner has ended. */
const ENDED = "Cannot use a pool after calling end on the pool";
/** How long the server may take to say goodbye. */
export const GOODBYE_MS = 1_000;

/** Connections lent to calls, each until a deadline; made and kept by a `pg.Pool`, ours or the user's. */
export class Connections implements Lender {
  readonly label: string;
  readonly #pool: PgPoolInside;
  readonly #ends: (() => Promise<void>) | undefined;
  /** How often a connection has fallen silent; and at which count each of the others was last heard of. */
  #silences = 0;
  readonly #heard = new WeakMap<PgClient, number>();
  readonly #lent = new Set<Connection>();
  /** Calls that wait for the pool, by what makes one give up. Those that have given up stay until it answers. */
  readonly #waiting = new Set<(error: unknown) => void>();
  #emptied: (() => void) | undefined;

  /**
   * @param ends how to end the pool, if it is ours
   */
  constructor(pool: PgPoolInside, label: string, ends?: () => Promise<void>) {
    this.label = label;
    this.#pool = pool;
    this.#ends = ends;
    pool.on("error", this.#onError);
    pool.on("connect", this.#onConnect);
  }

  /**
   * A connection, made when none is free.
   *
   * @throws what `pg` throws, as it is; StorageUnavailableError when none is free before the deadline
   */
  async take(deadline: Deadline): Promise<Connection> {
    for (let tries = 0; ; tries += 1) {
      const connection = await this.#ask(deadline, tries < DISTRUSTED_MAX);
      if (connection !== undefined) return connection;
    }
  }

  giveBack(connection: Connection, error?: unknown): void {
    // When a standby takes the primary's place, all of them lead to the server that was the primary.
    if (isReadOnly(error)) this.#silences += 1;
    else if (!connection.isOver) this.#heard.set(connection.client, this.#silences);
    connection.release(error);
    this.#lent.delete(connection);
    this.#mayBeEmpty();
  }

  /** Since it says nothing, its neighbours that say nothing either are not trusted before they are used again. */
  silent(): void {
    this.#silences += 1;
  }

  /**
   * Wait for calls under way, then throw their connections away, and end the pool if it is ours.
   */
  async close(graceMs: number): Promise<void> {
    const emptied = new Promise<void>((resolve) => (this.#emptied = resolve));
    this.#dropWhenEnded();
    this.#mayBeEmpty();
    await atMost(graceMs, emptied);
    for (const connection of this.#lent) connection.destroy();
    this.#lent.clear();
    await this.#ends?.();
    this.#pool.off("connect", this.#onConnect);
    this.#pool.off("error", this.#onError);
  }

  #ask(deadline: Deadline, isChoosy: boolean): Promise<Connection | undefined> {
    if (deadline.leftMs === 0) return Promise.reject(this.#exhausted(`none within ${deadline.ms} ms`));
    if (this.#waiting.size >= WAITING_MAX)
      return Promise.reject(this.#exhausted(`${WAITING_MAX} calls wait`));
    return new Promise((resolve, reject) => {
      let isLate = false;
      const giveUp = (error: unknown): void => {
        isLate = true;
        clearTimeout(timer);
        reject(error);
      };
      const timer = setTimeout(
        () => giveUp(this.#exhausted(`none was free within ${deadline.ms} ms`)),
        deadline.leftMs,
      );
      this.#waiting.add(giveUp);
      // Not as a promise: between its resolution and our turn the connection could break unheard.
      this.#pool.connect((error, client, done) => {
        this.#waiting.delete(giveUp);
        clearTimeout(timer);
        if (isLate) done?.();
        else if (error) reject(error);
        else resolve(this.#lend(client, done, isChoosy));
        if (error) this.#dropWhenEnded();
        this.#mayBeEmpty();
      });
    });
  }

  /** A pool that its owner has ended forgets who waits, and answers none of them. */
  #dropWhenEnded(): void {
    if (this.#pool.ending !== true) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const giveUp of waiting) giveUp(new Error(ENDED));
  }

  /** `undefined` for a connection that cannot be trusted, which is thrown away. */
  #lend(client: PgClient, done: (error?: unknown) => void, isChoosy: boolean): Connection | undefined {
    const connection = new Connection(client, done, this);
    // In a transaction that somebody has left open, what we do would be taken back with it some day.
    const isFree = (client.getTransactionStatus?.() ?? "I") === "I";
    if (!isFree || (isChoosy && (this.#heard.get(client) ?? 0) < this.#silences)) {
      connection.destroy();
      return undefined;
    }
    this.#lent.add(connection);
    return connection;
  }

  #mayBeEmpty(): void {
    if (this.#lent.size === 0 && this.#waiting.size === 0) this.#emptied?.();
  }

  #exhausted(why: string): StorageUnavailableError {
    return new StorageUnavailableError(
      `${this.label} has no connection to give: ${why}; the pool has ${this.#pool.totalCount}, all in use or ` +
        "being made. Raise its size, or find out who holds them.",
    );
  }

  readonly #onConnect = (client: PgClient): void => void this.#heard.set(client, this.#silences);

  /** An unused connection broke. The pool has dropped it; unheard, the event would end the process. */
  readonly #onError = (): void => undefined;
}

/** Where a client of our own connects to: options of `pg`. */
export type Target = Readonly<Record<string, unknown>>;

/** A pool of our own, and how to end it. */
export function ownPool(
  pg: Pg,
  Client: PgClientClass,
  target: Target,
  max: number,
): [PgPoolInside, () => Promise<void>] {
  const clients = new Set<PgClient>();
  const pool = new pg.Pool({
    ...target,
    max,
    idleTimeoutMillis: IDLE_MS,
    // Who works with the storage keeps the process alive, not its connections.
    allowExitOnIdle: true,
    Client: class extends Client {
      constructor(options: Target) {
        super(clientOptions(options));
        clients.add(this);
        this.once("end", () => clients.delete(this));
      }
    },
  });
  const end = async (): Promise<void> => {
    await atMost(GOODBYE_MS, pool.end());
    // Those that were told to end wait for the server's goodbye, which may never come.
    const ends = [...clients].map((client) => new Promise<void>((resolve) => client.once("end", resolve)));
    await atMost(GOODBYE_MS, Promise.all(ends));
    for (const client of clients) client.connection?.stream?.destroy();
  };
  return [pool, end];
}

/** The options of a client of ours. Time to connect is limited here, as a pool's limit would count waiting as well. */
export function clientOptions(target: Target): Target {
  return {
    fallback_application_name: "jobwright",
    ...target,
    // A pool hides it from those who copy options.
    ...(target["password"] === undefined ? {} : { password: target["password"] }),
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
  };
}

/** Wait for something, but not for ever; its failure is an end as well. */
export async function atMost(ms: number, promise: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const end = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([promise?.catch(() => undefined), end]);
  clearTimeout(timer);
}
