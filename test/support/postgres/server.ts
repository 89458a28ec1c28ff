/**
 * PostgreSQL for tests. Nothing is started before it is asked for.
 *
 * ```ts
 * const { createDatabase, freshSchema } = await postgres(); // one server, shared by all files of the run
 * const pool = new pg.Pool({ connectionString: await createDatabase() });
 *
 * await using server = await startServer({ fsync: true }); // one of this test, to be killed
 * await server.kill();
 * await server.start();
 * ```
 *
 * Which PostgreSQL that is, `find.ts` decides. Servers and folders go away at the end of the run, also
 * after `kill -9`. A program outside vitest may use all this too.
 */
import { createDatabase, dropDatabase, freshName, query, type Row } from "./database.ts";
import { LocalServer, type ServerOptions } from "./local-server.ts";
import { ask } from "./ask.ts";

export { endOwn as endPostgres } from "./ask.ts";
export { LocalServer, type ServerOptions } from "./local-server.ts";
export type { Row } from "./database.ts";

export interface Postgres {
  /** A database that all files of this run share: use schemas of your own in it. */
  readonly url: string;
  /** Make an empty database (about 30 ms). Answers its URL. */
  createDatabase(): Promise<string>;
  /** Drop a database, whoever is connected. What is not dropped goes at the end of the run. */
  dropDatabase(url: string): Promise<void>;
  /** A name for a schema of your own in the shared database; costs nothing, so use it for the many. */
  freshSchema(): string;
  /** Run one statement in the shared database, on a connection of its own. */
  query(sql: string, values?: readonly unknown[]): Promise<Row[]>;
}

let known: Promise<Postgres> | undefined;

/** The server of this run; the first who asks waits a second for its start. */
export function postgres(): Promise<Postgres> {
  return (known ??= ask("shared").then(({ url, server, prefix }) => ({
    url,
    createDatabase: () => createDatabase(server, prefix),
    dropDatabase: (database) => dropDatabase(server, database),
    freshSchema: () => `jobwright_${freshName()}`,
    query: (sql, values) => query(url, sql, values),
  })));
}

/**
 * Start a server of one's own (about 0.2 s). It is a program of this machine or of npm even when
 * `TEST_DATABASE_URL` is set, since that one must not be killed.
 */
export async function startServer(options: ServerOptions = {}): Promise<LocalServer> {
  return LocalServer.start(await ask("template"), options);
}
