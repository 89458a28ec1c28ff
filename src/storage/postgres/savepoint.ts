import type { Nested } from "../transactional.ts";
import { userTransaction } from "./user-transaction.ts";

type Work = (inner: unknown) => Promise<void>;
/** Runs its argument in a savepoint, as the user's driver does, and goes back to it when that throws. */
type Native = (work: Work) => Promise<unknown>;

/**
 * Work in a savepoint of the user's transaction. Where the driver has savepoints of its own they are used: it would
 * otherwise take a statement that failed for the end of the whole transaction.
 *
 * @throws InvalidOptionError, and what was thrown when it is about the transaction as a whole
 */
export async function inSavepoint(tx: unknown, work: Work): Promise<Nested> {
  const native = nativeSavepoint(tx) ?? plainSavepoint(tx);
  let failure: { readonly error: unknown } | undefined;
  try {
    await native(async (inner) => {
      try {
        await work(inner);
      } catch (error) {
        failure = { error };
        throw error;
      }
    });
    return { ok: true };
  } catch (thrown) {
    if (isOfTheWhole(thrown) || isOfTheWhole(failure?.error)) throw thrown;
    // Whoever is back at the savepoint throws what the work threw, ...
    if (failure?.error === thrown) return { ok: false, error: thrown };
    // ... or, where a statement had failed and the work went on, that.
    const isHidden = failure === undefined || sqlState(failure.error) === "25P02";
    if (isHidden && sqlState(thrown) !== undefined) return { ok: false, error: thrown };
    throw thrown;
  }
}

function nativeSavepoint(tx: unknown): Native | undefined {
  // Judged first: what is no transaction is refused, whatever it can do.
  userTransaction(tx);
  const shape = tx as Readonly<Record<string, unknown>>;
  const can = (name: string): boolean => typeof shape[name] === "function";
  const by = (name: string): Native => (shape[name] as Native).bind(tx);
  if (can("unsafe") && can("savepoint")) return by("savepoint");
  if (can("$queryRawUnsafe") && can("$transaction")) return by("$transaction");
  if (can("execute") && typeof shape["dialect"] === "object" && can("transaction")) return by("transaction");
  return undefined;
}

/** Savepoints may stand inside of each other: each has a name of its own. */
let made = 0;

function plainSavepoint(tx: unknown): Native {
  const { query } = userTransaction(tx);
  return async (work) => {
    const name = `jobwright_${(made += 1)}`;
    await query(`savepoint ${name}`, []);
    try {
      await work(tx);
      await query(`release savepoint ${name}`, []);
    } catch (error) {
      await query(`rollback to savepoint ${name}`, []);
      await query(`release savepoint ${name}`, []);
      throw error;
    }
  };
}

/** Wrappers of drivers and ORMs around what the database said. */
const INSIDE = ["cause", "driverError", "originalError", "meta"] as const;
const DEPTH_MAX = 5;

/** The code of the database in an error, however it is wrapped. */
function sqlState(error: unknown): string | undefined {
  let at: unknown = error;
  for (let depth = 0; depth < DEPTH_MAX && typeof at === "object" && at !== null; depth += 1) {
    const shape: Readonly<Record<string, unknown>> = at as Readonly<Record<string, unknown>>;
    const { code } = shape;
    if (typeof code === "string" && /^[0-9A-Z]{2}[0-9A-Z]{3}$/.test(code) && /\d/.test(code)) return code;
    at = INSIDE.map((key) => shape[key]).find((inner) => typeof inner === "object" && inner !== null);
  }
  return undefined;
}

/** A conflict with another transaction, the end of the connection, or no savepoint to go back to. */
function isOfTheWhole(error: unknown): boolean {
  return /^(?:40|08|57P|25P0[13]|3B)/.test(sqlState(error) ?? "");
}
