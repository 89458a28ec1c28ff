import { StorageRefusedError, StorageVersionError } from "../../errors.ts";
import { show } from "../../show.ts";
import type { Migration } from "./migration/migration.ts";
import { sqlState } from "./migration-failures.ts";
import { checkSchemaName, quoteIdentifier } from "./quoting.ts";

/** What migrations ask of a database: `Database` has it, and so has a transaction of it. */
export interface MigrationQueryable {
  query(
    statement: { readonly name: string; readonly text: string },
    values: readonly (string | number | boolean | null)[],
  ): Promise<readonly (readonly (string | null)[])[]>;
}

/** Which schema of which database, and what this code knows of it. */
export interface SchemaToMigrate {
  readonly schema: string;
  readonly migrations: readonly Migration[];
  /** Names the database in messages. Never holds a secret. */
  readonly label: string;
}

/**
 * The version a schema is at, 0 when there is nothing of ours. Two reads without any lock: whoever finds
 * its schema complete needs no rights beyond reading.
 *
 * @throws StorageVersionError when it is newer than this code
 * @throws StorageRefusedError when the role may not look, or the table `migration` is somebody else's
 */
export async function storedVersion(
  database: MigrationQueryable,
  { schema, migrations, label }: SchemaToMigrate,
): Promise<number> {
  const [found] = await database.query(LOOK, [schema]);
  if (found === undefined) return 0;
  const [hasTable, mayUse, mayRead, role] = found;
  if (hasTable !== "true") return 0;
  if (mayUse !== "true" || mayRead !== "true") {
    const prefix = quoteIdentifier(schema);
    throw new StorageRefusedError(
      `${label}: the role ${show(role)} may not read the schema ${show(schema)}. Let its owner run: ` +
        `grant usage on schema ${prefix} to ${quoteIdentifier(role ?? "")}; ` +
        `grant all on all tables in schema ${prefix} to ${quoteIdentifier(role ?? "")}; ` +
        `grant all on all sequences in schema ${prefix} to ${quoteIdentifier(role ?? "")};`,
    );
  }
  const rows = await readRows(database, schema, label);
  rows.forEach(([version, name], index) => {
    const known = migrations[index];
    if (version !== String(index + 1) || (known !== undefined && known.name !== name)) {
      throw foreign(schema, label);
    }
  });
  if (rows.length > migrations.length) throw new StorageVersionError(label, rows.length, migrations.length);
  return rows.length;
}

/**
 * For a storage that was told not to migrate: refuse a schema at any version but the newest.
 *
 * @throws InvalidOptionError, StorageRefusedError, StorageVersionError
 */
export async function checkVersion(database: MigrationQueryable, target: SchemaToMigrate): Promise<void> {
  const { schema, migrations, label } = target;
  checkSchemaName(schema);
  const stored = await storedVersion(database, target);
  if (stored < migrations.length) {
    throw new StorageRefusedError(
      `${label}: the schema ${show(schema)} has version ${stored}; this jobwright needs ${migrations.length}. ` +
        "Run `jobwright migrate <url>`, or leave out `migrate: false`.",
    );
  }
}

const LOOK = {
  name: "jobwright_migration_look",
  text: `select (c.oid is not null)::text,
  pg_catalog.has_schema_privilege(n.oid, 'usage')::text,
  pg_catalog.has_table_privilege(c.oid, 'select')::text,
  current_user::text
from pg_catalog.pg_namespace n
left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = 'migration'
where n.nspname = $1::text`,
};

async function readRows(
  database: MigrationQueryable,
  schema: string,
  label: string,
): Promise<readonly (readonly (string | null)[])[]> {
  // Without a name: it is asked once a connection at most, and other schemas have other texts.
  const text = `select version::text, name::text from ${quoteIdentifier(schema)}.migration order by version`;
  try {
    return await database.query({ name: "", text }, []);
  } catch (error) {
    if (sqlState(error) === UNDEFINED_COLUMN) throw foreign(schema, label, error);
    throw error;
  }
}

const UNDEFINED_COLUMN = "42703";

function foreign(schema: string, label: string, cause?: unknown): StorageRefusedError {
  return new StorageRefusedError(
    `${label}: the table "migration" in the schema ${show(schema)} is not jobwright's. ` +
      "Give jobwright a schema of its own with the option `schema`.",
    { cause },
  );
}
