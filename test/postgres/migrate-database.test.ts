import { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { StorageRefusedError, StorageUnavailableError, StorageVersionError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { postgresLabel } from "../../src/storage/postgres/address.ts";
import { Database } from "../../src/storage/postgres/database.ts";
import { migrate, type MigrateOptions, type MigrateResult } from "../../src/storage/postgres/migrate.ts";
import { checkVersion } from "../../src/storage/postgres/stored-version.ts";
import { type LocalServer, startServer } from "../support/postgres/server.ts";
import { catalogOf, versionsOf } from "./catalog.ts";
import {
  AT_THE_GATE,
  CLOSED_GATE,
  fromTexts,
  GATED_TEXT,
  OPEN_GATE,
  SAMPLE,
  SAMPLE_TEXTS,
} from "./sample-migrations.ts";

// Goal: what migrating promises holds through the engine's own access, with its typed errors, its repetitions
// and its prepared statements; and a server that goes away in the middle is waited for.

let server: LocalServer;
const open: { close(): Promise<unknown> }[] = [];
beforeAll(async () => {
  server = await startServer();
});
afterEach(() => Promise.all(open.splice(0).map((one) => one.close().catch(() => undefined))));
afterAll(() => server[Symbol.asyncDispose]());

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  open.push({ close: () => client.end() });
  return client;
}

function databaseAt(url: string): Database {
  const label = postgresLabel({ url }, "jobwright");
  const database = new Database({ url, label, logger: silentLogger, deadlineMs: 30_000 });
  open.push(database);
  return database;
}

function run(url: string, more: Partial<MigrateOptions> = {}): Promise<MigrateResult> {
  const label = postgresLabel({ url }, "jobwright");
  return migrate(databaseAt(url), { schema: "jobwright", migrations: SAMPLE, label, ...more });
}

async function refusal(promise: Promise<unknown>): Promise<Error> {
  const error: unknown = await promise.then(
    () => expect.fail("it was not refused"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) throw new Error("not an error", { cause: error });
  return error;
}

describe("through the engine's access", () => {
  it("a schema is made once by eight at the same moment", async () => {
    const url = await server.createDatabase();
    const results = await Promise.all(Array.from({ length: 8 }, () => run(url)));
    expect(results.map(({ to }) => to)).toEqual(results.map(() => 3));
    expect(results.flatMap(({ applied }) => applied).sort()).toEqual([1, 2, 3]);
    const client = await connected(url);
    expect(await versionsOf(client, "jobwright")).toEqual(["1 first", "2 colours", "3 split-parts"]);
    expect(await run(url)).toEqual({ from: 3, to: 3, applied: [] });
  });

  it("a lock in the way ends in a typed error that names the server's words once", async () => {
    const url = await server.createDatabase();
    await run(url, { migrations: SAMPLE.slice(0, 1) });
    const other = await connected(url);
    await other.query("begin; select * from jobwright.note");
    const error = await refusal(run(url, { lockTimeoutMs: 20, deadlineMs: 300 }));
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.message).toBe(
      `${postgresLabel({ url }, "jobwright")}: migration 2 (colours) of the schema "jobwright" did not get through in ` +
        "300 ms and changed nothing: canceling statement due to lock timeout. If a lock is in its way, end the " +
        "transaction that holds it (see pg_locks and pg_stat_activity), then repeat.",
    );
    await other.query("commit");
    expect(await run(url)).toMatchObject({ from: 1, to: 3 });
  });

  it("refusals are as they are without it", async () => {
    const url = await server.createDatabase();
    const client = await connected(url);
    await client.query("create table public.migration (id int); create table public.note (id int)");
    const foreign = await refusal(run(url, { schema: "public" }));
    expect(foreign).toBeInstanceOf(StorageRefusedError);
    expect(foreign.message).toContain('the table "migration" in the schema "public" is not jobwright\'s');
    await client.query("drop table public.migration");
    const taken = await refusal(run(url, { schema: "public", pause: () => Promise.resolve() }));
    expect(taken).toBeInstanceOf(StorageRefusedError);
    expect(taken.message).toContain('met something that is not its own: relation "note" already exists');
    await client.query("create role weak login");
    const weak = new URL(url);
    weak.username = "weak";
    const rights = await refusal(run(weak.href));
    expect(rights).toBeInstanceOf(StorageRefusedError);
    expect(rights.message).toContain('to "weak";');
  });

  it("versions are checked", async () => {
    const url = await server.createDatabase();
    const target = { schema: "jobwright", migrations: SAMPLE, label: "the label" };
    expect(await refusal(checkVersion(databaseAt(url), target))).toBeInstanceOf(StorageRefusedError);
    await run(url);
    await expect(checkVersion(databaseAt(url), target)).resolves.toBeUndefined();
    expect(await refusal(run(url, { migrations: SAMPLE.slice(0, 1) }))).toBeInstanceOf(StorageVersionError);
  });

  it("a server that is killed in the middle of a step is waited for, and nothing is half made", async () => {
    const url = await server.createDatabase();
    const migrations = fromTexts([...SAMPLE_TEXTS.slice(0, 1), GATED_TEXT]);
    const client = await connected(url);
    await client.query(CLOSED_GATE);
    const migrating = run(url, { migrations });
    let isInside = false;
    while (!isInside) {
      const { rows } = await client.query(`select 1 from pg_stat_activity where ${AT_THE_GATE}`);
      isInside = rows.length > 0;
    }
    await server.kill();
    await server.start();
    await (await connected(url)).query(OPEN_GATE);
    expect(await migrating).toEqual({ from: 0, to: 2, applied: [1, 2] });
    const after = await connected(url);
    const twin = await server.createDatabase();
    await (await connected(twin)).query(`${CLOSED_GATE}; ${OPEN_GATE}`);
    await run(twin, { migrations });
    expect(await catalogOf(after, "jobwright")).toEqual(await catalogOf(await connected(twin), "jobwright"));
  });
});
