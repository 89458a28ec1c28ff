import { InvalidOptionError, OverloadedError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import type { Queryable } from "./database.ts";
import type { Value } from "./pg.ts";

/**
 * The user's transaction, whoever manages it. Names and types of what it answers are up to the user's driver
 * (parsers, transforms, plugins): ask for single columns of text, as {@link asQueryable} does.
 */
export interface UserTransaction {
  query(text: string, values: readonly Value[]): Promise<readonly Record<string, unknown>[]>;
}

/**
 * The one shape of all transactions that `jobs.in(tx)` and `ctx.completeIn(tx, …)` accept. Recognised by what
 * they can do, never by their class: no driver and no ORM is imported. What is seen to be no transaction is
 * refused, because it would store at once what a rollback is expected to take back.
 *
 * @throws InvalidOptionError
 */
export function userTransaction(tx: unknown): UserTransaction {
  const object = isObject(tx) ? tx : refuse(tx, ACCEPTED);
  const before = known.get(object);
  if (before !== undefined) return before;
  const made = oneByOne(recognise(object));
  known.set(object, made);
  return made;
}

/**
 * The transaction as our statements use it. They must have one column of text: a row is an object to most
 * drivers, so columns of one name would be lost, and other types are whatever the user's driver makes of them.
 *
 * @throws InvalidOptionError
 */
export function asQueryable(tx: unknown): Queryable {
  const { query } = userTransaction(tx);
  return { query: async ({ text }, values) => (await query(text, values)).map((row) => [onlyText(row)]) };
}

/** The text in the only column of a row, whatever the user's driver has made of the column's name. */
export function onlyText(row: Record<string, unknown>): string | null {
  const values = Object.values(row);
  const [text] = values;
  if (values.length === 1 && (typeof text === "string" || text === null)) return text;
  throw new InvalidOptionError(
    "The answer that came through tx",
    text,
    "PostgreSQL gave one text: look at what changes results in this transaction.",
  );
}

const ACCEPTED =
  "Use a transaction of pg, postgres.js, drizzle, kysely, knex, typeorm or prisma, or any object whose " +
  "query(text, values) runs in your transaction and answers { rows }.";

type Query = UserTransaction["query"];
/** Anything at all, looked at with care. */
type Shape = Readonly<Record<string, unknown>>;

/** The same transaction has one adapter, so that its statements can wait for each other. */
const known = new WeakMap<object, UserTransaction>();

/** One connection runs one statement at a time: `pg` warns when a second comes meanwhile, and pg 9 refuses it. */
function oneByOne(query: Query): UserTransaction {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  return {
    query: async (text, values) => {
      if (waiting >= limits.pendingEnqueues)
        throw new OverloadedError(`${waiting} statements of one transaction`);
      waiting += 1;
      const answer = last.then(() => query(text, values));
      last = answer.catch(() => undefined);
      try {
        return await answer;
      } finally {
        waiting -= 1;
      }
    },
  };
}

/** In an order in which no shape is taken for another. */
function recognise(tx: Shape): Query {
  if (can(tx, "$queryRawUnsafe")) return prisma(tx);
  if (can(tx, "unsafe")) return postgresJs(tx);
  if (can(tx, "raw") && typeof tx === "function") return knex(tx);
  if (can(tx, "executeQuery")) return kysely(tx);
  if (can(tx, "execute") && isObject(tx["dialect"])) return drizzle(tx);
  if (can(tx, "createQueryRunner")) {
    return refuse(tx, "A DataSource is no transaction: use the manager that dataSource.transaction() gives.");
  }
  if (can(tx, "createQueryBuilder") && can(tx, "getRepository")) return typeormManager(tx);
  if (can(tx, "query") && "isTransactionActive" in tx) return typeormRunner(tx);
  if (can(tx, "query")) return anyClient(tx);
  if (can(tx, "then")) return refuse(tx, "That is a promise: await the transaction first.");
  return refuse(tx, ACCEPTED);
}

// ── Drivers ──────────────────────────────────────────────────────────────────

/** `pg`, and everything that can do the same. */
function anyClient(tx: Shape): Query {
  // A pool takes another connection for every query; so does the database object of pg-promise.
  if (("totalCount" in tx && "idleCount" in tx) || "$pool" in tx) {
    return refuse(
      tx,
      "A pool is no transaction: take a client with pool.connect(), run BEGIN on it and hand in the client.",
    );
  }
  return async (text, values) => {
    // Known to pg from 8.17 on. Asked late: `in(client)` may stand before its BEGIN.
    if (can(tx, "getTransactionStatus") && tx["getTransactionStatus"]() === "I") {
      return refuse(tx, "This client is in no transaction: await client.query('BEGIN') first.");
    }
    return rowsOf(tx, await method(tx, "query")(text, [...values]));
  };
}

function postgresJs(tx: Shape): Query {
  if (!can(tx, "savepoint")) {
    return refuse(
      tx,
      "This runs every query on its own: use the sql that sql.begin((sql) => …) hands to its function.",
    );
  }
  return async (text, values) => rowsOf(tx, await method(tx, "unsafe")(text, [...values]));
}

/** The `trx` goes round knex's own placeholders and hooks: they would mistake a `?` and rename columns. */
function knex(tx: Shape): Query {
  const { client } = tx;
  if (tx["isTransaction"] !== true || !isObject(client) || !can(client, "acquireConnection")) {
    return refuse(
      tx,
      "This is knex itself: use the trx of knex.transaction(), and await it when it is a promise.",
    );
  }
  return async (text, values) => {
    const connection = await method(client, "acquireConnection")();
    if (can(tx, "isCompleted") && tx["isCompleted"]() === true) {
      return refuse(tx, "This knex transaction is over: use it before it commits or rolls back.");
    }
    if (!isObject(connection) || !can(connection, "query")) return refuse(tx, ACCEPTED);
    return rowsOf(tx, await method(connection, "query")(text, [...values]));
  };
}

// ── Query builders and ORMs ──────────────────────────────────────────────────

function kysely(tx: Shape): Query {
  if (tx["isTransaction"] !== true) {
    return refuse(tx, "This is Kysely itself: use the trx of db.transaction().execute((trx) => …).");
  }
  // Plugins rewrite names and results, and are meant for the user's own tables.
  const plain = can(tx, "withoutPlugins") ? (tx["withoutPlugins"]() as Shape) : tx;
  return async (text, values) => {
    const parameters = [...values];
    const query = { kind: "RawNode", sqlFragments: [text], parameters: [] };
    const compiled = { sql: text, query, parameters, queryId: { queryId: "jobwright" } };
    return rowsOf(tx, await method(plain, "executeQuery")(compiled));
  };
}

/** drizzle over any driver. It asks a piece of SQL for its text and parameters, so both pass as they are. */
function drizzle(tx: Shape): Query {
  if (!can(tx, "rollback") || typeof tx["nestedIndex"] !== "number") {
    return refuse(tx, "This is drizzle itself: use the tx of db.transaction(async (tx) => …).");
  }
  return async (text, values) => {
    const params = [...values];
    const sql = {
      getSQL: () => sql,
      toQuery: () => ({ sql: text, params, typings: params.map(() => "none") }),
    };
    return rowsOf(tx, await method(tx, "execute")(sql));
  };
}

function typeormManager(tx: Shape): Query {
  const runner = tx["queryRunner"];
  if (!isObject(runner)) {
    return refuse(tx, "This manager is in no transaction: use the one that dataSource.transaction() gives.");
  }
  return typeormRunner(runner);
}

function typeormRunner(runner: Shape): Query {
  return async (text, values) => {
    if (runner["isTransactionActive"] !== true) {
      return refuse(runner, "This query runner is in no transaction: await startTransaction() first.");
    }
    // The structured answer has the rows for every command, where the plain one depends on it.
    const answer = await method(runner, "query")(text, [...values], true);
    return rowsOf(runner, isObject(answer) && "records" in answer ? answer["records"] : answer);
  };
}

function prisma(tx: Shape): Query {
  // Only the client connects. Both can open a transaction: inside of one it is a savepoint.
  if (can(tx, "$connect") || can(tx, "$disconnect")) {
    return refuse(tx, "This is the Prisma client: use the tx of prisma.$transaction(async (tx) => …).");
  }
  return async (text, values) => rowsOf(tx, await method(tx, "$queryRawUnsafe")(text, ...values));
}

// ── Looking at what is handed in ─────────────────────────────────────────────

function isObject(value: unknown): value is Shape {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

type Method = (...args: unknown[]) => unknown;

function can<K extends string>(tx: Shape, name: K): tx is Shape & Readonly<Record<K, Method>> {
  return typeof tx[name] === "function";
}

function method(tx: Shape, name: string): Method {
  return (...args) => (tx[name] as Method).apply(tx, args);
}

function rowsOf(tx: Shape, answer: unknown): readonly Record<string, unknown>[] {
  if (Array.isArray(answer)) return answer as Record<string, unknown>[];
  if (isObject(answer) && Array.isArray(answer["rows"])) return answer["rows"] as Record<string, unknown>[];
  return refuse(tx, "Its query(text, values) answers neither { rows } nor an array of rows.");
}

function refuse(tx: unknown, remedy: string): never {
  throw new InvalidOptionError("tx", tx, remedy);
}
