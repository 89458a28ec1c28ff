import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InvalidOptionError } from "../../src/errors.ts";
import { asQueryable, userTransaction } from "../../src/storage/postgres/user-transaction.ts";
import type { Value } from "../../src/storage/postgres/pg.ts";
import { postgres } from "../support/postgres/server.ts";
import { type Driver, drivers } from "./drivers.ts";

// Goal: whatever runs the user's transaction, our statements run in it and mean the same.
// Method: each driver for real, looked at from another connection.

const { createDatabase } = await postgres();
const url = await createDatabase();
const outside = new pg.Pool({ connectionString: url, max: 2 });

/** A name that everything which rewrites SQL would stumble over. */
const table = `"notes$1 of?? \\? :me {0} ""mine"" $$"`;
const insert = `insert into ${table} (text) values ($1::text) returning text`;

async function notes(): Promise<string[]> {
  const { rows } = await outside.query<{ text: string }>(`select text from ${table} order by id`);
  return rows.map(({ text }) => text);
}

beforeAll(async () => {
  await outside.query(`create table ${table} (id serial primary key, text text not null)`);
});

afterAll(async () => {
  await outside.end();
});

describe.each(Object.entries(drivers))("%s", (_name, open) => {
  let driver: Driver;

  beforeAll(async () => {
    driver = await open(url);
    await outside.query(`truncate ${table}`);
    return () => driver.close();
  });

  test("commits with the transaction, and is seen by nobody before", async () => {
    await outside.query(`truncate ${table}`);
    await driver.transaction(async (tx) => {
      expect(await answerOf(tx, insert, ["a"])).toBe("a");
      expect(await notes()).toEqual([]);
    });
    expect(await notes()).toEqual(["a"]);
  });

  test("is rolled back with the transaction", async () => {
    await outside.query(`truncate ${table}`);
    const changed = new Error("changed my mind");
    const done = driver.transaction(async (tx) => {
      await userTransaction(tx).query(insert, ["a"]);
      throw changed;
    });
    await expect(done).rejects.toBe(changed);
    expect(await notes()).toEqual([]);
  });

  test("belongs to the savepoint it was made in", async () => {
    await outside.query(`truncate ${table}`);
    await driver.transaction(async (tx) => {
      await userTransaction(tx).query(insert, ["before"]);
      await driver.savepoint(tx, async (inner) => {
        await userTransaction(inner).query(insert, ["kept"]);
      });
      const undone = driver.savepoint(tx, async (inner) => {
        await userTransaction(inner).query(insert, ["undone"]);
        throw new Error("only this part");
      });
      await expect(undone).rejects.toThrow("only this part");
      await userTransaction(tx).query(insert, ["after"]);
    });
    expect(await notes()).toEqual(["before", "kept", "after"]);
  });

  test("hands every value over as it is", async () => {
    const hostile = `'"\\ \\? ? ?? $1 $2 :name {0} $$ \n\t é 漢字 😀 null`;
    const text =
      "select jsonb_build_array($2::text, $1::text::jsonb, $3::text::double precision, $4::text::bigint, " +
      "$5::text::boolean, $6::text::boolean, $7::text, $2::text = $2::text, '?', '\\?', '$1')::text as all_of_it";
    const json = '{"b":[1,"two"],"a":null}';
    const values = [json, hostile, 1_764_000_000_123.5, -9_007_199_254_740_991, true, false, null] as const;
    await driver.transaction(async (tx) => {
      const [object, ...rest] = ((answer: unknown[]) => [answer[1], ...answer])(
        JSON.parse(await answerOf(tx, text, values)) as unknown[],
      );
      expect(object).toEqual(JSON.parse(json));
      expect(rest).toEqual([hostile, JSON.parse(json), ...values.slice(2), true, "?", "\\?", "$1"]);
    });
  });

  test("answers all rows, and none", async () => {
    await driver.transaction(async (tx) => {
      const query = userTransaction(tx).query;
      expect(await query("select n::text as n from generate_series(1, 3) n", [])).toHaveLength(3);
      expect(await query("select 'a' as one where $1::text is null", ["b"])).toEqual([]);
      await query(insert, ["a"]);
      expect(await query(`update ${table} set text = $1::text`, ["b"])).toEqual([]);
      expect((await query(`delete from ${table} returning text`, [])).length).toBeGreaterThan(0);
    });
  });

  test("takes statements that were not awaited one after the other, without a warning", async () => {
    await outside.query(`truncate ${table}`);
    const warnings: string[] = [];
    const listen = (warning: Error): void => void warnings.push(warning.message);
    process.on("warning", listen);
    const texts = Array.from({ length: 20 }, (_, i) => `note ${i}`);
    await driver.transaction(async (tx) => {
      // Each asks anew for the adapter, as calls from different places do.
      await Promise.all(texts.map((text) => userTransaction(tx).query(insert, [text])));
    });
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", listen);
    expect(await notes()).toEqual(texts);
    expect(warnings).toEqual([]);
  });

  test("leaves the database's own error to see", async () => {
    let error: unknown;
    const failed = driver.transaction(async (tx) => {
      try {
        await userTransaction(tx).query("select 1 / $1::text::integer", ["0"]);
      } catch (thrown) {
        error = thrown;
        throw thrown;
      }
    });
    expect(await failed.catch((thrown: unknown) => thrown)).toBe(error);
    expect(codesOf(error)).toContain("22012");
  });

  test("goes on for the next statement after one that failed in a savepoint", async () => {
    await outside.query(`truncate ${table}`);
    await driver.transaction(async (tx) => {
      const undone = driver.savepoint(tx, (inner) => userTransaction(inner).query("select 1 / 0", []));
      await expect(undone).rejects.toThrow(/division by zero|select 1 \/ 0/);
      await userTransaction(tx).query(insert, ["after"]);
    });
    expect(await notes()).toEqual(["after"]);
  });

  test("refuses what is no transaction, with the remedy", () => {
    const strangers = Object.entries(driver.strangers);
    expect(strangers.length).toBeGreaterThan(0);
    for (const [name, stranger] of strangers) {
      expect(() => userTransaction(stranger()), name).toThrow(InvalidOptionError);
      expect(() => userTransaction(stranger()), name).toThrow(/^tx is .+\. .*\b([Uu]se|take|await) /);
    }
  });
});

describe("a transaction that is over, or has not begun", () => {
  test.each(["knex", "typeorm manager", "typeorm query runner", "kysely, controlled"])("%s", async (name) => {
    const driver = await (drivers[name] as (url: string) => Promise<Driver>)(url);
    // Not returned: some transactions can be awaited themselves.
    let left: object = {};
    await driver.transaction(async (tx) => void (left = tx));
    await expect(userTransaction(left).query(insert, ["late"])).rejects.toThrow(
      /over|no transaction|already committed/,
    );
    await driver.close();
    expect(await notes()).not.toContain("late");
  });

  test("a pg client before BEGIN", async () => {
    const client = await outside.connect();
    const { query } = userTransaction(client);
    await expect(query(insert, ["early"])).rejects.toThrow(
      /in no transaction: await client\.query\('BEGIN'\)/,
    );
    await client.query("begin");
    await query(insert, ["in time"]);
    await client.query("rollback");
    client.release();
    expect(await notes()).not.toContain("early");
  });

  test("a query that answers something else", async () => {
    const { query } = userTransaction({ query: async () => 7 });
    await expect(query("select 1", [])).rejects.toThrow(/neither \{ rows \} nor an array/);
  });
});

/** The one text that a statement of ours answers, as the storage reads it. */
async function answerOf(tx: object, text: string, values: readonly Value[]): Promise<string> {
  const rows = await asQueryable(tx).query({ name: "ours", text }, values);
  expect(rows).toHaveLength(1);
  return rows[0]?.[0] as string;
}

/** Drivers wrap errors: the SQLSTATE stands somewhere below. */
function codesOf(error: unknown): unknown[] {
  const seen = new Set<unknown>();
  const codes: unknown[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null || seen.has(value)) return;
    seen.add(value);
    codes.push((value as { code?: unknown }).code);
    for (const key of ["cause", "driverError", "meta"]) visit((value as Record<string, unknown>)[key]);
  };
  visit(error);
  return codes;
}
