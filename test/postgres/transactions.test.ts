import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connect, type ConnectOptions } from "../../src/connect.ts";
import {
  defineJob,
  DuplicateIdError,
  fixed,
  InvalidOptionError,
  InvalidPayloadError,
  item,
  type JobContext,
  type Jobs,
  json,
  LeaseLostError,
  silentLogger,
} from "../../src/index.ts";
import { PostgresStorage, type PostgresStorageOptions } from "../../src/storage/postgres/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { emptied } from "../support/postgres/schemas.ts";
import { postgres } from "../support/postgres/server.ts";
import { gate, until } from "../support/world.ts";
import { type Driver, drivers } from "./drivers.ts";

// Goal: what jobs do in a transaction of the user happens exactly when it commits, does it no harm, and makes
// nobody else wait. Method: real transactions of every driver on a real server, looked at from outside.

const server = await postgres();
const url = await server.createDatabase();
const pool = new pg.Pool({ connectionString: url, max: 40 });
/** Of all storages that need none of their own: a new connection plans every function anew. */
const connections = new pg.Pool({ connectionString: url, max: 20 });
const open: Jobs[] = [];

/** Schemas of one test each, which are emptied and used again: making one takes longer than most tests. */
const free: string[] = [];
const used: string[] = [];

function schemaOfTest(): string {
  const schema = free.pop() ?? server.freshSchema();
  used.push(schema);
  return schema;
}

const note = defineJob({ name: "note", payload: json<unknown>(), run: () => "noted" });

/** Jobs in a schema of their own, or in one that is named. */
async function jobsIn(
  schema: string = schemaOfTest(),
  options: ConnectOptions & { readonly storage?: Partial<PostgresStorageOptions> } = {},
): Promise<Jobs> {
  const { storage, ...others } = options;
  const target = new PostgresStorage({ pool: connections, schema, logger: silentLogger, ...storage });
  const jobs = await connect(target, { logger: silentLogger, ...others });
  open.push(jobs);
  return jobs;
}

/** A transaction of `pg`, to be ended by hand. */
async function begin(isolation = "read committed"): Promise<{
  readonly tx: pg.PoolClient;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}> {
  const tx = await pool.connect();
  await tx.query(`begin isolation level ${isolation}`);
  const end = async (how: string): Promise<void> => {
    await tx.query(how);
    tx.release();
  };
  return { tx, commit: () => end("commit"), rollback: () => end("rollback") };
}

async function effects(): Promise<string[]> {
  const { rows } = await pool.query<{ what: string }>("select what from effect order by what");
  return rows.map(({ what }) => what);
}

const addEffect = "insert into effect (what) values ($1)";

beforeAll(async () => {
  await pool.query("create table effect (what text not null)");
});

beforeEach(async () => {
  await pool.query("truncate effect");
  return async () => {
    await Promise.all(open.splice(0).map((jobs) => jobs.close()));
    for (const schema of used.splice(0)) {
      await pool.query(emptied(schema));
      free.push(schema);
    }
  };
});

afterAll(() => Promise.all([pool.end(), connections.end()]));

describe.each(Object.entries(drivers))("in a transaction of %s", (_name, connectDriver) => {
  const schema = server.freshSchema();
  let driver: Driver;
  let jobs: Jobs;
  /** Of each test: its jobs, and what its given ids begin with. */
  let queue: string;
  const count = async (): Promise<number> => (await jobs.count({ queue })).n;

  beforeAll(async () => {
    driver = await connectDriver(url);
    return () => driver.close();
  });

  beforeEach(async () => {
    queue = server.freshSchema();
    jobs = await jobsIn(schema, { defaults: { queue } });
  });

  test("jobs are stored when it commits, with those of kept savepoints, and nothing of the others", async () => {
    const payload = { text: "'\"\\ ? $1 :a \u0000 \ud800 é 漢字 😀" };
    const handles = await driver.transaction(async (tx) => {
      const first = await jobs
        .in(tx)
        .enqueue(note, payload, { id: `${queue} mine`, tags: ["a", "b"], in: "1h" });
      const kept = await driver.savepoint(tx, (inner) => jobs.in(inner).enqueueMany(note, [1, 2, 3]));
      const undone = driver.savepoint(tx, async (inner) => {
        await jobs.in(inner).enqueue(note, "undone", { id: `${queue} free again` });
        throw new Error("only this part");
      });
      await expect(undone).rejects.toThrow("only this part");
      expect(await jobs.get(first.id)).toBeUndefined();
      expect(await count()).toBe(0);
      return [first, ...kept];
    });
    expect(handles.map(({ created }) => created)).toEqual([true, true, true, true]);
    expect(await count()).toBe(4);
    const found = await Promise.all(handles.map((handle) => handle.get()));
    expect(found.map((job) => job?.payload)).toEqual([payload, 1, 2, 3]);
    expect(found[0]).toMatchObject({ state: "scheduled", givenId: `${queue} mine`, tags: ["a", "b"] });
    expect(found[1]).toMatchObject({ state: "available" });
    expect((await jobs.enqueue(note, "another", { id: `${queue} free again` })).created).toBe(true);
  });

  test("a rollback leaves nothing", async () => {
    let id = "";
    const undone = driver.transaction(async (tx) => {
      ({ id } = await jobs.in(tx).enqueue(note, 0, { id: `${queue} mine` }));
      throw new Error("changed my mind");
    });
    await expect(undone).rejects.toThrow("changed my mind");
    expect(await jobs.get(id)).toBeUndefined();
    expect(await count()).toBe(0);
    expect((await jobs.enqueue(note, 1, { id: `${queue} mine` })).created).toBe(true);
  });

  test("a given id that is taken does it no harm", async () => {
    const there = await jobs.enqueue(note, "same", { id: `${queue} taken` });
    await driver.transaction(async (tx) => {
      const again = await jobs.in(tx).enqueue(note, "same", { id: `${queue} taken` });
      expect(again).toMatchObject({ id: there.id, created: false });
      await expect(jobs.in(tx).enqueue(note, "other", { id: `${queue} taken` })).rejects.toThrow(
        DuplicateIdError,
      );
      const twice = await jobs.in(tx).enqueue(note, "twice", { id: `${queue} twice` });
      expect(await jobs.in(tx).enqueue(note, "twice", { id: `${queue} twice` })).toMatchObject({
        id: twice.id,
        created: false,
      });
      await jobs.in(tx).enqueue(note, "free", { id: `${queue} free` });
    });
    expect(await count()).toBe(3);
  });

  test("a completion takes effect when it commits, and leaves nothing when it is rolled back", async () => {
    const sum = defineJob({
      name: "sum",
      payload: json<number>(),
      backoff: fixed(0),
      run: (payload, ctx: JobContext) =>
        driver.transaction(async (tx) => {
          const done = await ctx.completeIn(tx, { sum: payload + 1, attempt: ctx.job.attempt });
          await jobs.in(tx).enqueue(note, `of attempt ${ctx.job.attempt}`);
          if (ctx.job.attempt === 1) throw new Error("not yet");
          return done;
        }),
    });
    const handle = await jobs.enqueue(sum, 1);
    await runUntilIdle(jobs.worker([sum]));
    expect(await handle.result({ timeout: "1m" })).toEqual({ sum: 2, attempt: 2 });
    expect((await jobs.attempts(handle.id)).map(({ error }) => error.message)).toEqual(["not yet"]);
    const { jobs: left } = await jobs.list({ state: "available", queue });
    expect(left.map(({ payload }) => payload)).toEqual(["of attempt 2"]);
  });
});

describe("jobs.in(tx)", () => {
  test("wakes an idle worker with the commit, and not before", async () => {
    const jobs = await jobsIn();
    const worker = jobs.worker([note], { pollInterval: "1m" });
    await worker.start();
    // Idle for sure: it has run something and waits for more.
    await (await jobs.enqueue(note, "warm up")).result({ timeout: "1m" });
    const { tx, commit } = await begin();
    const handle = await jobs.in(tx).enqueue(note, "now");
    const other = await jobs.enqueue(note, "meanwhile");
    expect(await other.result({ timeout: "50s" })).toBe("noted");
    expect(await handle.get()).toBeUndefined();
    await commit();
    expect(await handle.result({ timeout: "50s" })).toBe("noted");
  });

  test("wakes also who began to wait only after the enqueue", async () => {
    const jobs = await jobsIn();
    const { tx, commit } = await begin();
    const handle = await jobs.in(tx).enqueue(note, "now");
    const worker = jobs.worker([note], { pollInterval: "1m" });
    await worker.start();
    await (await jobs.enqueue(note, "idle again")).result({ timeout: "1m" });
    await commit();
    expect(await handle.result({ timeout: "50s" })).toBe("noted");
  });

  test("gives all jobs of a transaction one instant", async () => {
    const jobs = await jobsIn();
    const { tx, commit } = await begin();
    const first = await jobs.in(tx).enqueue(note, 1);
    await pool.query("select pg_sleep(0.01)");
    const [second, third] = await jobs
      .in(tx)
      .enqueueMany([item(note, 2), item(note, 3, { in: "5m", id: "a" })]);
    await commit();
    const [a, b, c] = await Promise.all([first, second, third].map((handle) => handle?.get()));
    expect(b?.createdAt).toEqual(a?.createdAt);
    expect(c?.createdAt).toEqual(a?.createdAt);
    expect(Number(c?.runAt) - Number(a?.createdAt)).toBe(300_000);
  });

  test("leaves the settings of the transaction and its session as they were", async () => {
    const jobs = await jobsIn();
    const settings = async (client: pg.PoolClient): Promise<unknown> =>
      (await client.query("select name, setting from pg_settings order by name")).rows;
    const { tx, commit } = await begin();
    const before = await settings(tx);
    await jobs.in(tx).enqueue(note, 1, { id: "a" });
    await jobs.in(tx).enqueueMany(note, [2, 3]);
    expect(await settings(tx)).toEqual(before);
    await commit();
  });

  test("refuses what makes no sense before it touches the transaction", async () => {
    const jobs = await jobsIn();
    const strict = defineJob({
      name: "strict",
      payload: {
        "~standard": {
          version: 1,
          vendor: "test",
          validate: (value: unknown) =>
            typeof value === "number" ? { value } : { issues: [{ message: "a number, please" }] },
        },
      },
    });
    const { tx, commit } = await begin();
    await tx.query(addEffect, ["mine"]);
    await expect(jobs.in(tx).enqueue(strict, "one" as never)).rejects.toThrow(InvalidPayloadError);
    await expect(jobs.in(tx).enqueueMany(strict, [1, "two" as never])).rejects.toThrow(InvalidPayloadError);
    await expect(jobs.in(tx).enqueue(strict, 1, { priority: 5_000 })).rejects.toThrow(InvalidOptionError);
    await expect(jobs.in(pool).enqueue(strict, 1)).rejects.toThrow(/A pool is no transaction/);
    expect(await jobs.in(tx).enqueueMany([])).toEqual([]);
    await jobs.in(tx).enqueue(strict, 1);
    await commit();
    expect(await effects()).toEqual(["mine"]);
    expect((await jobs.count()).n).toBe(1);
  });

  test("stores nothing of a batch that is refused, and the transaction goes on", async () => {
    const jobs = await jobsIn();
    await jobs.enqueue(note, "same", { id: "taken" });
    const { tx, commit } = await begin();
    const batch = [item(note, 1, { id: "new" }), item(note, "other", { id: "taken" }), item(note, 3)];
    await expect(jobs.in(tx).enqueueMany(batch)).rejects.toThrow(DuplicateIdError);
    expect((await jobs.in(tx).enqueue(note, "again", { id: "new" })).created).toBe(true);
    await commit();
    expect((await jobs.count()).n).toBe(2);
  });

  test("waits for another transaction that has the same given id, and knows how that ended", async () => {
    const jobs = await jobsIn();
    for (const how of ["commit", "rollback"] as const) {
      const first = await begin();
      const second = await begin();
      const { id } = await jobs.in(first.tx).enqueue(note, "same", { id: how });
      const again = jobs.in(second.tx).enqueue(note, "same", { id: how });
      await until(async () => (await waiting()) === 1);
      await first[how]();
      const handle = await again;
      expect([handle.created, handle.id === id]).toEqual(how === "commit" ? [false, true] : [true, false]);
      await second.commit();
    }
    expect((await jobs.count()).n).toBe(2);
  });

  test("makes nobody wait who enqueues to a queue that is new, with options that are new", async () => {
    const jobs = await jobsIn();
    const fresh = defineJob({ name: "fresh", maxRetries: 77 });
    const { tx, rollback } = await begin();
    await jobs.in(tx).enqueue(fresh, 0, { queue: "just opened" });
    const other = await jobs.enqueue(fresh, 1, { queue: "just opened" });
    expect((await other.get())?.maxRetries).toBe(77);
    const third = await begin();
    await jobs.in(third.tx).enqueueMany(fresh, [2, 3], { queue: "just opened" });
    await third.commit();
    await rollback();
    expect((await jobs.count({ queue: "just opened" })).n).toBe(3);
  });

  test("works on the only connection there is", async () => {
    const only = new pg.Pool({ connectionString: url, max: 1 });
    const jobs = await jobsIn(undefined, { storage: { pool: only } });
    const tx = await only.connect();
    await tx.query("begin");
    const handle = await jobs.in(tx).enqueue(note, 1, { queue: "new", id: "a" });
    await tx.query("commit");
    tx.release();
    expect((await handle.get())?.queue).toBe("new");
    await jobs.close();
    await only.end();
  });

  test.each(["repeatable read", "serializable"])("works where the isolation is %s", async (isolation) => {
    const jobs = await jobsIn();
    const { tx, commit } = await begin(isolation);
    await tx.query("select * from effect");
    await jobs.in(tx).enqueue(note, 1, { queue: "new", id: "a" });
    await jobs.in(tx).enqueue(note, 1, { queue: "new", id: "a" });
    await tx.query(addEffect, ["mine"]);
    await commit();
    expect((await jobs.count({ queue: "new" })).n).toBe(1);
    expect(await effects()).toEqual(["mine"]);
  });

  test("shows a conflict of SERIALIZABLE to the one who runs the transaction", async () => {
    const jobs = await jobsIn();
    await pool.query(addEffect, ["a"]);
    const { tx, rollback } = await begin("serializable");
    await tx.query("select * from effect");
    await jobs.enqueue(note, "same", { id: "a" });
    await expect(jobs.in(tx).enqueue(note, "same", { id: "a" })).rejects.toMatchObject({ code: "40001" });
    await rollback();
    const again = await begin("serializable");
    expect((await jobs.in(again.tx).enqueue(note, "same", { id: "a" })).created).toBe(false);
    await again.commit();
  });

  test("32 transactions at once, in any order: each is there wholly or not at all", async () => {
    const jobs = await jobsIn();
    const names = ["a", "b", "c", "d", "e"].map((name) => defineJob({ name, payload: json<string>() }));
    const expected: string[] = [];
    const work = async (n: number): Promise<void> => {
      for (let round = 0; round < 5; round += 1) {
        const { tx, commit, rollback } = await begin();
        const what = `${n}/${round}`;
        await tx.query(addEffect, [what]);
        // Each in its own order, lanes that are new included.
        for (let i = 0; i < names.length; i += 1) {
          const definition = names[(i * (n % 4 || 3) + n) % names.length] as (typeof names)[number];
          await jobs.in(tx).enqueue(definition, what, { queue: `q${(n + i) % 3}` });
        }
        await jobs.in(tx).enqueue(names[0] as (typeof names)[number], what, { id: what });
        if ((n + round) % 3 === 0) {
          await rollback();
        } else {
          await commit();
          expected.push(what);
        }
      }
    };
    await Promise.all(Array.from({ length: 32 }, (_, n) => work(n)));
    expect(await effects()).toEqual(expected.toSorted());
    const { jobs: found } = await jobs.list({ state: "available", limit: 1_000 });
    const counts = new Map<unknown, number>();
    for (const { payload } of found) counts.set(payload, (counts.get(payload) ?? 0) + 1);
    expect([...counts].toSorted()).toEqual(expected.toSorted().map((what) => [what, 6]));
    expect((await jobs.count()).n).toBe(expected.length * 6);
  });

  test("is refused by jobs that are closed", async () => {
    const jobs = await jobsIn();
    const { tx, rollback } = await begin();
    await jobs.close();
    await expect(jobs.in(tx).enqueue(note, 1)).rejects.toThrow(/closed/);
    await rollback();
  });
});

describe("ctx.completeIn(tx)", () => {
  /** A job that writes its payload as an effect and is completed with it. */
  function booking(during: (ctx: JobContext, tx: pg.PoolClient) => Promise<void> = async () => undefined) {
    return defineJob({
      name: "booking",
      payload: json<string>(),
      backoff: fixed(0),
      run: async (what, ctx) => {
        const { tx, commit, rollback } = await begin();
        try {
          await tx.query(addEffect, [what]);
          const done = await ctx.completeIn(tx, what);
          await during(ctx, tx);
          await commit();
          return done;
        } catch (error) {
          await rollback();
          throw error;
        }
      },
    });
  }

  test("is not undone, repeated or reported as stale by what the worker says afterwards", async () => {
    const jobs = await jobsIn();
    const job = booking();
    const handles = await jobs.enqueueMany(
      job,
      Array.from({ length: 100 }, (_, i) => `booking ${i}`),
    );
    const worker = jobs.worker([job], { concurrency: 20 });
    const told: string[] = [];
    for (const event of ["completed", "failed", "dead", "stale"] as const)
      worker.on(event, () => told.push(event));
    expect(await runUntilIdle(worker)).toBe(100);
    expect(told).toEqual(handles.map(() => "completed"));
    expect((await effects()).length).toBe(100);
    expect((await jobs.count({ state: "completed" })).n).toBe(100);
    expect(await jobs.get((handles[7] as { id: string }).id)).toMatchObject({
      result: "booking 7",
      attempt: 1,
    });
  });

  test("bears the same instant as the jobs that follow in the transaction", async () => {
    const jobs = await jobsIn();
    const job = booking(async (ctx, tx) => {
      await pool.query("select pg_sleep(0.01)");
      await ctx.jobs.in(tx).enqueue(note, "follows");
    });
    const handle = await jobs.enqueue(job, "booked");
    await runUntilIdle(jobs.worker([job]));
    const { jobs: followed } = await jobs.list({ state: "available" });
    expect((await handle.get())?.endedAt).toEqual(followed[0]?.createdAt);
  });

  test("leaves no lease behind, whether it commits or not", async () => {
    const schema = schemaOfTest();
    const jobs = await jobsIn(schema);
    const job = booking(async (ctx) => {
      if (Number(ctx.job.id) % 2 === 0 && ctx.job.attempt < 3) throw new Error("again");
    });
    await jobs.enqueueMany(
      job,
      Array.from({ length: 50 }, (_, i) => `booking ${i}`),
    );
    const worker = jobs.worker([job, note]);
    await runUntilIdle(worker);
    // What is done with goes with a later call; of all that there was only the last may be left.
    await jobs.enqueue(note, "later");
    await runUntilIdle(worker);
    expect((await pool.query(`select token from ${schema}.lease`)).rows.length).toBeLessThanOrEqual(1);
    await worker.stop();
    expect((await jobs.count({ state: "completed" })).n).toBe(51);
    expect((await pool.query(`select token from ${schema}.lease`)).rows).toEqual([]);
    expect((await pool.query(`select job from ${schema}.attempt`)).rows).toEqual([]);
  });

  test("holds nobody up while its transaction is open, not even those of the same claim", async () => {
    const jobs = await jobsIn();
    const closing = gate();
    const written = gate();
    const slow = booking(async (_ctx, tx) => {
      written.open();
      await closing.promise;
      await tx.query("select 1");
    });
    const handle = await jobs.enqueue(slow, "slow");
    const others = await jobs.enqueueMany(
      note,
      Array.from({ length: 50 }, (_, i) => i),
    );
    const worker = jobs.worker([slow, note], { concurrency: 100 });
    await worker.start();
    await written.promise;
    for (const other of others) expect(await other.result({ timeout: "1m" })).toBe("noted");
    const late = await jobs.enqueue(note, "late");
    expect(await late.result({ timeout: "1m" })).toBe("noted");
    expect((await handle.get())?.state).toBe("running");
    closing.open();
    expect(await handle.result({ timeout: "1m" })).toBe("slow");
  });

  test("holds nobody up when its handler leaves the transaction open behind it", async () => {
    const jobs = await jobsIn();
    for (const how of ["commit", "rollback"] as const) {
      const { tx, ...end } = await begin();
      const careless = defineJob({
        name: "careless",
        maxRetries: 0,
        run: async (_payload, ctx) => {
          await tx.query(addEffect, [how]);
          return ctx.completeIn(tx, how);
        },
      });
      const handle = await jobs.enqueue(careless, 0);
      const worker = jobs.worker([careless, note]);
      const over = gate();
      const ended = ({ name }: { readonly name: string }): void => {
        if (name === "careless") over.open();
      };
      worker.on("completed", ended).on("dead", ended);
      await worker.start();
      // Its own settle waits for the transaction by now.
      await until(async () => (await waiting()) === 1);
      const other = await jobs.enqueue(note, how);
      // On the same worker, so after the careless one.
      expect(await other.result({ timeout: "1m" })).toBe("noted");
      expect((await handle.get())?.state).toBe("running");
      await end[how]();
      await over.promise;
      expect(await handle.get()).toMatchObject(
        how === "commit"
          ? { state: "completed", result: "commit" }
          : { state: "dead", error: { code: "JOBWRIGHT_ROLLED_BACK" } },
      );
      await worker.stop();
    }
    expect(await effects()).toEqual(["commit"]);
  });

  test("throws when the job was taken away, and takes the user's rows back", async () => {
    const schema = schemaOfTest();
    let alive = 1_000_000;
    const liveness = { storage: { liveness: () => alive }, lostAfter: "5s", beatEvery: "1s" } as const;
    const jobs = await jobsIn(schema, liveness);
    const other = new PostgresStorage({ url, schema, logger: silentLogger, liveness: () => alive });
    await other.open();
    let refused: unknown;
    const over = gate();
    const slow = defineJob({
      name: "slow",
      payload: json<string>(),
      run: async (what, ctx) => {
        const { tx, rollback } = await begin();
        await tx.query(addEffect, [what]);
        // Nothing is heard of this process, and another takes its jobs over.
        alive += 10_000;
        const lostAfterMs = 5_000;
        const beat = { id: "other", host: "h", pid: 1, lostAfterMs, queues: [], holds: [], starts: [] };
        await other.beat({ ...beat, first: true });
        expect(await other.rescue({ processId: "other", token: "other.1", limit: 10 })).toHaveLength(1);
        refused = await ctx.completeIn(tx, what).catch((error: unknown) => error);
        await rollback();
        over.open();
        throw refused;
      },
    });
    const { id } = await jobs.enqueue(slow, "slow");
    const worker = jobs.worker([slow]);
    await worker.start();
    await over.promise;
    expect(refused).toBeInstanceOf(LeaseLostError);
    expect(await effects()).toEqual([]);
    expect((await jobs.get(id))?.processId).toBe("other");
    await other.close();
  });

  test("nobody rescues a run while its completion waits for the commit", async () => {
    const schema = schemaOfTest();
    let alive = 1_000_000;
    const options = { url, schema, logger: silentLogger, liveness: () => alive };
    const mine = new PostgresStorage(options);
    const other = new PostgresStorage(options);
    await mine.open();
    await other.open();
    const jobs = await jobsIn(schema);
    const base = { host: "h", pid: 1, lostAfterMs: 5_000, queues: [], holds: [], starts: [], first: true };
    for (const how of ["commit", "rollback"] as const) {
      const { id } = await jobs.enqueue(note, how);
      const neighbour = await jobs.enqueue(note, "neighbour");
      const processId = `mine, ${how}`;
      await mine.beat({ ...base, id: processId });
      const queues = [{ queue: "default", names: ["note"], room: 2, readAhead: 0 }];
      const { jobs: claimed } = await mine.claim({ processId, token: `${processId}.1`, queues, starts: [] });
      const {
        generation,
        token,
        startedAt = alive,
      } = { ...claimed[0], startedAt: alive } as never as {
        generation: number;
        token: string;
        startedAt: number;
      };
      const lease = { id: Number(id), generation, token };
      const { tx, ...end } = await begin();
      const completion = { lease, startedAt, outcome: { state: "completed", result: '"mine"' } } as const;
      expect(await mine.settleIn(tx, completion)).toBe("settled");
      // The very same again: the first one has not been heard of, but it is there.
      expect(await mine.settleIn(tx, completion)).toBe("stale");
      alive += 10_000;
      await other.beat({ ...base, id: `other, ${how}` });
      const rescue = { processId: `other, ${how}`, token: `other.${how}`, limit: 10 };
      // The neighbour is free to go.
      const rescued = await other.rescue(rescue);
      expect(rescued.map((job) => String(job.id))).toEqual([neighbour.id]);
      await end[how]();
      const later = await other.rescue(rescue);
      expect(later.map((job) => String(job.id))).toEqual(how === "commit" ? [] : [id]);
      expect(await mine.settle([completion])).toEqual([how === "commit" ? "settled" : "stale"]);
      const leases = [...rescued, ...later].map((job) => ({
        lease: { id: job.id, generation: job.generation, token: job.token },
        outcome: { state: "completed", result: '"other"' } as const,
        startedAt: alive,
      }));
      expect(await other.settle(leases)).toEqual(leases.map(() => "settled"));
      expect(await jobs.get(id)).toMatchObject({
        state: "completed",
        result: how === "commit" ? "mine" : "other",
      });
    }
    await mine.close();
    await other.close();
  });

  test("a repeated transaction whose first commit was not heard of changes nothing", async () => {
    const jobs = await jobsIn();
    const doubtful = defineJob({
      name: "doubtful",
      payload: json<string>(),
      run: async (what, ctx) => {
        for (let tries = 1; ; tries += 1) {
          const { tx, commit, rollback } = await begin();
          try {
            await tx.query(addEffect, [what]);
            const done = await ctx.completeIn(tx, tries);
            await commit();
            if (tries === 1) throw new Error("the connection was lost, who knows when");
            return done;
          } catch (error) {
            if (error instanceof LeaseLostError) {
              await rollback();
              throw error;
            }
          }
        }
      },
    });
    const handle = await jobs.enqueue(doubtful, "once");
    await runUntilIdle(jobs.worker([doubtful]));
    expect(await handle.result({ timeout: "1m" })).toBe(1);
    expect(await effects()).toEqual(["once"]);
  });

  test("keeps a fleeting job for those who wait for its result, and tells them with the commit", async () => {
    const schema = schemaOfTest();
    const jobs = await jobsIn(schema);
    const job = booking();
    const handle = await jobs.enqueue(job, "awaited", { retention: { completed: 0 } });
    const result = handle.result({ timeout: "1m" });
    await until(async () => (await pool.query(`select job from ${schema}.awaited`)).rows.length === 1);
    // Another process runs it, so that the word has to come from the database.
    const others = await jobsIn(schema);
    await others.worker([job]).start();
    expect(await result).toBe("awaited");
    expect(await effects()).toEqual(["awaited"]);
  });

  test.each(["read committed", "serializable"])(
    "exactly one effect each, beside conflicts: %s",
    async (isolation) => {
      const jobs = await jobsIn();
      await pool.query(
        "drop table if exists account; create table account (id int primary key, cents int not null)",
      );
      await pool.query("insert into account select n, 0 from generate_series(0, 4) n");
      const transfer = defineJob({
        name: "transfer",
        payload: json<number>(),
        backoff: fixed(0),
        maxRetries: Number.POSITIVE_INFINITY,
        run: async (n, ctx) => {
          const { tx, commit, rollback } = await begin(isolation);
          try {
            await tx.query("update account set cents = cents + 1 where id = $1", [n % 5]);
            await tx.query(addEffect, [String(n)]);
            const done = await ctx.completeIn(tx, n);
            if (n % 7 === ctx.job.attempt) throw new Error("at the last moment");
            await commit();
            return done;
          } catch (error) {
            await rollback();
            throw error;
          }
        },
      });
      const n = 250;
      await jobs.enqueueMany(
        transfer,
        Array.from({ length: n }, (_, i) => i),
      );
      const workers = [
        jobs.worker([transfer], { concurrency: 8 }),
        jobs.worker([transfer], { concurrency: 8 }),
      ];
      for (const worker of workers) await worker.start();
      await until(async () => (await jobs.count({ state: "completed" })).n === n);
      expect((await effects()).length).toBe(n);
      expect(new Set(await effects()).size).toBe(n);
      const { rows } = await pool.query<{ sum: string }>("select sum(cents) from account");
      expect(rows).toEqual([{ sum: String(n) }]);
    },
  );
});

test("nothing of all this has run into a deadlock", async () => {
  // Sessions tell their statistics when they are idle for a while, or over.
  await pool.query("select pg_sleep(1.1)");
  const { rows } = await pool.query<{ deadlocks: string }>(
    "select deadlocks from pg_stat_database where datname = current_database()",
  );
  expect(rows).toEqual([{ deadlocks: "0" }]);
});

/** Statements of this database that wait for a lock. */
async function waiting(): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(
    "select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  return rows[0]?.n ?? 0;
}
