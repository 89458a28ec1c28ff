// Goal: while a deploy goes on, processes of version 1 work beside the new schema: their statements, as they send
// them, do what they did, and do right by jobs with keys, of which they know nothing.
import pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { silentLogger } from "../../src/logger.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import { migrationSql } from "../../src/storage/postgres/migration-sql.ts";
import type { Migration } from "../../src/storage/postgres/migration/migration.ts";
import { MIGRATIONS } from "../../src/storage/postgres/migrations.ts";
import type { ClaimedJob, NewJob, StoredJob } from "../../src/storage/storage.ts";
import { postgres } from "../support/postgres/server.ts";

let pool: pg.Pool;
let schema: string;
let storage: PostgresStorage;

beforeAll(async () => {
  pool = new pg.Pool({ connectionString: (await postgres()).url, max: 2 });
});
afterAll(() => pool.end());

beforeEach(async () => {
  schema = (await postgres()).freshSchema();
  storage = new PostgresStorage({ pool, schema, logger: silentLogger });
  await storage.open();
  await sql(`select $s.beat(null, null, 'old', null, 'h', 1, 600000, '[{"queue":"q","names":["n"],"concurrency":9}]',
    true, false, false, null, null, null, null, null, null, null, null, null, null, null)`);
  return () => storage.close();
});

async function sql<T extends Record<string, unknown>>(text: string, values: unknown[] = []): Promise<T[]> {
  return (await pool.query<T>(text.replaceAll("$s", schema), values)).rows;
}

const job = (more: Partial<NewJob> = {}): NewJob => ({
  ...{ name: "n", queue: "q", payload: "1", maxRetries: null, timeoutMs: null, tags: [], priority: 0 },
  backoff: { kind: "fixed", delayMs: 0 } as unknown as NewJob["backoff"],
  retention: { completedMs: 60_000, cancelledMs: 60_000, deadMs: 60_000 },
  ...more,
});
const limit = { limit: { scope: "s", key: "l", concurrency: 1 } } as const;
const unique = { unique: { scope: "s", key: "u", while: "live", onConflict: "keep" } } as const;

async function enqueue(...jobs: NewJob[]): Promise<number[]> {
  const [result] = await storage.enqueue([jobs]);
  if (result?.ok !== true) throw new Error(JSON.stringify(result));
  return result.jobs.map(({ id }) => id);
}

async function states(ids: readonly number[]): Promise<(string | undefined)[]> {
  return (await storage.get(ids)).map((one) => one?.state);
}

/** As version 1 claims: the ids, by what stands before the first separator of each job. */
async function oldClaim(token: string): Promise<number[]> {
  const [, ...rows] = await sql<{ claim: string }>(
    `select $s.claim(null, null, 'old', $1, '{q}', '{n}', '{1}', '{9}', '{9}', null, null, null, null, null, false,
      null, null, null, null, null) as claim`,
    [token],
  );
  return rows.flatMap(({ claim }) => claim.split("\x1e").map((one) => Number(one.split("\x1f")[0])));
}

async function oldComplete(id: number, token: string): Promise<void> {
  const [row] = await sql<{ answer: string }>(
    "select $s.complete(null, $1::bigint[], '{0}', $2::text[], '{1}', '{0}', '{1}', null, null, null) as answer",
    [[id], [token]],
  );
  expect(row?.answer).toBe("");
}

/** A row of `lock_jobs`, changed as version 1 writes it. */
async function oldChange(id: number, to: Readonly<Record<string, unknown>>): Promise<void> {
  const [locked] = await sql<{ place: number; tid: string | null; c1: number }>(
    "select * from $s.lock_jobs(null, $1::bigint[])",
    [[id]],
  );
  expect(Object.keys(locked ?? {})).toHaveLength(34);
  const change = {
    ...{ id, lane: locked?.c1, tid: locked?.tid, src: locked?.place, run_at: 1, generation: 0, attempt: 0 },
    ...{
      failures: 0,
      snoozes: 0,
      releases: 0,
      priority: 0,
      marked: false,
      sets_error: false,
      sets_result: false,
    },
    ...{ keeps_checkpoint: false, ended_at: Date.now(), ...to },
  };
  await sql("select $s.write_heads($1::json, '{}')", [JSON.stringify([change])]);
}

it("enqueues, claims and completes jobs with limit keys one after the other", async () => {
  const ids = await enqueue(job(limit), job(limit), job(limit));
  expect(await sql("select * from $s.promote(null, 9)")).toMatchObject([{ promoted: 3 }]);
  expect(await states(ids)).toEqual(["available", "blocked", "blocked"]);
  const [made] = await sql<{ ids: string }>(
    `select $s.enqueue_one('b', null, 'q', 'n', 0::smallint, 7, '{}', null, null, null, null, '"old"') as ids`,
  );
  expect(await oldClaim("old:1")).toEqual([ids[0], Number(made?.ids.split("-")[0])]);
  await oldComplete(ids[0] as number, "old:1");
  expect(await oldClaim("old:2")).toEqual([ids[1]]);
  expect(await oldClaim("old:3")).toEqual([]);
  await oldComplete(ids[1] as number, "old:2");
  expect(await oldClaim("old:4")).toEqual([ids[2]]);
});

it("cancels a blocked job, and gives a run that failed back", async () => {
  const [first, second, third] = (await enqueue(job(limit), job({ ...limit, ...unique }), job(limit))) as [
    number,
    number,
    number,
  ];
  await storage.promote(9);
  await oldChange(second, { dst: 5, reason: '"by hand"', expires_at: 9e15 });
  expect(await states([second])).toEqual(["cancelled"]);
  expect((await storage.keys({ scope: "s", limit: 9 })).keys).toEqual([]);
  expect(await oldClaim("old:1")).toEqual([first]);
  await oldChange(first, { dst: 1, generation: 1, run_at: 9e15 });
  expect(await oldClaim("old:2")).toEqual([third]);
  const { lanes } = await storage.lanes();
  expect(lanes[0]?.counts).toMatchObject({
    scheduled: 1,
    blocked: 0,
    running: 1,
    cancelled: 1,
    available: 0,
  });
});

it("is refused to run a job again whose unique key another one has", async () => {
  const [first] = (await enqueue(job(unique))) as [number];
  await storage.change([first], { kind: "cancel", reason: "test" });
  const [second] = (await enqueue(job(unique))) as [number];
  await expect(oldChange(first, { dst: 2, generation: 1, ended_at: null })).rejects.toMatchObject({
    code: "40001",
  });
  expect(await states([first, second])).toEqual(["cancelled", "available"]);
  await storage.change([second], { kind: "remove" });
  await oldChange(first, { dst: 2, generation: 1, ended_at: null });
  expect(await enqueue(job(unique))).toEqual([first]);
});

it("looks at jobs, and notes what they say", async () => {
  const [id] = (await enqueue(job({ ...limit, trace: "00-1" }))) as [number];
  await storage.promote(1);
  expect(
    await sql("select o_1 from $s.list_available(null, null, null, '-infinity', 0, 9, 9, 999)"),
  ).toHaveLength(1);
  await oldClaim("old:1");
  const [seen] = await sql("select * from $s.get_jobs($1::bigint[])", [[id]]);
  expect(Object.keys(seen ?? {})).toHaveLength(32);
  expect(seen).toMatchObject({ o_state: 4, o_process: "old" });
  expect(await sql(`select $s.note($1, 0, 'old:1', 0, null, '"so far"') as said`, [id])).toEqual([
    { said: "saved" },
  ]);
  const [stored] = (await storage.get([id])) as [StoredJob];
  expect(stored).toMatchObject({ result: '"so far"', trace: "00-1", limit: limit.limit });
  const [run] = await sql<{ c20: string }>(
    "select * from $s.lock_runs(null, $1::bigint[], '{0}', '{old:1}', '{1}')",
    [[id]],
  );
  expect(Object.keys(run ?? {})).toHaveLength(34);
});

it("does not count schedules among the jobs that are due: nobody there would fire them", async () => {
  await storage.writeSchedules([{ key: "tick", expected: 0, row: { text: "{}", nextAt: 1 } }]);
  const [meta] = await sql<{ claim: string }>(
    `select $s.claim(null, null, 'old', 't', '{q}', '{n}', '{1}', '{1}', '{1}', null, null, null, null, null, false,
      null, null, null, null, null) as claim`,
  );
  expect((meta?.claim ?? "").split("\x1f").slice(0, 2)).toEqual(["1", ""]);
  const claimed: { readonly jobs: readonly ClaimedJob[]; readonly nextAt?: number } = await storage.claim({
    ...{ processId: "old", token: "t2", starts: [] },
    queues: [{ queue: "q", names: ["n"], room: 1, readAhead: 0 }],
  });
  expect(claimed.nextAt).toBe(1);
});

it("goes on under a role that owns nothing and was given what there was", async () => {
  const own = (await postgres()).freshSchema();
  const role = `${own}_role`;
  const [first, ...others] = MIGRATIONS;
  const run = async (text: string): Promise<void> => {
    await pool.query(text.replaceAll("$s", own));
  };
  await run(migrationSql(first as Migration, own));
  await run(`create role ${role}; grant usage on schema $s to ${role};
    grant all on all tables in schema $s to ${role}; grant all on all sequences in schema $s to ${role};
    revoke execute on all functions in schema $s from public; grant execute on all functions in schema $s to ${role}`);
  // A session of theirs that goes on, with statements that it has prepared.
  const session = new pg.Client({ connectionString: (await postgres()).url, options: `-c role=${role}` });
  await session.connect();
  const execute = async (): Promise<unknown[]> => {
    const complete = `select ${own}.complete(null, '{1}', '{0}', '{none}', '{1}', '{0}', '{1}', null, null, null) as answer`;
    const lock = `select * from ${own}.lock_jobs(null, '{1}')`;
    const answers = [];
    for (const [name, text] of Object.entries({ complete, lock }))
      answers.push((await session.query({ name, text })).rows);
    return answers;
  };
  expect(await execute()).toEqual([[{ answer: "0" }], []]);
  for (const step of others) {
    await run(migrationSql(step, own));
    await run("revoke execute on all functions in schema $s from public");
  }
  expect(await execute()).toEqual([[{ answer: "0" }], []]);
  await session.end();
  const theirs = new pg.Pool({
    connectionString: (await postgres()).url,
    options: `-c role=${role}`,
    max: 2,
  });
  const under = new PostgresStorage({ pool: theirs, schema: own, migrate: false, logger: silentLogger });
  await under.open();
  expect(await under.enqueue([[job({ ...limit, ...unique })]])).toMatchObject([{ ok: true }]);
  expect(await under.promote(9)).toMatchObject({ promoted: 1 });
  await under.beat({
    ...{ id: "p", host: "h", pid: 1, lostAfterMs: 60_000, first: true, holds: [], starts: [] },
    queues: [{ queue: "q", names: ["n"], concurrency: 1 }],
  });
  const { jobs } = await under.claim({
    ...{ processId: "p", token: "p:1", starts: [] },
    queues: [{ queue: "q", names: ["n"], room: 1, readAhead: 0 }],
  });
  const [{ id, generation, token }] = jobs as [ClaimedJob];
  const lease = { id, generation, token };
  expect(await under.note(lease, { log: [{ at: 1, level: "info", text: "on it" }] })).toBe("saved");
  expect(await under.settle([{ lease, outcome: { state: "completed" }, startedAt: 1 }])).toEqual(["settled"]);
  expect(
    await under.writeSchedules([{ key: "k", expected: 0, row: { text: "{}", nextAt: 1 } }]),
  ).toMatchObject([{ ok: true }]);
  await under.prune(9);
  expect((await under.stats({})).total).toMatchObject({ enqueued: 1, completed: 1 });
  await under.close();
  await theirs.end();
  await run(`drop schema $s cascade; drop role ${role}`);
});
