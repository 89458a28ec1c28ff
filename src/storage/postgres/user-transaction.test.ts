import { describe, expect, test } from "vitest";
import { InvalidOptionError, OverloadedError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import type { Value } from "./pg.ts";
import { asQueryable, onlyText, userTransaction } from "./user-transaction.ts";

// By shape alone; test/postgres/adapters.test.ts has each driver for real.

const nothing = (): undefined => undefined;

describe("what is no transaction is refused", () => {
  test.each<[string, unknown, RegExp]>([
    ["nothing", undefined, /^tx is undefined\. Use a transaction of pg, postgres\.js, drizzle/],
    ["a number", 7, /^tx is 7\./],
    ["a plain object", {}, /^tx is an object\. Use a transaction of/],
    ["a promise", Promise.resolve({ query: nothing }), /await the transaction first/],
    ["a pool", { query: nothing, totalCount: 0, idleCount: 0 }, /A pool is no transaction/],
    ["pg-promise's database", { query: nothing, $pool: {} }, /A pool is no transaction/],
    ["postgres.js itself", Object.assign(nothing.bind(null), { unsafe: nothing }), /sql\.begin/],
    ["knex itself", Object.assign(nothing.bind(null), { raw: nothing, client: {} }), /the trx of knex/],
    ["kysely itself", { executeQuery: nothing, isTransaction: false }, /Kysely itself/],
    ["drizzle itself", { execute: nothing, dialect: {}, session: {} }, /drizzle itself/],
    ["a typeorm data source", { query: nothing, createQueryRunner: nothing }, /DataSource is no transaction/],
    [
      "a typeorm manager",
      { query: nothing, createQueryBuilder: nothing, getRepository: nothing },
      /no transaction/,
    ],
    ["the prisma client", { $queryRawUnsafe: nothing, $connect: nothing }, /the Prisma client/],
  ])("%s", (_name, tx, remedy) => {
    expect(() => userTransaction(tx)).toThrow(InvalidOptionError);
    expect(() => userTransaction(tx)).toThrow(remedy);
  });

  test("without showing what is in it", () => {
    const pool = { query: nothing, totalCount: 0, idleCount: 0, options: { password: "sesame" } };
    expect(() => userTransaction(pool)).toThrow(/^(?!.*sesame)/);
  });
});

describe("statements of one transaction", () => {
  test("wait for each other, also when one of them fails", async () => {
    const started: string[] = [];
    const ends: (() => void)[] = [];
    const query = (text: string): Promise<unknown[]> => {
      started.push(text);
      return new Promise((resolve, reject) => {
        ends.push(text === "b" ? () => reject(new Error("b failed")) : () => resolve([]));
      });
    };
    const tx = { query };
    const answers = ["a", "b", "c"].map((text) => userTransaction(tx).query(text, []));
    const settled = Promise.allSettled(answers);
    for (const [i, expected] of [["a"], ["a", "b"], ["a", "b", "c"]].entries()) {
      await new Promise((resolve) => setImmediate(resolve));
      expect(started).toEqual(expected);
      ends[i]?.();
    }
    expect((await settled).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  test("do not wait for those of another", async () => {
    const stuck = userTransaction({ query: () => new Promise(nothing) });
    void stuck.query("a", []);
    await expect(userTransaction({ query: async () => [{ a: "1" }] }).query("b", [])).resolves.toEqual([
      { a: "1" },
    ]);
  });

  test("are bounded in number while they wait", async () => {
    const stuck = userTransaction({ query: () => new Promise(nothing) });
    for (let n = 0; n < limits.pendingEnqueues; n += 1) void stuck.query("a", []);
    await expect(stuck.query("one more", [])).rejects.toThrow(OverloadedError);
  });

  test("get their values in an array of their own", async () => {
    const values: readonly Value[] = Object.freeze(["a", 1, null]);
    const query = async (_text: string, given: Value[]): Promise<unknown> => ({
      rows: [{ n: given.push("b") }],
    });
    expect(await userTransaction({ query }).query("a", values)).toEqual([{ n: 4 }]);
    expect(values).toHaveLength(3);
  });
});

describe("the answers to our statements", () => {
  test("are read whatever the column is called", async () => {
    const tx = { query: async () => ({ rows: [{ ANSWER: "a" }, { ANSWER: null }] }) };
    expect(await asQueryable(tx).query({ name: "ours", text: "select" }, [])).toEqual([["a"], [null]]);
  });

  test.each([[{}], [{ a: 1 }], [{ a: "1", b: "2" }], [{ a: undefined }]])("are refused as %j", (row) => {
    expect(() => onlyText(row)).toThrow(/^The answer that came through tx is /);
  });
});
