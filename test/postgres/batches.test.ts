import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/connect.ts";
import {
  type BatchContext,
  type BatchItem,
  defineBatchJob,
  fixed,
  type JobHandle,
  type Jobs,
  silentLogger,
} from "../../src/index.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { postgres } from "../support/postgres/server.ts";
import { type Driver, drivers } from "./drivers.ts";

// Goal: of a batch in one transaction, what fails leaves nothing behind and does no harm to the rest, with every driver.
// Method: real transactions of each driver; a table that refuses some rows, looked at from outside.

const server = await postgres();
const url = await server.createDatabase();
const outside = new pg.Pool({ connectionString: url, max: 2 });
const schema = server.freshSchema();
let jobs: Jobs;

beforeAll(async () => {
  await outside.query("create table row (n int primary key check (n % 10 <> 3), by text not null)");
  const storage = new PostgresStorage({ url, schema, logger: silentLogger });
  jobs = await connect(storage, { logger: silentLogger });
});

afterAll(async () => {
  await jobs.close();
  await outside.end();
});

/** Insert through the driver's own way to run a statement. */
async function insert(tx: object, numbers: readonly number[]): Promise<void> {
  const text = `insert into row select n, 'test' from unnest('{${numbers.join()}}'::int[]) as n`;
  await query(tx, text);
}

async function query(tx: object, text: string): Promise<unknown> {
  const can = tx as Record<string, (...args: unknown[]) => Promise<unknown>>;
  if (can["unsafe"] !== undefined) return can["unsafe"](text);
  if (can["$queryRawUnsafe"] !== undefined) return can["$queryRawUnsafe"](text);
  if (can["executeQuery"] !== undefined) {
    return can["executeQuery"]({
      sql: text,
      query: { kind: "RawNode", sqlFragments: [text], parameters: [] },
      parameters: [],
      queryId: { queryId: "test" },
    });
  }
  if (can["raw"] !== undefined) return can["raw"](text);
  if (can["execute"] !== undefined) return can["execute"](text);
  return (can["query"] as (...args: unknown[]) => Promise<unknown>)(text, []);
}

type Handle = (items: readonly BatchItem<number>[], ctx: BatchContext) => Promise<void>;

/** One call of a batch with these numbers. Answers how each ended, and the rows there are. */
async function run(numbers: readonly number[], handle: Handle): Promise<{ ends: unknown[]; rows: number[] }> {
  await outside.query("truncate row");
  const batch = defineBatchJob<"batch", number, number>({
    name: "batch",
    maxBatch: 100,
    maxRetries: 0,
    backoff: fixed(0),
    run: handle,
  });
  const handles = await jobs.enqueueMany(batch, numbers);
  await runUntilIdle(jobs.worker([batch]));
  return { ends: await statesOf(handles), rows: await rowsThere() };
}

async function statesOf(handles: readonly JobHandle[]): Promise<unknown[]> {
  return Promise.all(handles.map(async (handle) => (await handle.get())?.state));
}

async function rowsThere(): Promise<number[]> {
  const { rows } = await outside.query<{ n: number }>("select n from row order by n");
  return rows.map(({ n }) => n);
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

describe.each(Object.entries(drivers))("%s", (_name, open) => {
  let driver: Driver;
  beforeAll(async () => {
    driver = await open(url);
    return () => driver.close();
  });

  test("isolates what fails: a statement, or the code around it, also when that swallows the failure", async () => {
    const { ends, rows } = await run(upTo(6), (items, ctx) =>
      driver.transaction(async (tx) => {
        for (const item of items) {
          await ctx.isolate(tx, item, async (inner) => {
            if (item.payload === 4) {
              await insert(inner, [3]).catch(() => undefined);
              return;
            }
            await insert(inner, [item.payload]);
            if (item.payload === 1) throw new Error("after its row");
          });
        }
      }),
    );
    expect(ends).toEqual(["completed", "dead", "completed", "dead", "dead", "completed"]);
    expect(rows).toEqual([0, 2, 5]);
  });

  test("bisects what fails together", async () => {
    const { ends, rows } = await run(upTo(12), (items, ctx) =>
      driver.transaction(async (tx) => {
        await ctx.bisect(tx, items, (inner, some) =>
          insert(
            inner,
            some.map(({ payload }) => payload),
          ),
        );
      }),
    );
    expect(ends).toEqual(upTo(12).map((n) => (n === 3 ? "dead" : "completed")));
    expect(rows).toEqual(upTo(12).filter((n) => n !== 3));
  });

  test("completes none of what it isolated when the transaction is rolled back", async () => {
    const { ends, rows } = await run([0, 1], (items, ctx) =>
      driver.transaction(async (tx) => {
        for (const item of items) await ctx.isolate(tx, item, (inner) => insert(inner, [item.payload]));
        throw new Error("no commit");
      }),
    );
    expect([ends, rows]).toEqual([["dead", "dead"], []]);
  });
});

describe("the owner of the transaction", () => {
  let driver: Driver;
  beforeAll(async () => {
    driver = await (drivers["pg"] as (url: string) => Promise<Driver>)(url);
    return () => driver.close();
  });

  test("hears of a conflict with another transaction, and no job is blamed for it", async () => {
    const codes: unknown[] = [];
    await outside.query("create table if not exists total (n int)");
    await outside.query("insert into total values (0)");
    const { ends, rows } = await run(upTo(2), async (items, ctx) => {
      for (let attempt = 1; attempt <= 2; attempt += 1) {
        try {
          await driver.transaction(async (tx) => {
            await query(tx, "select n from total");
            if (attempt === 1) await outside.query("update total set n = n + 1");
            await ctx.bisect(tx, items, async (inner, some) => {
              await query(inner, "update total set n = n + 1");
              await insert(
                inner,
                some.map(({ payload }) => payload),
              );
            });
          }, "serializable");
          return;
        } catch (error) {
          codes.push((error as { code?: string }).code);
        }
      }
    });
    expect(codes).toEqual(["40001"]);
    expect([ends, rows]).toEqual([
      ["completed", "completed"],
      [0, 1],
    ]);
  });

  test("hears of a connection that is lost", async () => {
    let problem: unknown;
    const { ends } = await run([1], async (items, ctx) => {
      const client = new pg.Client({ connectionString: url });
      client.on("error", () => undefined);
      await client.connect();
      await client.query("begin");
      const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
      problem = await ctx
        .isolate(client, items[0] as BatchItem, async () => {
          await outside.query("select pg_terminate_backend($1)", [rows[0]?.pid]);
          await client.query("select 1");
        })
        .catch((error: unknown) => error);
      await client.end().catch(() => undefined);
      throw problem;
    });
    expect(problem).toBeInstanceOf(Error);
    expect(ends).toEqual(["dead"]);
  });

  test("completes first and writes for what was completed, in one transaction", async () => {
    const { ends, rows } = await run(upTo(3), (items, ctx) =>
      driver.transaction(async (tx) => {
        const { completed, stale } = await ctx.completeIn(tx, items);
        expect(stale).toEqual([]);
        await insert(
          tx,
          completed.map(({ payload }) => payload),
        );
      }),
    );
    expect([ends, rows]).toEqual([
      ["completed", "completed", "completed"],
      [0, 1, 2],
    ]);
  });
});

test("jobs that others hold are told, and completed by nobody but them", async () => {
  const told: unknown[] = [];
  const { ends, rows } = await run(upTo(4), async (items, ctx) => {
    const client = await outside.connect();
    await client.query("begin");
    // As if this process had been taken for lost meanwhile.
    for (const { job } of items.filter(({ payload }) => payload % 2 === 1)) {
      await outside.query(`update "${schema}".job set generation = generation + 1 where id = $1`, [job.id]);
    }
    items[0]?.complete("zero");
    const numbersOf = (some: readonly BatchItem<number>[]): number[] => some.map(({ payload }) => payload);
    const { completed, stale } = await ctx.completeIn(client, items);
    told.push(numbersOf(completed), numbersOf(stale));
    await insert(client, numbersOf(completed));
    await client.query("commit");
    client.release();
  });
  expect(told).toEqual([
    [0, 2],
    [1, 3],
  ]);
  expect([ends, rows]).toEqual([
    ["completed", "running", "completed", "running"],
    [0, 2],
  ]);
});

test.each([
  ["a pool", () => outside],
  ["nothing", () => ({})],
])("%s is no transaction", async (_what, make) => {
  let problem: unknown;
  await run([1], async (items, ctx) => {
    problem = await ctx
      .isolate(make(), items[0] as BatchItem, async () => undefined)
      .catch((error: unknown) => error);
  });
  expect(problem).toMatchObject({ code: "JOBWRIGHT_INVALID_OPTION" });
});
