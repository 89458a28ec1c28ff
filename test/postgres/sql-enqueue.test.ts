// Goal: triggers and other languages store jobs with a plain SQL function, under the same rules and with the
// options of the definitions, in the transaction of whoever calls.
import pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { connect, defineJob, type Jobs, json } from "../../src/index.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import type { StoredJob } from "../../src/storage/storage.ts";
import { postgres } from "../support/postgres/server.ts";
import { until } from "../support/world.ts";

let pool: pg.Pool;
let schema: string;
let jobs: Jobs;

beforeAll(async () => {
  const { url } = await postgres();
  pool = new pg.Pool({ connectionString: url, max: 4 });
});
afterAll(() => pool.end());

beforeEach(async () => {
  schema = (await postgres()).freshSchema();
  jobs = await connect(new PostgresStorage({ pool, schema }));
  return () => jobs.close();
});

/** The id that `enqueue` answers, as handles print it. */
async function enqueue(args: string, on: pg.Pool | pg.PoolClient = pool): Promise<string> {
  const { rows } = await on.query<{ id: string }>(`select ${schema}.enqueue(${args})::text as id`);
  return (rows[0] as { id: string }).id;
}

const greet = defineJob({
  name: "greet",
  payload: json<{ name: string }>(),
  queue: "letters",
  priority: 7,
  maxRetries: 2,
  timeout: "9s",
  tags: ["sql"],
  run: async ({ name }) => `hello ${name}`,
});

it("runs a job of a trigger, visible when its transaction commits", async () => {
  const worker = jobs.worker([greet]);
  await worker.start();
  await pool.query(`create table ${schema}.person (name text);
    create function ${schema}.welcome() returns trigger language plpgsql as $$
    begin
      perform ${schema}.enqueue('greet', json_build_object('name', new.name));
      return new;
    end $$;
    create trigger welcome after insert on ${schema}.person for each row execute function ${schema}.welcome()`);
  await pool.query(`insert into ${schema}.person values ('Ada')`);
  await until(async () => (await jobs.count({ state: "completed" })).n === 1);
  const [job] = (await jobs.list({ state: "completed" })).jobs;
  expect(job).toMatchObject({ name: "greet", result: "hello Ada" });
  await worker.stop();
});

it("takes the options that a worker told for the definition, until the call says otherwise", async () => {
  const worker = jobs.worker([greet], { queues: ["elsewhere"] });
  await worker.start();
  await until(async () => (await pool.query(`select from ${schema}.definition`)).rowCount === 1);
  const plain = await jobs.get(await enqueue(`'greet', '{"name":"x"}'`));
  expect(plain).toMatchObject({ queue: "letters", priority: 7, maxRetries: 2, tags: ["sql"] });
  const own = await jobs.get(
    await enqueue(
      `'greet', '{"name":"x"}', '{"queue":"q","priority":-3,"max_retries":null,"tags":["a","b"],"in_ms":60000}'`,
    ),
  );
  expect(own).toMatchObject({
    queue: "q",
    priority: -3,
    maxRetries: Infinity,
    tags: ["a", "b"],
    state: "scheduled",
  });
  await worker.stop();
});

it("gives the built-in options to a name that nobody has defined, the same as enqueue does", async () => {
  const viaSql = await jobs.get(await enqueue(`'unknown', '1'`));
  const handle = await jobs.enqueue(defineJob({ name: "unknown", payload: json<number>() }), 1);
  const viaCode = await handle.get();
  const strip = ({
    id: _id,
    createdAt: _created,
    runAt: _run,
    ...rest
  }: object & Record<string, unknown>): object => rest;
  expect(strip(viaSql as never)).toEqual(strip(viaCode as never));
  const policies = await pool.query(`select from ${schema}.policy`);
  expect(policies.rowCount, "the same policy, stored once").toBe(1);
});

it("leaves nothing behind after a rollback", async () => {
  const client = await pool.connect();
  await client.query("begin");
  await enqueue(`'greet', '{"name":"x"}', '{"id":"once"}'`, client);
  await client.query("rollback");
  client.release();
  expect((await jobs.count()).n).toBe(0);
  expect((await pool.query(`select from ${schema}.given`)).rowCount).toBe(0);
});

it("answers the same id for a given id and payload, also across SQL and code, and refuses another payload", async () => {
  const first = await enqueue(`'greet', '{"name":"x"}', '{"id":"once"}'`);
  expect(await enqueue(`'greet', '{"name":"x"}', '{"id":"once"}'`)).toBe(first);
  const handle = await jobs.enqueue(greet, { name: "x" }, { id: "once" });
  expect([handle.id, handle.created]).toEqual([first, false]);
  await expect(enqueue(`'greet', '{"name":"y"}', '{"id":"once"}'`)).rejects.toMatchObject({
    code: "23505",
    message: `jobwright: 'greet' with id 'once' exists as job ${first} with another payload`,
  });
});

it.each([
  ["an empty name", `'', '1'`, /name of a job is 1 to 200/],
  ["a name that is null", `null, '1'`, /name of a job/],
  ["a control character", `E'a\\nb', '1'`, /none of them a control character/],
  ["an unknown option", `'a', '1', '{"prio":1}'`, /unknown option 'prio'; known are queue/],
  ["a priority out of range", `'a', '1', '{"priority":1001}'`, /priority is 1001/],
  ["negative retries", `'a', '1', '{"max_retries":-1}'`, /max_retries is -1/],
  ["a payload that is null", `'a', null`, /payload of 'a' is null/],
  ["a payload beyond the limit", `'a', to_json(repeat('x', 1048577))`, /limit is 1048576/],
])("refuses %s with a message that names it", async (_what, args, message) => {
  await expect(enqueue(args)).rejects.toThrow(message);
  expect((await jobs.count()).n).toBe(0);
});

it("takes unique keys by the rules of the code, and answers their holders", async () => {
  const first = await enqueue(`'greet', '{"name":"x"}', '{"unique":{"key":"k"}}'`);
  expect(await enqueue(`'greet', '{"name":"y"}', '{"unique":{"key":"k"}}'`)).toBe(first);
  expect(await enqueue(`'other', '1', '{"unique":{"key":"k"}}'`)).not.toBe(first);
  const storage = new PostgresStorage({ pool, schema });
  const unique = { scope: "greet", key: "k", while: "live", onConflict: "keep" } as const;
  const [job] = (await storage.get([Number(first)])) as [StoredJob];
  expect(job.unique).toEqual(unique);
  expect(await storage.keys({ scope: "greet", limit: 9 })).toEqual({
    keys: [{ key: "k", id: Number(first) }],
  });
  const { id: _id, state: _state, createdAt: _at, ...spec } = job;
  expect(await storage.enqueue([[spec]])).toEqual([
    { ok: true, jobs: [{ status: "existing", id: Number(first) }] },
  ]);
  await expect(
    enqueue(`'greet', '{"name":"y"}', '{"unique":{"key":"k","error":true}}'`),
  ).rejects.toMatchObject({ code: "23505", message: expect.stringContaining(`held by job ${first}`) });
  await storage.change([Number(first)], { kind: "cancel", reason: "done" });
  expect(
    await enqueue(`'greet', '{"name":"z"}', '{"unique":{"key":"k","while":null,"for_ms":60000}}'`),
  ).not.toBe(first);
  expect((await storage.keys({ scope: "greet", limit: 9 })).keys[0]).toMatchObject({
    until: expect.any(Number),
  });
});

it("stores jobs with limit keys, which wait for their promotion", async () => {
  const options = `'{"limit":{"key":"k","scope":"","concurrency":2}}'`;
  const ids = [
    await enqueue(`'greet', '{"name":"x"}', ${options}`),
    await enqueue(`'other', '1', ${options}`),
  ];
  const storage = new PostgresStorage({ pool, schema });
  const found = await storage.get(ids.map(Number));
  expect(found.map((job) => [job?.state, job?.limit])).toEqual(
    ids.map(() => ["scheduled", { scope: "", key: "k", concurrency: 2 }]),
  );
  expect(await storage.promote(9)).toMatchObject({ promoted: 2 });
});

it.each([
  ["an unknown option of a key", `{"unique":{"key":"k","until":1}}`, /unknown option 'until' of unique/],
  ["a key that is missing", `{"limit":{}}`, /key of limit is 1 to 200 characters/],
  ["a key that is no object", `{"unique":"k"}`, /unique is "k" but must be an object/],
  ["a state that is none", `{"unique":{"key":"k","while":"dead"}}`, /held while 'dead'/],
  ["a concurrency out of range", `{"limit":{"key":"k","concurrency":0}}`, /must be 1 to 1000/],
  ["an id beside a key", `{"id":"a","unique":{"key":"k"}}`, /an id or a unique key, not both/],
])("refuses %s with a message that names it", async (_what, options, message) => {
  await expect(enqueue(`'greet', '1', '${options}'`)).rejects.toThrow(message);
  expect((await jobs.count()).n).toBe(0);
});
