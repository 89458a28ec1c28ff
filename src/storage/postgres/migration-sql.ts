import { InvalidOptionError } from "../../errors.ts";
import type { Migration } from "./migration/migration.ts";
import { checkSchemaName, quoteBody, quoteIdentifier, quoteLiteral } from "./quoting.ts";

/** A migration as another tool runs it: in a transaction, once, in order. */
export interface MigrationSql {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** The SQLSTATE of a step that meets a schema which is not at the version before it. Nothing was changed. */
export const OUT_OF_ORDER = "P0JW1";

/** How long a step of a printed script waits for one lock, while everybody else waits behind it. */
const SCRIPT_LOCK_TIMEOUT = "5s";

/**
 * The whole text of a step: its lock, its guard, its statements and its row in the table `migration`. The
 * runner, a printed script and a foreign tool all run this text, so that they cannot differ.
 */
export function migrationSql({ version, name, sql }: Migration, schema: string): string {
  checkSchemaName(schema);
  const prefix = quoteIdentifier(schema);
  const statements = sql(prefix).trim();
  return [
    `-- jobwright: migration ${version} (${name}) of the schema ${prefix}`,
    `do ${quoteBody("guard", guard(version, schema))};`,
    ...(version === 1 ? [table(prefix)] : []),
    statements.endsWith(";") ? statements : `${statements}\n;`,
    `insert into ${prefix}.migration (version, name, applied_at)`,
    `values (${version}, ${quoteLiteral(name)}, floor(extract(epoch from clock_timestamp()) * 1000));`,
    "",
  ].join("\n");
}

/** Every step up to date, for a tool of one's own. */
export function migrationsSql(schema: string, migrations: readonly Migration[]): MigrationSql[] {
  checkMigrations(migrations);
  return migrations.map((migration) => ({
    version: migration.version,
    name: migration.name,
    sql: migrationSql(migration, schema),
  }));
}

/**
 * One script for `psql` that brings a schema from one version to another, a transaction a step.
 *
 * @throws InvalidOptionError
 */
export function migrationScript(
  schema: string,
  migrations: readonly Migration[],
  from = 0,
  to: number = migrations.length,
): string {
  checkMigrations(migrations);
  checkSchemaName(schema);
  checkVersionOption("from", from, 0, migrations.length);
  checkVersionOption("to", to, from, migrations.length);
  return [
    `-- jobwright: the schema ${quoteIdentifier(schema)} from version ${from} to ${to}.`,
    "-- Run it with: psql -v ON_ERROR_STOP=1 -f <this file>. A step that was run before changes nothing.",
    ...migrations
      .slice(from, to)
      .map(
        (migration) =>
          `\nbegin;\nset local lock_timeout = '${SCRIPT_LOCK_TIMEOUT}';\n${migrationSql(migration, schema)}commit;`,
      ),
    "",
  ].join("\n");
}

/**
 * See that a list has the versions 1 to n, each once and in order.
 *
 * @throws InvalidOptionError
 */
export function checkMigrations(migrations: readonly Migration[]): void {
  migrations.forEach(({ version, name }, index) => {
    if (version !== index + 1) {
      throw new InvalidOptionError(
        "migrations",
        version,
        `Number them from 1 without gaps: ${index + 1} was next.`,
      );
    }
    // It stands in a comment of the printed script.
    if (!/^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(name)) {
      throw new InvalidOptionError(
        "migrations",
        name,
        "Name them in kebab-case, with letters from a to z and digits.",
      );
    }
  });
}

function checkVersionOption(option: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new InvalidOptionError(option, value, `Use a version from ${min} to ${max}.`);
  }
}

/**
 * Under the lock of this schema, refuse to run at any version but the one before. `create schema` stands
 * behind a look, because it asks for rights on the database even when the schema is there.
 */
function guard(version: number, schema: string): string {
  const prefix = quoteIdentifier(schema);
  const name = quoteLiteral(schema);
  const key = quoteLiteral(`jobwright migration of ${schema}`);
  const create =
    version > 1
      ? ""
      : `
  if not exists (select from pg_catalog.pg_namespace where nspname = ${name}) then
    create schema ${prefix};
  end if;`;
  return `
declare
  stored integer := 0;
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(${key}, 0));
  if exists (
    select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${name} and c.relname = 'migration'
  ) then
    select coalesce(max(m.version), 0) into stored from ${prefix}.migration m;
  end if;
  if stored <> ${version - 1} then
    raise exception using errcode = '${OUT_OF_ORDER}',
      message = 'jobwright: migration ${version} needs version ${version - 1}, the schema has version ' || stored || '.',
      hint = case when stored >= ${version} then 'It was run before.' else 'Run the migrations before it first.' end;
  end if;${create}
end
`;
}

function table(prefix: string): string {
  return `create table ${prefix}.migration (
  version integer primary key check (version > 0),
  name text not null,
  applied_at double precision not null
);`;
}
