import pg from "pg";
import { afterEach, beforeAll, expect } from "vitest";
import { silentLogger } from "../../src/logger.ts";
import { postgresLabel } from "../../src/storage/postgres/address.ts";
import {
  Database,
  type DatabaseOptions,
  type Queryable,
  type Statement,
} from "../../src/storage/postgres/database.ts";
import { type Postgres, postgres } from "../support/postgres/server.ts";

/** What tests of the access to a database have in common. Everything is closed after each test. */
export interface Stage {
  readonly server: Postgres;
  /** A database of the test file's own. */
  readonly url: string;
  /** Access to it, or to what the options say; `lines` is what it logged. */
  database(options?: Partial<DatabaseOptions>): Database & { readonly lines: string[] };
  /** A pool as users have one. */
  pool(options?: pg.PoolConfig): pg.Pool;
  /** Kill a backend, and wait until it is gone. */
  kill(pid: number): Promise<void>;
  isAlive(pid: number): Promise<boolean>;
  connectionsTo(url: string): Promise<number>;
}

/** Set a stage for the tests of a file. It can be used within them. */
export function stage(): Stage {
  let server: Postgres;
  let url: string;
  const open: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    server = await postgres();
    url = await server.createDatabase();
  });
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close();
  });
  const isAlive = async (pid: number): Promise<boolean> =>
    (await server.query("select 1 from pg_stat_activity where pid = $1", [pid])).length > 0;
  return {
    get server() {
      return server;
    },
    get url() {
      return url;
    },
    database: (options = {}) => {
      const lines: string[] = [];
      const log = (line: string): void => void lines.push(line);
      const source = options.pool === undefined ? { url: options.url ?? url } : {};
      const made = new Database({
        ...source,
        label: postgresLabel({ ...source, ...options }, "jobwright"),
        logger: { ...silentLogger, info: log, warn: log, error: log },
        deadlineMs: 20_000,
        random: () => 0,
        ...options,
      });
      open.push(() => made.close());
      return Object.assign(made, { lines });
    },
    pool: (options = {}) => {
      const made = new pg.Pool({ connectionString: url, max: 3, ...options });
      open.push(() => (made.ended || made.ending ? Promise.resolve() : made.end()));
      return made;
    },
    kill: async (pid) => {
      await server.query("select pg_terminate_backend($1)", [pid]);
      await until(async () => !(await isAlive(pid)));
    },
    isAlive,
    connectionsTo: async (of) => {
      const name = new URL(of).pathname.slice(1);
      const sql = "select count(*)::int as n from pg_stat_activity where datname = $1";
      return (await server.query(sql, [name]))[0]?.["n"] as number;
    },
  };
}

let names = 0;

/** A statement that no other test has prepared. */
export const statement = (text: string): Statement => ({ name: `test_${++names}`, text });

export const ONE: Statement = statement("select 1");
export const PID: Statement = statement("select pg_backend_pid()");
export const SLEEP: Statement = statement("select pg_sleep(60)");

export const pidOf = async (on: Queryable): Promise<number> => Number((await on.query(PID, []))[0]?.[0]);

/** What a call fails with. */
export const errorOf = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => expect.unreachable("it succeeded"),
    (error: unknown) => error as Error,
  );

/** Ask until the answer is yes; the test's own time is the bound. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(setImmediate);
}
