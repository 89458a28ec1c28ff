import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError, StorageUnavailableError } from "../errors.ts";
import { checkUrl, postgresLabel } from "../storage/postgres/address.ts";
import { Database } from "../storage/postgres/database.ts";
import { migrate as migrateSchema, type MigrateResult } from "../storage/postgres/migrate.ts";
import { DEFAULT_SCHEMA, MIGRATIONS, migrateSql } from "../storage/postgres/migrations.ts";
import { checkSchemaName } from "../storage/postgres/quoting.ts";
import { type CommandModule, lineOf, withJson } from "./command.ts";
import { EXIT, type ExitCode, type Terminal } from "./terminal.ts";
import { terminalLogger } from "./terminal-logger.ts";
import { jsonText } from "./visible.ts";

interface Options {
  readonly schema: string;
  readonly timeout: string;
  readonly sql?: true;
  readonly from?: string;
  readonly json?: true;
}

/** Bring a database to this version's schema, or print what would do it. */
export const migrate: CommandModule = (command, bind) => {
  command
    .description(
      "Brings the schema in a PostgreSQL database to the version of this jobwright. Safe to repeat, in any number " +
        "of processes at once.",
    )
    .usage("<url> [options]\n       jobwright migrate --sql [options]")
    .argument("[url]", "postgres://user:password@host:port/database")
    .option("--schema <name>", "schema to use", DEFAULT_SCHEMA)
    .option("--timeout <time>", "give up after this time: 30s, 10m, 1h", "10m")
    .option("--sql", "print the SQL for psql instead, and connect to nothing")
    .option("--from <version>", "with --sql: the version the schema has (default: 0, none)");
  withJson(command);
  bind<Options>(command, async ([url], { schema, timeout, sql, from, json }, terminal) => {
    checkSchemaName(schema);
    if (sql) {
      terminal.out(migrateSql(schema, versionOf(from)));
      return EXIT.done;
    }
    if (from !== undefined) throw new InvalidOptionError("--from", from, "It goes with --sql only.");
    if (url === undefined) {
      throw new InvalidOptionError(
        "<url>",
        undefined,
        "Give a URL: jobwright migrate postgres://user:password@host/database",
      );
    }
    checkUrl(url);
    const deadlineMs = toMs(timeout as Duration, "--timeout", { min: 1, max: TIMEOUT_MS_MAX });
    return migrateDatabase(url, schema, deadlineMs, json === true, terminal);
  });
};

/** A day: what takes longer is run from the printed script. */
const TIMEOUT_MS_MAX = 86_400_000;
/** A server that is away for longer is a wrong URL more often than a slow start. */
const OPEN_MS_MAX = 30_000;

async function migrateDatabase(
  url: string,
  schema: string,
  deadlineMs: number,
  json: boolean,
  terminal: Terminal,
): Promise<ExitCode> {
  const label = postgresLabel({ url }, schema);
  const logger = terminalLogger(terminal);
  const database = new Database({
    url,
    label,
    logger,
    maxConnections: 1,
    claimConnections: 0,
    deadlineMs: Math.min(deadlineMs, OPEN_MS_MAX),
  });
  try {
    await database.open();
    const result = await migrateSchema(database, { schema, migrations: MIGRATIONS, label, deadlineMs });
    const { from, to, applied } = result;
    terminal.out(json ? `${jsonText({ from, to, applied })}\n` : `${label}: ${whatWasDone(result)}\n`);
    return EXIT.done;
  } catch (error) {
    if (!(error instanceof StorageUnavailableError)) throw error;
    // Deployments know this command by two codes, see docs/migrations.md: whatever the reason, it has failed.
    terminal.error(lineOf(error));
    return EXIT.failed;
  } finally {
    await database.close();
  }
}

function whatWasDone({ from, to, applied }: MigrateResult): string {
  if (from === to) return `version ${to} already, nothing to do.`;
  const migrations = applied.length === 1 ? "1 migration" : `${applied.length} migrations`;
  const others = to - from - applied.length;
  const theirs = others === 0 ? "" : `, ${others} by another process at the same time`;
  return `from version ${from} to ${to} (${migrations} applied${theirs}).`;
}

function versionOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new InvalidOptionError("--from", text, "Use the number of a version.");
  return Number(text);
}
