// oxlint-disable vitest/no-conditional-expect -- what must hold depends on how a race or a transaction ended
// Goal: unique and limit keys where only a database with transactions of others can get them wrong: a transaction
// of the user is open, callers on several connections want the same keys at once, a claim races with an enqueue.
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { LimitKey, UniqueKey } from "../../src/job/key.ts";
import type { Outcome } from "../../src/job/lifecycle.ts";
import { silentLogger } from "../../src/logger.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import type { ClaimedJob, GroupResult, NewJob, Settlement } from "../../src/storage/storage.ts";
import type { Completion } from "../../src/storage/transactional.ts";
import { postgres } from "../support/postgres/server.ts";
import { randomFrom, seed, size } from "../support/size.ts";
import { expectWhole, type Place } from "./upkeep-stage.ts";

let url: string;
let pool: pg.Pool;
let schema: string;
let storage: PostgresStorage;
let tokens = 0;
const open: PostgresStorage[] = [];

// A database of its own: its count of deadlocks is ours.
beforeAll(async () => {
  url = await (await postgres()).createDatabase();
  pool = new pg.Pool({ connectionString: url, max: 12 });
});
afterAll(() => pool.end());

beforeEach(async () => {
  schema = (await postgres()).freshSchema();
  storage = await another();
  await storage.beat({
    ...{ id: "p", host: "h", pid: 1, lostAfterMs: 600_000, first: true, holds: [], starts: [] },
    queues: [{ queue: "q", names: ["n"], concurrency: 100 }],
  });
  return async () => {
    // oxlint-disable-next-line vitest/no-standalone-expect -- it holds for every test
    expect(await deadlocks()).toBe(0);
    await Promise.all(open.splice(0).map((one) => one.close()));
  };
});

async function another(): Promise<PostgresStorage> {
  const made = new PostgresStorage({ url, schema, logger: silentLogger });
  open.push(made);
  await made.open();
  return made;
}

async function deadlocks(): Promise<number> {
  const { rows } = await pool.query<{ n: string }>(
    "select deadlocks::text as n from pg_stat_database where datname = current_database()",
  );
  return Number(rows[0]?.n);
}

/** Each job is in one place, with one slot if it runs under a limit key, and the counts say the same. */
async function expectOrder(): Promise<void> {
  const types = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig;
  const sql: Place["sql"] = async (text) =>
    (await pool.query<string[]>({ text: text.replaceAll("$s", schema), rowMode: "array", types })).rows;
  await expectWhole({ sql } as Place);
}

const job = (more: Partial<NewJob> = {}): NewJob => ({
  ...{ name: "n", queue: "q", payload: "1", maxRetries: null, timeoutMs: null, tags: [], priority: 0 },
  backoff: { kind: "fixed", delayMs: 0 } as unknown as NewJob["backoff"],
  retention: { completedMs: 60_000, cancelledMs: 60_000, deadMs: 60_000 },
  ...more,
});

const unique = (key: string, more: Partial<UniqueKey> = {}): { readonly unique: UniqueKey } => ({
  unique: { scope: "s", key, while: "live", onConflict: "keep", ...more },
});
const limit = (key: string, concurrency = 1): { readonly limit: LimitKey } => ({
  limit: { scope: "s", key, concurrency },
});

async function claim(room = 100, on: PostgresStorage = storage): Promise<ClaimedJob[]> {
  const { jobs } = await on.claim({
    ...{ processId: "p", token: `p:${++tokens}`, starts: [] },
    queues: [{ queue: "q", names: ["n", "m"], room, readAhead: 0 }],
  });
  return [...jobs];
}

async function claimOne(): Promise<ClaimedJob> {
  const [claimed] = await claim(1);
  return claimed as ClaimedJob;
}

const COMPLETED: Outcome = { state: "completed" };
function end<T extends Outcome>(
  { id, generation, token }: ClaimedJob,
  outcome: T,
): Settlement & { readonly outcome: T } {
  return { lease: { id, generation, token }, outcome, startedAt: 1 };
}
const completion = (of: ClaimedJob): Completion => end(of, { state: "completed" } as const);

async function transaction(): Promise<{ tx: pg.PoolClient; end(how: "commit" | "rollback"): Promise<void> }> {
  const tx = await pool.connect();
  await tx.query("begin");
  return {
    tx,
    end: async (how) => {
      await tx.query(how);
      tx.release();
    },
  };
}

function only(result: GroupResult | undefined): { readonly status: string; readonly id: number } {
  if (result?.ok !== true || result.jobs.length !== 1) throw new Error(JSON.stringify(result));
  return result.jobs[0] as { status: string; id: number };
}

async function enqueue(
  more: Partial<NewJob>,
  on: PostgresStorage = storage,
): Promise<{ status: string; id: number }> {
  return only((await on.enqueue([[job(more)]]))[0]);
}

/** Until a statement of this database waits for a lock. */
async function untilSomebodyWaits(): Promise<void> {
  for (;;) {
    const { rows } = await pool.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    if (rows.length > 0) return;
  }
}

describe("a unique key that an open transaction has taken", () => {
  it.each(["commit", "rollback"] as const)("lets others wait for its %s, and no other keys", async (how) => {
    const { tx, end: over } = await transaction();
    const first = only(await storage.enqueueIn(tx, [job(unique("k"))]));
    expect(first.status).toBe("created");
    expect((await enqueue(unique("other"))).status).toBe("created");
    const second = enqueue(unique("k"));
    await untilSomebodyWaits();
    await over(how);
    expect(await second).toMatchObject(
      how === "commit" ? { status: "existing", id: first.id } : { status: "created" },
    );
  });

  it("holds up neither the end of the job before, nor who finds the key held", async () => {
    const waiting = unique("k", { while: "waiting" });
    const before = await enqueue(waiting);
    const running = await claimOne();
    const { tx, end: over } = await transaction();
    const next = only(await storage.enqueueIn(tx, [job(waiting)]));
    expect(next.status).toBe("created");
    expect(await storage.settle([completion(running)])).toEqual(["settled"]);
    await over("commit");
    expect(await enqueue(waiting)).toEqual({ status: "existing", id: next.id });
    expect(before.id).not.toBe(next.id);

    const live = await enqueue(unique("live"));
    const held = await transaction();
    expect(only(await storage.enqueueIn(held.tx, [job(unique("live"))]))).toEqual({
      status: "existing",
      id: live.id,
    });
    expect(await enqueue(unique("live"))).toEqual({ status: "existing", id: live.id });
    const jobs = await claim();
    expect(await storage.settle(jobs.map(completion))).toEqual(jobs.map(() => "settled"));
    await held.end("commit");
    expect((await enqueue(unique("live"))).status).toBe("created");
  });

  it("is taken by the next while the job before ends in an open transaction", async () => {
    for (const [key, next] of [
      ["waiting", "created"],
      ["live", "existing"],
    ] as const) {
      const { id } = await enqueue(unique(key, { while: key }));
      const { tx, end: over } = await transaction();
      expect(await storage.settleIn(tx, completion(await claimOne()))).toBe("settled");
      const answer = await enqueue(unique(key, { while: key }));
      expect([answer.status, answer.id === id]).toEqual([next, next === "existing"]);
      await over("commit");
      await storage.settle((await claim()).map(completion));
      expect((await enqueue(unique(key))).status).toBe("created");
      await storage.settle((await claim()).map(completion));
    }
    await storage.prune(1);
    expect((await pool.query(`select from ${schema}.unique_key`)).rowCount).toBe(0);
  });

  it("is not taken by a group that is refused, and the transaction goes on", async () => {
    const { id } = await enqueue(unique("k"));
    const { tx, end: over } = await transaction();
    const group = [job(unique("new")), job(unique("k", { onConflict: "error" }))];
    expect(await storage.enqueueIn(tx, group)).toEqual({
      ok: false,
      refusal: { kind: "key-held", existing: id },
      index: 1,
    });
    expect(only(await storage.enqueueIn(tx, [job()])).status).toBe("created");
    await over("commit");
    expect((await enqueue(unique("new"))).status).toBe("created");
    expect((await storage.count({})).n).toBe(3);
  });

  it("replaces a job that waits exactly when the transaction commits", async () => {
    const words = unique("k", { onConflict: "replace" });
    const { id } = await enqueue({ ...words, ...limit("l") });
    for (const how of ["rollback", "commit"] as const) {
      const { tx, end: over } = await transaction();
      const group = [
        job({ ...words, ...limit("l"), payload: "2" }),
        job({ ...words, payload: '"ü\\u0000"' }),
      ];
      expect(await storage.enqueueIn(tx, group)).toEqual({
        ok: true,
        jobs: [
          { status: "replaced", id },
          { status: "replaced", id },
        ],
      });
      expect(await storage.promote(9)).toMatchObject({ promoted: 0 });
      await over(how);
      const [stored] = await storage.get([id]);
      expect([stored?.payload, stored?.limit?.key]).toEqual(
        how === "commit" ? ['"ü\\u0000"', undefined] : ["1", "l"],
      );
    }
    expect(await claim()).toMatchObject([{ id, payload: '"ü\\u0000"' }]);
  });
});

describe("a claim and an enqueue of a key that is held while its job waits", () => {
  const waiting = unique("k", { while: "waiting" });

  it.each([
    ["in line", {}],
    ["scheduled", { later: { delayMs: 0 }, ...limit("l") }],
  ])("claims the job that is %s after the transaction that relies on it", async (_where, more) => {
    const { id } = await enqueue({ ...waiting, ...more });
    const { tx, end: over } = await transaction();
    expect(only(await storage.enqueueIn(tx, [job(waiting)]))).toEqual({ status: "existing", id });
    await storage.promote(9);
    expect(await claim()).toEqual([]);
    // Who relies on it too need not wait.
    expect(await enqueue(waiting)).toEqual({ status: "existing", id });
    await over("commit");
    await storage.promote(9);
    expect(await claim()).toMatchObject([{ id }]);
    expect((await enqueue(waiting)).status).toBe("created");
  });

  it("answers the holder only if it is claimed later, however they race", async () => {
    const others = await Promise.all([another(), another()]);
    for (let round = 0; round < size(25, 500); round++) {
      const key = unique(`race ${round}`, { while: "waiting" });
      const { id } = await enqueue(key);
      const racing = Promise.all(others.map((one) => enqueue(key, one)));
      const [early] = await claim(1);
      const answers = await racing;
      // Passed by while somebody relied on it.
      const claimed = early ?? (await claimOne());
      expect(claimed.id).toBe(id);
      if (early === undefined) expect(answers).toContainEqual({ status: "existing", id });
      const created = answers.filter(({ status }) => status === "created");
      // At most one made the next job, and whoever came later met that one.
      expect(created.length).toBeLessThan(2);
      for (const one of answers)
        if (one.status === "existing") expect([id, created[0]?.id]).toContain(one.id);
      await storage.settle([completion(claimed), ...(await claim()).map(completion)]);
    }
  });
});

describe("many callers at once", () => {
  it("give each unique key one live job, and never meet in a deadlock or an error", async () => {
    const random = randomFrom(seed("unique keys, callers at once"));
    const stores = [storage, ...(await Promise.all([another(), another(), another()]))];
    const kinds = [{}, { while: "waiting" }, { onConflict: "replace" }, { onConflict: "error" }] as const;
    const enqueued = new AbortController();
    const callers = Array.from({ length: 16 }, async (_, nth) => {
      const on = stores[nth % stores.length] as PostgresStorage;
      for (let call = 0; call < size(12, 240); call++) {
        const group = Array.from({ length: 1 + Math.floor(random() * 4) }, () =>
          job(unique(`k${Math.floor(random() * 8)}`, kinds[Math.floor(random() * kinds.length)])),
        );
        await on.enqueue([group, [job(unique(`k${Math.floor(random() * 8)}`))]]);
      }
    });
    const worker = (async () => {
      while (!enqueued.signal.aborted) {
        const jobs = await claim(3);
        await storage.settle(
          jobs.map((one) => end(one, random() < 0.7 ? COMPLETED : { state: "cancelled", reason: "test" })),
        );
        const { rows } = await pool.query<{ key_id: string }>(
          `select key_id from ${schema}.job where extra::json -> 'unique' ->> 'while' = 'live' group by key_id having count(*) > 1`,
        );
        expect(rows).toEqual([]);
      }
    })();
    await Promise.all(callers);
    enqueued.abort();
    await worker;
    await expectOrder();
    // Every key is free again when its job has ended.
    for (let jobs = await claim(); jobs.length > 0; jobs = await claim())
      await storage.settle(jobs.map(completion));
    expect(await storage.keys({ scope: "s", limit: 100 })).toEqual({ keys: [] });
    await storage.prune(100);
    expect((await pool.query(`select from ${schema}.unique_key`)).rowCount).toBe(0);
  }, 120_000);

  it("never run more jobs of a limit key than it allows, and leave none behind", async () => {
    const random = randomFrom(seed("limit keys, callers at once"));
    const stores = [storage, ...(await Promise.all([another(), another(), another()]))];
    const all = size(400, 8_000);
    const bounds = [1, 2, 3, 5];
    const runs = new Map<string, number>();
    let ended = 0;
    const count = (one: ClaimedJob, by: 1 | -1): void => {
      const { key, concurrency } = one.limit as LimitKey;
      const n = (runs.get(key) ?? 0) + by;
      runs.set(key, n);
      expect(n, key).toBeLessThanOrEqual(concurrency);
    };
    const producer = (async () => {
      for (let stored = 0; stored < all; stored += 20) {
        const jobs = Array.from({ length: 20 }, () => {
          const k = Math.floor(random() * 4);
          // Over two lanes, each of which has its own candidates for the same slots.
          const name = random() < 0.5 ? "n" : "m";
          return job({ ...limit(`k${k}`, bounds[k] as number), name, priority: Math.floor(random() * 2) });
        });
        await storage.enqueue([jobs]);
      }
    })();
    const worker = async (on: PostgresStorage): Promise<void> => {
      while (ended < all) {
        await on.promote(30);
        const jobs = await claim(1 + Math.floor(random() * 6), on);
        for (const one of jobs) count(one, 1);
        for (const one of jobs) {
          const dice = random();
          // Counted before: it leaves its slot somewhere within the call.
          count(one, -1);
          if (dice < 0.3) {
            const { tx, end: over } = await transaction();
            const isDone = random() < 0.5;
            expect(await on.settleIn(tx, completion(one))).toBe("settled");
            await over(isDone ? "commit" : "rollback");
            if (!isDone) await on.settle([end(one, { state: "available", marked: false })]);
            else ended += 1;
          } else if (dice < 0.5) {
            await on.settle([end(one, { state: "scheduled", later: { delayMs: 0 }, attempt: "kept" })]);
          } else {
            await on.settle([completion(one)]);
            ended += 1;
          }
        }
      }
    };
    await Promise.all([producer, ...stores.map(worker)]);
    await expectOrder();
    expect((await storage.count({ state: "completed" })).n).toBe(all);
    for (const table of ["slot", "blocked", "ready", "scheduled"]) {
      expect((await pool.query(`select from ${schema}.${table}`)).rowCount, table).toBe(0);
    }
  }, 120_000);
});

describe("a limit key of which a run ends in an open transaction", () => {
  it.each(["commit", "rollback"] as const)(
    "lets the next in with the %s, and holds up nobody else",
    async (how) => {
      await storage.enqueue([[job(limit("k")), job(limit("k")), job(limit("other"))]]);
      await storage.promote(9);
      const [first, other] = (await claim()) as [ClaimedJob, ClaimedJob];
      expect([first.limit?.key, other.limit?.key]).toEqual(["k", "other"]);
      const { tx, end: over } = await transaction();
      expect(await storage.settleIn(tx, completion(first))).toBe("settled");
      // Others of the key come and wait, others of the lane run.
      await storage.enqueue([[job(limit("k")), job()]]);
      expect(await storage.promote(9)).toMatchObject({ promoted: 1 });
      const free = await claim();
      expect(free.map((one) => one.limit)).toEqual([undefined]);
      expect(await storage.settle([other, ...free].map(completion))).toEqual(["settled", "settled"]);
      expect(await claim()).toEqual([]);
      await over(how);
      const next = await claim();
      if (how === "commit") expect(next).toMatchObject([{ id: first.id + 1 }]);
      else {
        expect(next).toEqual([]);
        expect(await storage.settle([completion(first)])).toEqual(["settled"]);
        expect(await claim()).toMatchObject([{ id: first.id + 1 }]);
      }
    },
  );
});

describe("upkeep of unique keys", () => {
  it("forgets the keys of jobs that went with their day, but not while time holds them", async () => {
    // A day counts from the second look at it.
    await storage.prune(1);
    const ids: number[] = [];
    for (const [key, more] of [
      ["heir", { inherit: true }],
      ["time", { forMs: 3_600_000 }],
      ["ever", { forMs: null }],
      ["past", { forMs: 1, while: null }],
    ] as const) {
      ids.push(
        (
          await enqueue({
            ...unique(key, more),
            retention: { completedMs: 90_000_000, cancelledMs: 1, deadMs: 1 },
          })
        ).id,
      );
    }
    await storage.settle((await claim()).map(completion));
    const { rows } = await pool.query<{ bucket: string }>(
      `select distinct tableoid::regclass::text as bucket from ${schema}.finished`,
    );
    expect(rows).toEqual([{ bucket: expect.stringMatching(/finished_\d{8}/) }]);
    await storage.prune(100);
    const held = async (): Promise<string[]> =>
      (await pool.query<{ key: string }>(`select key from ${schema}.unique_key order by key`)).rows.map(
        ({ key }) => key,
      );
    expect(await held()).toEqual(["ever", "heir", "time"]);
    // As when the day is over: the partition goes with all that it holds.
    await pool.query(`drop table ${rows[0]?.bucket}`);
    expect(await storage.get(ids)).toEqual(ids.map(() => undefined));
    await storage.prune(100);
    expect(await held()).toEqual(["ever", "time"]);
    expect((await storage.keys({ scope: "s", limit: 9 })).keys.map(({ key }) => key).sort()).toEqual([
      "ever",
      "time",
    ]);
  });
});
