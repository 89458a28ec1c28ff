import { randomBytes } from "node:crypto";

export type Row = Record<string, unknown>;

/** How long a statement of the set-up may take. */
const DEADLINE_MS = 60_000;

/** Run one statement on a connection of its own. */
export async function query(url: string, sql: string, values: readonly unknown[] = []): Promise<Row[]> {
  // Loaded when needed: most files of tests need no database.
  const { Client } = (await import("pg")).default;
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: DEADLINE_MS,
    query_timeout: DEADLINE_MS,
    application_name: "jobwright tests",
  });
  client.on("error", () => undefined);
  await client.connect();
  try {
    const result = await client.query<Row>(sql, [...values]);
    // Several statements in one text have several results.
    return (Array.isArray(result) ? result.at(-1) : result).rows;
  } finally {
    await client.end();
  }
}

/** Make an empty database with a fresh name. Answers its URL. */
export async function createDatabase(server: string, prefix = "jobwright_test"): Promise<string> {
  const name = `${prefix}_${freshName()}`;
  await query(
    server,
    `create database "${name}" template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'`,
  );
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** Drop a database, whoever is still connected to it. */
export async function dropDatabase(server: string, database: string): Promise<void> {
  const name = decodeURIComponent(new URL(database).pathname.slice(1));
  await query(server, `drop database if exists "${name.replaceAll('"', '""')}" with (force)`);
}

/** A name that no process of this or another run has used. */
export function freshName(): string {
  return randomBytes(8).toString("hex");
}
