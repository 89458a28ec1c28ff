import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Client } from "pg";
import { afterAll, describe, expect, it } from "vitest";
import { migrate } from "../../src/storage/postgres/migrate.ts";
import { migrationSql } from "../../src/storage/postgres/migration-sql.ts";
import { frozen } from "../../src/storage/postgres/migration/frozen.ts";
import type { Migration } from "../../src/storage/postgres/migration/migration.ts";
import { MIGRATIONS } from "../../src/storage/postgres/migrations.ts";
import { quoteIdentifier } from "../../src/storage/postgres/quoting.ts";
import { postgres } from "../support/postgres/server.ts";
import { catalogOf } from "./catalog.ts";
import { freeze } from "./freeze.ts";
import { overClients } from "./pg-migration-database.ts";
import { inSchema, SAMPLE } from "./sample-migrations.ts";

// Goal: every version that was ever released can be upgraded, with its data in it.
// Method: for each, make it, fill it with the data of `fixture/`, migrate to the newest, compare the catalog
// with that of a new schema, and ask what became of the data. See fixture/README.md.

const SCHEMA = "jobwright";
const clients: Client[] = [];
afterAll(() => Promise.all(clients.map((client) => client.end())));

async function emptyDatabase(): Promise<Client> {
  const client = new Client({ connectionString: await (await postgres()).createDatabase() });
  clients.push(client);
  await client.connect();
  return client;
}

async function migrated(client: Client, migrations: readonly Migration[]): Promise<void> {
  await migrate(
    overClients(() => client),
    { schema: SCHEMA, migrations, label: "the test's database" },
  );
}

function fixture(path: string): string {
  return readFileSync(new URL(`fixture/${path}`, import.meta.url), "utf8");
}

/** Upgrade from one version; answers what its data had to be and are not. */
async function upgrade(list: string, migrations: readonly Migration[], from: number): Promise<string[]> {
  const client = await emptyDatabase();
  if (from > 0) {
    await migrated(client, migrations.slice(0, from));
    await client.query(inSchema(fixture(`${list}/version-${from}.sql`), SCHEMA));
  }
  await migrated(client, migrations);
  const fresh = await emptyDatabase();
  await migrated(fresh, migrations);
  expect(await catalogOf(client, SCHEMA)).toEqual(await catalogOf(fresh, SCHEMA));
  if (from === 0) return [];
  const check = inSchema(fixture(`${list}/version-${from}-check.sql`), SCHEMA);
  const { rows } = await client.query<{ what: string; ok: boolean | null }>(check);
  expect(rows.length, `version-${from}-check.sql checks nothing`).toBeGreaterThan(0);
  return rows.filter(({ ok }) => ok !== true).map(({ what }) => what);
}

describe.each([
  ["released", MIGRATIONS],
  ["sample", SAMPLE],
] as const)("an upgrade, %s", (list, migrations) => {
  it.each(migrations.map((_, from) => from))(
    "from version %i makes the newest, and keeps the data",
    async (from) => {
      expect(await upgrade(list, migrations, from)).toEqual([]);
    },
  );
});

describe("the proof itself", () => {
  it("sees data that were lost", async () => {
    const [first, second, third] = SAMPLE as [Migration, Migration, Migration];
    const forgetful = {
      ...second,
      sql: (s: string) => `${second.sql(s)} delete from ${s}.note where id = 1;`,
    };
    expect(await upgrade("sample", [first, forgetful, third], 1)).toEqual([
      "no note is lost",
      "red notes are red",
      "notes keep their words",
    ]);
  });

  it("sees a version whose data nobody wrote down", async () => {
    const next: Migration = { version: 4, name: "next", sql: (s) => `create table ${s}.next ();` };
    await expect(upgrade("sample", [...SAMPLE, next], 3)).rejects.toThrow("version-3.sql");
  });
});

describe("released migrations", () => {
  it("never change", () => {
    const released = JSON.parse(fixture("released/checksums.json")) as Record<string, string>;
    expect(changed(MIGRATIONS, released)).toEqual([]);
  });

  it.each(["jobwright", 'we"ird', "a'b", "back\\slash", "$jobwright$", "x$y", "Größe"])(
    "can be frozen as they are, for a schema %s",
    (name) => {
      const schema = quoteIdentifier(name);
      for (const { sql } of MIGRATIONS) expect(frozen(freeze(sql))(schema) === sql(schema)).toBe(true);
    },
  );

  it("that change are seen, and those without a checksum too", () => {
    const released = { "1": checksum(SAMPLE[0] as Migration), "3": "another" };
    expect(changed(SAMPLE, released)).toEqual(["2 has no checksum", "3 has changed"]);
    expect(changed(SAMPLE.slice(0, 1), { "1": released["1"] })).toEqual([]);
    expect(changed([], released)).toEqual(["1 is gone", "3 is gone"]);
  });
});

/** What is wrong with a list; its last version alone may not be released yet. */
function changed(migrations: readonly Migration[], released: Readonly<Record<string, string>>): string[] {
  const gone = Object.keys(released).filter((version) => migrations[Number(version) - 1] === undefined);
  return [
    ...migrations.flatMap((migration) => {
      const { version } = migration;
      const known = released[version];
      if (known === undefined) return version < migrations.length ? [`${version} has no checksum`] : [];
      return known === checksum(migration) ? [] : [`${version} has changed`];
    }),
    ...gone.map((version) => `${version} is gone`),
  ];
}

function checksum(migration: Migration): string {
  return createHash("sha256").update(migrationSql(migration, SCHEMA)).digest("hex");
}
