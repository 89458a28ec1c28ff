import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  InvalidOptionError,
  StorageRefusedError,
  StorageUnavailableError,
  StorageVersionError,
} from "../../src/errors.ts";
import { migrate, type MigrateOptions, type MigrateResult } from "../../src/storage/postgres/migrate.ts";
import { migrationScript, migrationsSql } from "../../src/storage/postgres/migration-sql.ts";
import type { Migration } from "../../src/storage/postgres/migration/migration.ts";
import { MIGRATIONS } from "../../src/storage/postgres/migrations.ts";
import { quoteIdentifier, quoteLiteral } from "../../src/storage/postgres/quoting.ts";
import { checkVersion } from "../../src/storage/postgres/stored-version.ts";
import { buildChildren } from "../crash/scene.ts";
import { type LocalServer, startServer } from "../support/postgres/server.ts";
import { isLong, size } from "../support/size.ts";
import { catalogOf, versionsOf } from "./catalog.ts";
import { Migrator, together } from "./migrator.ts";
import { overClients } from "./pg-migration-database.ts";
import {
  AT_THE_GATE,
  CLOSED_GATE,
  fromTexts,
  GATED_TEXT,
  inSchema,
  OPEN_GATE,
  SAMPLE,
  SAMPLE_TEXTS,
} from "./sample-migrations.ts";

// Goal: whoever migrates, how many at once, killed when and where, a schema is at one whole version and
// every way to get there leads to the same schema.
// Method: a history of three versions (and jobwright's own) on a real server, compared by its catalog.

let server: LocalServer;
const clients: Client[] = [];
const LABEL = "postgres://somewhere/jobs#jobwright";
const HISTORIES: readonly (readonly [string, readonly Migration[]])[] = [
  ["a sample history", SAMPLE],
  ["jobwright's own", MIGRATIONS],
];

beforeAll(async () => {
  await buildChildren();
  server = await startServer();
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => undefined)));
  await Promise.all(used.splice(0).map(cleaned));
});
afterAll(() => server[Symbol.asyncDispose]());

async function connected(url: string, user?: string): Promise<Client> {
  const target = new URL(url);
  if (user !== undefined) target.username = user;
  const client = new Client({ connectionString: target.href });
  client.on("error", () => undefined);
  await client.connect();
  clients.push(client);
  return client;
}

/** An empty database, and a connection to it. They are cleaned and used again: making one costs far more. */
async function emptyDatabase(): Promise<{ url: string; client: Client }> {
  const url = free.pop() ?? (await server.createDatabase());
  used.push(url);
  return { url, client: await connected(url) };
}

const free: string[] = [];
const used: string[] = [];

async function cleaned(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(`do $$ declare s name; begin
    for s in select nspname from pg_namespace where nspname !~ '^pg_|^information_schema$' loop
      execute format('drop schema %I cascade', s);
    end loop;
    create schema public;
    execute format('alter database %I reset all', current_database());
  end $$`);
  await client.end();
  free.push(url);
}

function run(client: Client, more: Partial<MigrateOptions> = {}): Promise<MigrateResult> {
  return migrate(
    overClients(() => client),
    {
      schema: "jobwright",
      migrations: SAMPLE,
      label: LABEL,
      pause: () => new Promise((resolve) => setImmediate(resolve)),
      ...more,
    },
  );
}

/** What it rejects with. */
async function refusal(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.fail("it was not refused"),
    (error: unknown) => {
      if (!(error instanceof Error)) throw new Error("not an error", { cause: error });
      return error;
    },
  );
}

/** The catalog that the runner makes of the first versions of a history. */
async function catalogAt(version: number, migrations: readonly Migration[] = SAMPLE): Promise<string[]> {
  const known = catalogs.get(migrations) ?? [];
  catalogs.set(migrations, known);
  known[version] ??= (async () => {
    const { client } = await emptyDatabase();
    if (version > 0) await run(client, { migrations: migrations.slice(0, version) });
    return catalogOf(client, "jobwright");
  })();
  return known[version];
}

const catalogs = new Map<readonly Migration[], Promise<string[]>[]>();

describe("migrate", () => {
  it("makes a schema, and finds it complete the next time", async () => {
    const { client } = await emptyDatabase();
    const before = Date.now();
    expect(await run(client)).toEqual({ from: 0, to: 3, applied: [1, 2, 3] });
    expect(await versionsOf(client, "jobwright")).toEqual(["1 first", "2 colours", "3 split-parts"]);
    const { rows } = await client.query<{ at: number }>("select applied_at at from jobwright.migration");
    for (const { at } of rows) expect(Math.abs(at - before)).toBeLessThan(60_000);
    expect(await run(client)).toEqual({ from: 3, to: 3, applied: [] });
  });

  it("only looks when there is nothing to do, without locks and without writes", async () => {
    const { url, client } = await emptyDatabase();
    await run(client);
    const other = await connected(url);
    await other.query("begin; lock table jobwright.migration in exclusive mode");
    await other.query(
      "select pg_advisory_xact_lock(hashtextextended('jobwright migration of jobwright', 0))",
    );
    await client.query("set default_transaction_read_only = on");
    expect(await run(client)).toEqual({ from: 3, to: 3, applied: [] });
    await other.query("rollback");
  });

  it("goes on where an older version stopped", async () => {
    const { client } = await emptyDatabase();
    await run(client, { migrations: SAMPLE.slice(0, 1) });
    expect(await run(client)).toEqual({ from: 1, to: 3, applied: [2, 3] });
    expect(await catalogOf(client, "jobwright")).toEqual(await catalogAt(3));
  });

  it("keeps versions whole when a statement of a step fails", async () => {
    const { client } = await emptyDatabase();
    const broken: Migration = {
      version: 3,
      name: "broken",
      sql: (s) => `create table ${s}.half (id bigint); select 1 / 0;`,
    };
    const error = await refusal(run(client, { migrations: [...SAMPLE.slice(0, 2), broken] }));
    expect(error).toBeInstanceOf(StorageRefusedError);
    expect(error.message).toBe(
      `${LABEL}: migration 3 (broken) of the schema "jobwright" failed and changed nothing: division by zero. ` +
        "See docs/migrations.md.",
    );
    expect(await versionsOf(client, "jobwright")).toEqual(["1 first", "2 colours"]);
    expect(await catalogOf(client, "jobwright")).toEqual(await catalogAt(2));
  });

  it("leaves no setting and no lock on the connection", async () => {
    const { client } = await emptyDatabase();
    await run(client);
    const { rows } = await client.query(
      `select current_setting('lock_timeout') lock, current_setting('statement_timeout') statement,
        (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) locks`,
    );
    expect(rows).toEqual([{ lock: "0", statement: "0", locks: 0 }]);
  });

  it("refuses a list with a gap, a repetition or a name that is none", async () => {
    const { client } = await emptyDatabase();
    const [one, two, three] = SAMPLE_TEXTS.map(({ version, name }) => ({ version, name, sql: () => "" }));
    const lists = [
      [two],
      [one, three],
      [one, one],
      [{ ...one, name: "first\n; drop table x" }],
      [{ ...one, version: 1.5 }],
    ] as Migration[][];
    for (const migrations of lists) {
      expect(await refusal(run(client, { migrations }))).toBeInstanceOf(InvalidOptionError);
    }
  });
});

describe.each(HISTORIES)("at the same moment, %s", (...[, migrations]) => {
  const texts = migrations.map(({ version, name, sql }) => ({ version, name, text: sql(':"schema"') }));

  it.each(Array.from({ length: size(1, 20) }, (_, round) => round + 1))(
    "comes out whole from 8 processes, round %i",
    async () => {
      const { url, client } = await emptyDatabase();
      const ends = await together(8, { url, schema: "jobwright", texts });
      expect(ends.map(({ result }) => result?.error ?? result?.to)).toEqual(
        ends.map(() => migrations.length),
      );
      const applied = ends.flatMap(({ result }) => result?.applied ?? []).sort();
      expect(applied).toEqual(migrations.map(({ version }) => version));
      expect(await catalogOf(client, "jobwright")).toEqual(await catalogAt(migrations.length, migrations));
    },
  );

  it("survives kill -9 at every step", async () => {
    const expected = await Promise.all(
      Array.from({ length: migrations.length + 1 }, (_, version) => catalogAt(version, migrations)),
    );
    const { url } = await emptyDatabase();
    const steps = (await new Migrator({ url, schema: "jobwright", texts }).run()).steps ?? 0;
    expect(steps).toBeGreaterThan(migrations.length * 4);
    const places = Array.from({ length: steps }, (_, index) => [index + 1, index + 1.5]).flat();
    const reached = new Set<number>();
    const killAt = async (dieAt: number, database: { url: string; client: Client }): Promise<void> => {
      const end = await new Migrator({ url: database.url, schema: "jobwright", texts, dieAt }).run();
      expect(end.signal, `it was not killed at step ${dieAt}`).toBe("SIGKILL");
      await noneBusy(database.client);
      const catalog = JSON.stringify(await catalogOf(database.client, "jobwright"));
      const version = expected.findIndex((one) => JSON.stringify(one) === catalog);
      expect(version, `killed at step ${dieAt}: a half made schema`).toBeGreaterThanOrEqual(0);
      reached.add(version);
      const result = await run(database.client, { migrations });
      expect(result).toMatchObject({ from: version, to: migrations.length });
      expect(await catalogOf(database.client, "jobwright")).toEqual(expected.at(-1));
      await database.client.query("drop schema jobwright cascade");
    };
    const killSome = async (): Promise<void> => {
      const database = await emptyDatabase();
      for (let dieAt = places.shift(); dieAt !== undefined; dieAt = places.shift())
        await killAt(dieAt, database);
    };
    await Promise.all(Array.from({ length: KILLS_AT_ONCE }, killSome));
    expect([...reached].sort()).toEqual(expected.map((_, version) => version));
  });
});

/** Processes of a machine with little else to do. */
const KILLS_AT_ONCE = 4;

/** Until no backend of a migrator is left: a killed client's statement goes on to its end, and is rolled back. */
async function noneBusy(client: Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query(
      "select 1 from pg_stat_activity where datname = current_database() and application_name like 'migrator%'",
    );
    if (rows.length === 0) return;
    await pause(5);
  }
}

describe("in trouble", () => {
  const gatedTexts = [...SAMPLE_TEXTS.slice(0, 1), GATED_TEXT];
  const gated = fromTexts(gatedTexts);

  it("is whole when it is killed in the middle of a statement, while others wait for it", async () => {
    const { url, client } = await emptyDatabase();
    await client.query(CLOSED_GATE);
    const options = { url, schema: "jobwright", texts: gatedTexts };
    const [victim, ...heirs] = [new Migrator(options), new Migrator(options), new Migrator(options)] as const;
    const ended = victim.run();
    await until(client, AT_THE_GATE);
    const ends = Promise.all(heirs.map((heir) => heir.run()));
    await until(client, "wait_event_type = 'Lock' and wait_event = 'advisory'");
    victim.kill();
    expect((await ended).signal).toBe("SIGKILL");
    await client.query(OPEN_GATE);
    const results = (await ends).map(({ result }) => result);
    expect(results.map((result) => result?.error ?? result?.to)).toEqual([2, 2]);
    expect(results.flatMap((result) => result?.applied ?? [])).toEqual([2]);
  });

  it("is whole when the server ends its connection in the middle of a statement", async () => {
    const { url, client } = await emptyDatabase();
    await client.query(CLOSED_GATE);
    const migrating = refusal(run(await connected(url), { migrations: gated }));
    await until(client, AT_THE_GATE);
    await client.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and ${AT_THE_GATE}`,
    );
    await migrating;
    expect(await catalogOf(client, "jobwright")).toEqual(await catalogAt(1));
    await client.query(OPEN_GATE);
    expect(await run(await connected(url), { migrations: gated })).toMatchObject({ from: 1, to: 2 });
  });

  it("lets others through while a long transaction is in its way, and gets through after it", async () => {
    const { url, client } = await emptyDatabase();
    await run(client, { migrations: SAMPLE.slice(0, 1) });
    const reader = await connected(url);
    const latecomer = await connected(url);
    await reader.query("begin; select * from jobwright.note");
    let tries = 0;
    const migrating = run(client, {
      lockTimeoutMs: 20,
      pause: async () => {
        tries += 1;
        // Behind the migration's wish for an exclusive lock this would wait for the reader's end.
        await latecomer.query("select * from jobwright.note");
        if (tries === 3) await reader.query("commit");
      },
    });
    expect(await migrating).toEqual({ from: 1, to: 3, applied: [2, 3] });
    expect(tries).toBe(3);
  });

  it("gives up at its deadline with the remedy, whatever lock is in its way", async () => {
    const { url, client } = await emptyDatabase();
    await run(client, { migrations: SAMPLE.slice(0, 1) });
    const other = await connected(url);
    for (const lock of [
      "select * from jobwright.note",
      "lock table jobwright.note",
      "select pg_advisory_xact_lock(hashtextextended('jobwright migration of jobwright', 0))",
    ]) {
      await other.query(`begin; ${lock}`);
      const error = await refusal(run(client, { lockTimeoutMs: 20, deadlineMs: 100 }));
      expect(error, lock).toBeInstanceOf(StorageUnavailableError);
      expect(error.message).toMatch(
        /migration 2 \(colours\) of the schema "jobwright" did not get through in 100 ms .*lock.*pg_locks/,
      );
      await other.query("rollback");
    }
    expect(await run(client)).toMatchObject({ to: 3 });
  });

  it("ends a step that takes longer than its deadline", async () => {
    const { client } = await emptyDatabase();
    const endless: Migration = { version: 1, name: "endless", sql: () => "select pg_sleep(3600);" };
    const error = await refusal(run(client, { migrations: [endless], deadlineMs: 100 }));
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.message).toContain("did not get through in 100 ms");
    expect(await catalogOf(client, "jobwright")).toEqual([]);
  });

  it("is not hurried by the role's own timeouts", async () => {
    const { client } = await emptyDatabase();
    const slow: Migration = { version: 1, name: "slow", sql: () => "select pg_sleep(0.5);" };
    await client.query("set statement_timeout = 200; set lock_timeout = 1");
    expect(await run(client, { migrations: [slow] })).toMatchObject({ to: 1 });
  });

  it.each(["serializable", "repeatable read"])(
    "works where transactions are %s by default",
    async (level) => {
      const { url, client } = await emptyDatabase();
      await client.query(
        `alter database ${quoteIdentifier(new URL(url).pathname.slice(1))} set default_transaction_isolation = '${level}'`,
      );
      const many = await Promise.all(Array.from({ length: 8 }, () => connected(url)));
      const results = await Promise.all(many.map((one) => run(one)));
      expect(results.map(({ to }) => to)).toEqual(many.map(() => 3));
      expect(results.flatMap(({ applied }) => applied).sort()).toEqual([1, 2, 3]);
    },
  );

  it("works under a transaction-mode pooler, where each transaction has another connection", async () => {
    const { url, client } = await emptyDatabase();
    const many = await Promise.all([connected(url), connected(url), connected(url)]);
    let turn = 0;
    const pooler = overClients(() => many[turn++ % many.length] as Client);
    const options = { schema: "jobwright", migrations: SAMPLE, label: LABEL };
    expect(await migrate(pooler, options)).toEqual({ from: 0, to: 3, applied: [1, 2, 3] });
    expect(await catalogOf(client, "jobwright")).toEqual(await catalogAt(3));
    const { rows } = await client.query(
      "select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
    );
    expect(rows).toEqual([]);
  });
});

/** Until a session of this database is in some condition. */
async function until(client: Client, condition: string): Promise<void> {
  for (;;) {
    const { rows } = await client.query(
      `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and ${condition}`,
    );
    if (rows.length > 0) return;
  }
}

describe("versions", () => {
  it("that are newer are refused, and both are named", async () => {
    const { client } = await emptyDatabase();
    await run(client);
    const older = { schema: "jobwright", migrations: SAMPLE.slice(0, 2), label: LABEL };
    const database = overClients(() => client);
    for (const error of [await refusal(run(client, older)), await refusal(checkVersion(database, older))]) {
      expect(error).toBeInstanceOf(StorageVersionError);
      expect(error.message).toMatch(/has format 3; this jobwright reads up to 2\./);
    }
  });

  it("that are older are refused by those who must not migrate, with the remedy", async () => {
    const { client } = await emptyDatabase();
    const target = { schema: "jobwright", migrations: SAMPLE, label: LABEL };
    const database = overClients(() => client);
    for (const version of [0, 1, 2]) {
      if (version > 0) await run(client, { migrations: SAMPLE.slice(0, version) });
      const error = await refusal(checkVersion(database, target));
      expect(error).toBeInstanceOf(StorageRefusedError);
      expect(error.message).toBe(
        `${LABEL}: the schema "jobwright" has version ${version}; this jobwright needs 3. ` +
          "Run `jobwright migrate <url>`, or leave out `migrate: false`.",
      );
    }
    await run(client);
    await expect(checkVersion(database, target)).resolves.toBeUndefined();
  });

  it.each([
    ["other columns", "create table public.migration (id text)"],
    [
      "other versions",
      "create table public.migration (version text, name text); insert into public.migration values ('20240101', 'x')",
    ],
    [
      "another history",
      "create table public.migration (version int, name text); insert into public.migration values (1, 'users')",
    ],
    [
      "a gap",
      "create table public.migration (version int, name text); insert into public.migration values (1, 'first'), (3, 'split-parts')",
    ],
    ["nothing in it", "create table public.migration (version int, name text)"],
    ["the same table", "create table public.note (id int)"],
  ])("of somebody else are left alone: %s", async (_, sql) => {
    const { client } = await emptyDatabase();
    await client.query(sql);
    const before = await catalogOf(client, "public");
    const error = await refusal(run(client, { schema: "public" }));
    expect(error).toBeInstanceOf(StorageRefusedError);
    expect(error.message).toContain("Give jobwright a schema of its own");
    expect(await catalogOf(client, "public")).toEqual(before);
  });
});

describe("names of schemas", () => {
  /** One danger each. */
  const single = [
    "with space",
    "a.b",
    'he said "jobs"',
    "it's",
    "back\\slash\\",
    "$guard$ $step$ $text$ $$ \\",
    "$jobwright$",
    "; drop schema public cascade; --",
    "/* comment",
    "%I %L %",
    ":x :'y' $1",
    "задания",
    "仕事の行列",
    "👷‍♀️",
  ];
  /** The same dangers in fewer names. */
  const several = [
    'a.b it\'s "jobs" ; drop schema public cascade; --',
    "back\\slash\\ $guard$ $step$ $text$ $$ /* comment %I %L % \\",
    "$jobwright$ :x :'y' $1 仕事 задания 👷‍♀️",
  ];
  it.each([...["public", "Jobs", "select", "x".repeat(63), "é".repeat(31)], ...(isLong ? single : several)])(
    "can be %s",
    async (schema) => {
      for (const migrations of [SAMPLE, MIGRATIONS]) {
        const { client } = await emptyDatabase();
        await client.query("set standard_conforming_strings = off; set escape_string_warning = off");
        expect(await run(client, { schema, migrations })).toMatchObject({ to: migrations.length });
        const { rows } = await client.query(
          "select nspname name from pg_namespace where nspname !~ '^pg_|^information_schema$' and nspname <> 'public'",
        );
        expect(rows).toEqual(schema === "public" ? [] : [{ name: schema }]);
        expect(await run(client, { schema, migrations })).toMatchObject({ applied: [] });
      }
    },
  );

  it.each([
    ["empty", ""],
    ["too long", "x".repeat(64)],
    ["too long in bytes", "é".repeat(32)],
    ["the system's", "pg_jobs"],
    ["the standard's", "information_schema"],
    ["NUL", "a\0b"],
    ["a line break", "a\nb"],
    ["half a character", "a\ud800"],
    ["no text", 7 as unknown as string],
  ])("are refused before anything is asked: %s", async (_, schema) => {
    const nobody = overClients(() => expect.fail("it was asked"));
    const target = { schema, migrations: SAMPLE, label: LABEL };
    for (const refused of [migrate(nobody, target), checkVersion(nobody, target)]) {
      const error = await refusal(refused);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect(error.message).toMatch(/^schema is /);
    }
  });

  it("stay apart in one database", async () => {
    const { client } = await emptyDatabase();
    await run(client, { schema: "a" });
    expect(await run(client, { schema: "b" })).toMatchObject({ from: 0, to: 3 });
    expect(await run(client, { schema: "A", migrations: SAMPLE.slice(0, 1) })).toMatchObject({ to: 1 });
    expect(await versionsOf(client, "a")).toHaveLength(3);
  });
});

describe("rights", () => {
  async function role(name: string, client: Client): Promise<void> {
    await client.query(`drop role if exists ${quoteIdentifier(name)}`);
    await client.query(`create role ${quoteIdentifier(name)} login`);
  }

  it("are named when the role may not make the schema", async () => {
    const { url, client } = await emptyDatabase();
    await role("Nobody", client);
    const nobody = await connected(url, "Nobody");
    const error = await refusal(run(nobody));
    expect(error).toBeInstanceOf(StorageRefusedError);
    const remedy = /grant create on database "[^;]*" to "Nobody";/.exec(error.message)?.[0];
    expect(remedy).toBeDefined();
    await client.query(remedy ?? "");
    expect(await run(nobody)).toMatchObject({ from: 0, to: 3 });
  });

  it("are enough when an administrator made the empty schema", async () => {
    const { url, client } = await emptyDatabase();
    await role("tenant", client);
    const tenant = await connected(url, "tenant");
    await client.query("create schema jobwright");
    const error = await refusal(run(tenant));
    expect(error).toBeInstanceOf(StorageRefusedError);
    const remedy = /grant create, usage on schema [^;]*;/.exec(error.message)?.[0];
    await client.query(remedy ?? "");
    expect(await run(tenant)).toMatchObject({ from: 0, to: 3 });
  });

  it("to read are enough when the schema is complete", async () => {
    const { url, client } = await emptyDatabase();
    await role("reader", client);
    await run(client);
    const reader = await connected(url, "reader");
    const error = await refusal(run(reader));
    expect(error).toBeInstanceOf(StorageRefusedError);
    for (const [grant] of error.message.matchAll(/grant [^;]*;/g)) await client.query(grant);
    expect(await run(reader)).toEqual({ from: 3, to: 3, applied: [] });
  });

  it("of the owner are needed for the next version, and the error says so", async () => {
    const { url, client } = await emptyDatabase();
    await role("guest", client);
    await run(client, { migrations: SAMPLE.slice(0, 1) });
    await client.query(
      "grant all on schema jobwright to guest; grant all on all tables in schema jobwright to guest",
    );
    const error = await refusal(run(await connected(url, "guest")));
    expect(error).toBeInstanceOf(StorageRefusedError);
    expect(error.message).toMatch(/migration 2 .* must be owner of .*as the owner of the schema/);
    expect(await versionsOf(client, "jobwright")).toEqual(["1 first"]);
  });
});

describe.each(HISTORIES)("as SQL, %s", (...[, migrations]) => {
  it.each<[string, (client: Client) => Promise<unknown>]>([
    [
      "a transaction a step",
      async (client) => {
        for (const { sql } of migrationsSql("jobwright", migrations)) {
          await client.query("begin");
          await client.query(sql);
          await client.query("commit");
        }
      },
    ],
    [
      "all in one transaction",
      async (client) => {
        await client.query(
          `begin; ${migrationsSql("jobwright", migrations)
            .map(({ sql }) => sql)
            .join("\n")} commit;`,
        );
      },
    ],
    ["the script", (client) => client.query(migrationScript("jobwright", migrations))],
    [
      "the script in two parts",
      async (client) => {
        await client.query(migrationScript("jobwright", migrations, 0, 1));
        await client.query(migrationScript("jobwright", migrations, 1));
      },
    ],
  ])("makes what the runner makes: %s", async (_, apply) => {
    const { client } = await emptyDatabase();
    await apply(client);
    expect(await catalogOf(client, "jobwright")).toEqual(await catalogAt(migrations.length, migrations));
    expect(await versionsOf(client, "jobwright")).toEqual(
      migrations.map(({ version, name }) => `${version} ${name}`),
    );
    expect(await run(client, { migrations })).toEqual({
      from: migrations.length,
      to: migrations.length,
      applied: [],
    });
  });
});

describe("the SQL of a step", () => {
  it("changes nothing when it is run again, or too early", async () => {
    const { client } = await emptyDatabase();
    const [first = "", second = "", third = ""] = migrationsSql("jobwright", SAMPLE).map(({ sql }) => sql);
    const states: string[] = [];
    const attempt = (sql: string): Promise<unknown> =>
      client.query(sql).catch(({ code, message, hint }) => states.push(`${code} ${message} ${hint}`));
    await attempt(second);
    await attempt(first);
    await attempt(first);
    await attempt(third);
    expect(states).toEqual([
      "P0JW1 jobwright: migration 2 needs version 1, the schema has version 0. Run the migrations before it first.",
      "P0JW1 jobwright: migration 1 needs version 0, the schema has version 1. It was run before.",
      "P0JW1 jobwright: migration 3 needs version 2, the schema has version 1. Run the migrations before it first.",
    ]);
    expect(await catalogOf(client, "jobwright")).toEqual(await catalogAt(1));
  });

  it("waits for a runner that is at it", async () => {
    const { url, client } = await emptyDatabase();
    const other = await connected(url);
    const [first = ""] = migrationsSql("jobwright", SAMPLE).map(({ sql }) => sql);
    await client.query("begin");
    await client.query(first);
    const running = run(other);
    await until(client, "wait_event_type = 'Lock' and wait_event = 'advisory'");
    await client.query("commit");
    expect(await running).toEqual({ from: 0, to: 3, applied: [2, 3] });
  });

  it("is asked for in versions there are", () => {
    for (const [from, to] of [[-1], [4], [1.5], [Number.NaN], [2, 1], [0, 4]] as [number, number?][]) {
      expect(() => migrationScript("jobwright", SAMPLE, from, to)).toThrow(InvalidOptionError);
    }
    expect(migrationScript("jobwright", SAMPLE, 3)).not.toContain("begin;");
    expect(() => migrationsSql("pg_x", SAMPLE)).toThrow(InvalidOptionError);
  });
});

describe("quoting", () => {
  it("keeps a name one name and a text one text", async () => {
    const { client } = await emptyDatabase();
    for (const text of ['"', "'", "\\", "\\'", "a''b", "$$", "\\\\'; --", "\u{1f600}", "E'x'"]) {
      for (const mode of ["on", "off"]) {
        await client.query(`set standard_conforming_strings = ${mode}; set escape_string_warning = off`);
        const sql = `select ${quoteLiteral(text)} as ${quoteIdentifier(text)}`;
        expect((await client.query(sql)).rows).toEqual([{ [text]: text }]);
      }
    }
    expect(inSchema(':"schema".x', 'a"b')).toBe('"a""b".x');
  });
});

it("none of this made a deadlock", () => {
  expect(server.log()).toContain("ready to accept connections");
  expect(server.log()).not.toContain("deadlock detected");
});
