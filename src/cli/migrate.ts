import { parseArgs } from "node:util";
import { toMs } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import { lineLogger } from "../logger.ts";
import { checkUrl, postgresLabel } from "../storage/postgres/address.ts";
import { Database } from "../storage/postgres/database.ts";
import { migrate, type MigrateResult } from "../storage/postgres/migrate.ts";
import { DEFAULT_SCHEMA, MIGRATIONS, migrateSql } from "../storage/postgres/migrations.ts";
import { checkSchemaName } from "../storage/postgres/quoting.ts";
import { type Command, EXIT, type ExitCode, type Terminal } from "./terminal.ts";

/** Bring a database to this version's schema, or print what would do it. */
export const migrateCommand: Command = {
  help: `Usage: jobwright migrate <url> [options]
       jobwright migrate --sql [options]

Brings the schema in a PostgreSQL database to the version of this jobwright. Safe to repeat, in any
number of processes at once.

  <url>              postgres://user:password@host:port/database
  --schema <name>    schema to use (default: ${DEFAULT_SCHEMA})
  --timeout <time>   give up after this time: 30s, 10m, 1h (default: 10m)
  --sql              print the SQL for psql instead, and connect to nothing
  --from <version>   with --sql: the version the schema has (default: 0, none)
  --help             print this

Exit codes: 0 done, 1 failed, 2 wrong use.
`,
  async run(args, terminal) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        schema: { type: "string", default: DEFAULT_SCHEMA },
        timeout: { type: "string" },
        sql: { type: "boolean", default: false },
        from: { type: "string" },
      },
    });
    const [url, ...others] = positionals;
    if (others.length > 0) throw misuse("arguments", positionals.length, "Give one URL.");
    checkSchemaName(values.schema);
    if (values.sql) {
      terminal.out(migrateSql(values.schema, versionOf(values.from)));
      return EXIT.done;
    }
    if (values.from !== undefined) throw misuse("--from", values.from, "It goes with --sql only.");
    if (url === undefined) {
      throw misuse(
        "<url>",
        undefined,
        "Give a URL: jobwright migrate postgres://user:password@host/database",
      );
    }
    checkUrl(url);
    const deadlineMs = toMs((values.timeout ?? "10m") as "10m", "--timeout", { min: 1, max: TIMEOUT_MS_MAX });
    return migrateDatabase(url, values.schema, deadlineMs, terminal);
  },
};

/** A day: what takes longer is run from the printed script. */
const TIMEOUT_MS_MAX = 86_400_000;
/** A server that is away for longer is a wrong URL more often than a slow start. */
const OPEN_MS_MAX = 30_000;

async function migrateDatabase(
  url: string,
  schema: string,
  deadlineMs: number,
  terminal: Terminal,
): Promise<ExitCode> {
  const label = postgresLabel({ url }, schema);
  const logger = lineLogger((line) => terminal.error(line.replace(/^jobwright |\n$/g, "")));
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
    const result = await migrate(database, { schema, migrations: MIGRATIONS, label, deadlineMs });
    terminal.out(`${label}: ${whatWasDone(result)}\n`);
    return EXIT.done;
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
  if (!/^\d{1,9}$/.test(text)) throw misuse("--from", text, "Use the number of a version.");
  return Number(text);
}

function misuse(option: string, value: unknown, remedy: string): InvalidOptionError {
  return new InvalidOptionError(option, value, remedy);
}
