import { first } from "./migration/001-first.ts";
import { keys } from "./migration/002-keys.ts";
import type { Migration } from "./migration/migration.ts";
import { type MigrationSql, migrationScript, migrationsSql } from "./migration-sql.ts";

/** Every step of the schema, in order. Append only. */
export const MIGRATIONS: readonly Migration[] = [first, keys];

/** The schema that is used when none is named. */
export const DEFAULT_SCHEMA = "jobwright";

/**
 * The migrations as SQL, for the tool you migrate the rest of your database with. Run each once, in order
 * and in a transaction; with `migrate: false` jobwright then only checks that all were run.
 *
 * @throws InvalidOptionError
 *
 * @example
 * for (const { version, name, sql } of getMigrations()) await writeFile(`${version}-jobwright-${name}.sql`, sql);
 */
export function getMigrations(options: { readonly schema?: string } = {}): MigrationSql[] {
  return migrationsSql(options.schema ?? DEFAULT_SCHEMA, MIGRATIONS);
}

/** The same as one script for `psql`, from version `from` to version `to`. @default all of them */
export function migrateSql(schema: string = DEFAULT_SCHEMA, from?: number, to?: number): string {
  return migrationScript(schema, MIGRATIONS, from, to);
}
