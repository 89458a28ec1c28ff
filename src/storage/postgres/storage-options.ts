import type { Clock } from "../../clock.ts";
import { checkKnown } from "../../known-options.ts";
import type { Logger } from "../../logger.ts";
import type { PgPool } from "./database.ts";

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

/** @throws InvalidOptionError for one that does not exist */
export function checkStorageOptions(options: PostgresStorageOptions): void {
  checkKnown("PostgresStorage option", options, KNOWN);
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Options that were given. */
export function defined<T extends object>(options: T): Defined<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Defined<T>;
}
