import { setTimeout as wait } from "node:timers/promises";
import { monotonicMs } from "../../clock.ts";
import type { Migration } from "./migration/migration.ts";
import { outOfTime, refusedStep, sqlState, troubleOf } from "./migration-failures.ts";
import { checkMigrations, migrationSql } from "./migration-sql.ts";
import { checkSchemaName, quoteBody } from "./quoting.ts";
import { type MigrationQueryable, type SchemaToMigrate, storedVersion } from "./stored-version.ts";

/** What migrating asks of a database. */
export interface MigrationDatabase extends MigrationQueryable {
  /** One transaction on one connection; rolled back when the body throws. */
  transaction<T>(
    body: (tx: MigrationQueryable) => Promise<T>,
    options?: { readonly deadlineMs?: number },
  ): Promise<T>;
}

/** How patient a migration is. */
export interface MigrateOptions extends SchemaToMigrate {
  /** When it gives up, waiting for others' locks and its own statements included. @default 60_000 */
  readonly deadlineMs?: number;
  /** Wait for one lock; everybody who comes later to the same table waits as long. @default 1_000 */
  readonly lockTimeoutMs?: number;
  /** The pause between tries, in which those others go on. @default 500 to 1_000 ms, by chance */
  readonly pause?: () => Promise<unknown>;
}

/** What a migration did. */
export interface MigrateResult {
  /** The version it found, 0 for none. */
  readonly from: number;
  /** The version it left. */
  readonly to: number;
  /** The versions that this call applied; others may have applied the rest at the same time. */
  readonly applied: readonly number[];
}

const DEADLINE_MS = 60_000;
const LOCK_TIMEOUT_MS = 1_000;
const PAUSE_MS = 500;
/** Tries at a step that says its things are there already: another process can be the cause only once. */
const EXISTS_TRIES = 3;

/**
 * Bring a schema to the newest version. Any number of processes may do it at once and be killed at any
 * moment: a step and its version row commit together, under a lock that goes with the transaction, so
 * that poolers do no harm. Safe to repeat; a look is all it costs when there is nothing to do.
 *
 * @throws InvalidOptionError, StorageVersionError, StorageRefusedError, StorageUnavailableError
 */
export async function migrate(database: MigrationDatabase, options: MigrateOptions): Promise<MigrateResult> {
  const { schema, migrations, deadlineMs = DEADLINE_MS, pause = pauseByChance } = options;
  checkSchemaName(schema);
  checkMigrations(migrations);
  const endsAt = monotonicMs() + deadlineMs;
  const applied: number[] = [];
  let from: number | undefined;
  let existsTries = 0;
  let overtakenAt: number | undefined;
  let lastTrouble: unknown;
  // The last try may have had no time left to learn what is in the way: then one before it knows.
  const note = (error: unknown): void => {
    if (lastTrouble === undefined || sqlState(error) !== undefined) lastTrouble = error;
  };
  for (;;) {
    let next: Migration | undefined;
    try {
      const stored = await storedVersion(database, options);
      from ??= stored;
      next = migrations[stored];
      if (next === undefined) return { from, to: stored, applied };
      await apply(database, next, options, Math.max(1, endsAt - monotonicMs()), note);
      applied.push(next.version);
      existsTries = 0;
      lastTrouble = undefined;
    } catch (error) {
      const trouble = troubleOf(error);
      if (trouble === "exists") existsTries += 1;
      const isFinal = trouble === "final" || existsTries >= EXISTS_TRIES;
      note(error);
      if (next === undefined) {
        // It was not even possible to look.
        if (isFinal || monotonicMs() >= endsAt) throw error;
      } else {
        const step = { migration: next, schema, label: options.label };
        if (isFinal) throw refusedStep(error, step, await whoWeAre(database));
        if (monotonicMs() >= endsAt) throw outOfTime(lastTrouble, step, deadlineMs);
      }
      // Who was overtaken finds another version at once; all others have something to wait for.
      const isOvertaken = trouble === "overtaken" && overtakenAt !== next?.version;
      if (isOvertaken) overtakenAt = next?.version;
      else await pause();
    }
  }
}

/**
 * One step and its version row, in one transaction.
 *
 * @param note hears of every try that fails: the database may make several before it tells
 */
async function apply(
  database: MigrationDatabase,
  migration: Migration,
  { schema, lockTimeoutMs = LOCK_TIMEOUT_MS }: MigrateOptions,
  leftMs: number,
  note: (error: unknown) => void,
): Promise<void> {
  const script = migrationSql(migration, schema);
  // As one statement, so that it runs whatever protocol the driver speaks; its text stays the same.
  const statement = `do ${quoteBody("step", `begin execute ${quoteBody("text", script)}; end`)}`;
  await database.transaction(
    async (tx) => {
      // Behind the lock the guard must see what others committed while it waited.
      await tx.query({ name: "", text: "set transaction isolation level read committed" }, []);
      await tx.query(TIMEOUTS, [String(lockTimeoutMs), String(Math.ceil(leftMs))]);
      await tx.query({ name: "", text: statement }, []).catch((error: unknown) => {
        note(error);
        throw error;
      });
    },
    { deadlineMs: Math.ceil(leftMs) },
  );
}

/** For this transaction alone; the role's own may be shorter than a step takes. */
const TIMEOUTS = {
  name: "jobwright_migration_timeouts",
  text: `select pg_catalog.set_config('lock_timeout', $1::text, true),
  pg_catalog.set_config('statement_timeout', $2::text, true)`,
};

/** Whom a remedy is about; nobody when that cannot be found out either. */
async function whoWeAre(
  database: MigrationQueryable,
): Promise<{ readonly role: string; readonly database: string } | undefined> {
  try {
    const [found] = await database.query(WHO, []);
    const [role, name] = found ?? [];
    return role && name ? { role, database: name } : undefined;
  } catch {
    return undefined;
  }
}

const WHO = {
  name: "jobwright_migration_who",
  text: "select current_user::text, pg_catalog.current_database()::text",
};

function pauseByChance(): Promise<void> {
  return wait(PAUSE_MS * (1 + Math.random()));
}
