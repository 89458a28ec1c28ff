import { StorageRefusedError, StorageUnavailableError } from "../../errors.ts";
import { show } from "../../show.ts";
import type { Migration } from "./migration/migration.ts";
import { OUT_OF_ORDER } from "./migration-sql.ts";
import { quoteIdentifier } from "./quoting.ts";

/** What a failed try means for the next one. */
export type Trouble =
  /** Another process made the step: look again at once. */
  | "overtaken"
  /** A lock, a conflict, a server that is away: try again. */
  | "passing"
  /** Something of that name is there, which for a moment is also what the loser of a race is told. */
  | "exists"
  | "final";

/** Which step failed where. */
export interface FailedStep {
  readonly migration: Migration;
  readonly schema: string;
  readonly label: string;
}

export function troubleOf(error: unknown): Trouble {
  const state = sqlState(error);
  if (state === OUT_OF_ORDER) return "overtaken";
  if (state !== undefined && EXISTS.has(state)) return "exists";
  if (state !== undefined && PASSING.has(state)) return "passing";
  return error instanceof StorageUnavailableError ? "passing" : "final";
}

/** Lock timeout, serialization failure, deadlock, statement timeout. */
const PASSING: ReadonlySet<string> = new Set(["55P03", "40001", "40P01", "57014"]);
/** Duplicate row, schema, table, column, type, function. */
const EXISTS: ReadonlySet<string> = new Set(["23505", "42P06", "42P07", "42701", "42710", "42723"]);
const NO_RIGHTS = "42501";

/**
 * A step that cannot be made, as an error with its remedy; what the server did not say stays as it is.
 *
 * @param who role and database, to name in the remedy
 */
export function refusedStep(
  error: unknown,
  step: FailedStep,
  who?: { readonly role: string; readonly database: string },
): unknown {
  const state = sqlState(error);
  // Of connections poolers speak as well, and the error we have says more than any of a migration.
  if (state === undefined || state.startsWith("08")) return error;
  return new StorageRefusedError(`${describe(step)} ${whyRefused(state, error, step, who)}`, {
    cause: error,
  });
}

function whyRefused(
  state: string,
  error: unknown,
  { schema }: FailedStep,
  who: { readonly role: string; readonly database: string } | undefined,
): string {
  const said = messageOf(error);
  if (state === NO_RIGHTS) {
    const role = who === undefined ? "<role>" : quoteIdentifier(who.role);
    const database = who === undefined ? "<database>" : quoteIdentifier(who.database);
    return (
      `needs rights that the role ${role} has not: ${said}. Run \`jobwright migrate <url>\` (or what it prints ` +
      `with --sql) as the owner of the schema, or let an administrator run: grant create on database ${database} to ${role}; ` +
      `(or, for a schema that is there: grant create, usage on schema ${quoteIdentifier(schema)} to ${role};)`
    );
  }
  return EXISTS.has(state)
    ? `met something that is not its own: ${said}. Give jobwright a schema of its own with the option \`schema\`.`
    : `failed and changed nothing: ${said}. See docs/migrations.md.`;
}

/** A step that did not get through in time. */
export function outOfTime(error: unknown, step: FailedStep, deadlineMs: number): StorageUnavailableError {
  return new StorageUnavailableError(
    `${describe(step)} did not get through in ${deadlineMs} ms and changed nothing: ${messageOf(error)}. If a lock ` +
      "is in its way, end the transaction that holds it (see pg_locks and pg_stat_activity), then repeat.",
    { cause: error },
  );
}

function describe({ migration, schema, label }: FailedStep): string {
  return `${label}: migration ${migration.version} (${migration.name}) of the schema ${show(schema)}`;
}

/** What the server said; of other failures all there is, without a full stop of its own. */
function messageOf(error: unknown): string {
  const said = serverError(error) ?? error;
  return (said instanceof Error ? said.message : String(said)).replace(/\.\s*$/, "");
}

/** The SQLSTATE the server gave, on the error itself or on a cause of it. */
export function sqlState(error: unknown): string | undefined {
  return serverError(error)?.code;
}

function serverError(error: unknown): (Error & { readonly code: string }) | undefined {
  for (let one = error, depth = 0; one instanceof Error && depth < CAUSES_MAX; one = one.cause, depth++) {
    const { code } = one as { code?: unknown };
    if (typeof code === "string" && SQLSTATE.test(code)) return one as Error & { readonly code: string };
  }
  return undefined;
}

/** Not to be mistaken for a code of Node, as EPIPE is one. */
const SQLSTATE = /^(?:\d[0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/;
const CAUSES_MAX = 5;
