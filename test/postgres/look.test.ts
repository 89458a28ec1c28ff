import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InvalidOptionError } from "../../src/errors.ts";
import { JOB_STATES, type JobId, type JobState } from "../../src/job/job.ts";
import { limits } from "../../src/job/limits.ts";
import type { Row, Statement } from "../../src/storage/postgres/database.ts";
import { attempts, count, get, lanes, list, processes } from "../../src/storage/postgres/look.ts";
import { MIGRATIONS } from "../../src/storage/postgres/migrations.ts";
import { RAW, type Value } from "../../src/storage/postgres/pg.ts";
import { type Store, statements } from "../../src/storage/postgres/store.ts";
import type { ListQuery, StoredJob } from "../../src/storage/storage.ts";
import { postgres } from "../support/postgres/server.ts";
import { randomFrom, seed, size } from "../support/size.ts";
import { makeWorld, type Placed, PROCESSES, TAGS, type World } from "./look-world.ts";

// Goal: what is stored is shown as it is, at a cost that depends on what is asked for alone.
// Method: rows as the engine leaves them, made from a model that knows what must be seen; and reads counted by the
// server beside few and beside many jobs, with plans from when the tables were empty.

/** A schema of its own, reached over one connection. */
class Place {
  readonly client: Client;
  readonly schema: string;
  readonly store: Store;
  /** Characters in the answers since last set to 0. */
  received = 0;
  alive: number | null = null;

  private constructor(client: Client, name: string) {
    this.client = client;
    this.schema = `"${name}"`;
    const statement = statements(this.schema);
    const store: Pick<Store, "schema" | "label" | "now" | "alive" | "statement"> = {
      ...{ schema: this.schema, label: "test", now: () => null, alive: () => this.alive },
      statement,
    };
    const query = (one: Statement, values: readonly Value[]): Promise<Row[]> => this.#query(one, values);
    this.store = { ...store, database: { query } } as unknown as Store;
  }

  static async make(): Promise<Place> {
    const place = await Place.at((await postgres()).freshSchema());
    const { client } = place;
    await client.query(`create schema ${place.schema}`);
    for (const { sql } of MIGRATIONS) await client.query(sql(place.schema));
    return place;
  }

  /** Another connection to the same schema. */
  another(): Promise<Place> {
    return Place.at(this.schema.replaceAll('"', ""));
  }

  private static async at(schema: string): Promise<Place> {
    const client = new Client({ connectionString: (await postgres()).url });
    await client.connect();
    return new Place(client, schema);
  }

  async #query({ name, text }: Statement, values: readonly Value[]): Promise<Row[]> {
    const query = { name, text, values: [...values], rowMode: "array" as const, types: RAW };
    const { rows } = (await this.client.query(query)) as unknown as { rows: Row[] };
    for (const row of rows) for (const value of row) this.received += value?.length ?? 0;
    return rows;
  }

  async fill(rows: World["rows"]): Promise<void> {
    for (const [table, some] of Object.entries(rows)) {
      const overriding = table === "lane" ? "overriding system value" : "";
      await this.client.query(
        `insert into ${this.schema}.${table} ${overriding}
         select * from json_populate_recordset(null::${this.schema}.${table}, $1::text::json)`,
        [JSON.stringify(some)],
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.query(`drop schema ${this.schema} cascade`).finally(() => this.client.end());
  }
}

/** All pages of a listing. */
async function listAll(store: Store, query: ListQuery): Promise<StoredJob[]> {
  const jobs: StoredJob[] = [];
  for (let after: string | undefined; ;) {
    const page = await list(store, after === undefined ? query : { ...query, after });
    expect(page.jobs.length).toBeLessThanOrEqual(query.limit);
    jobs.push(...page.jobs);
    if (page.next === undefined) return jobs;
    after = page.next;
  }
}

function inOrder(state: JobState, jobs: readonly Placed[]): StoredJob[] {
  const mine = jobs.filter(({ job }) => job.state === state);
  if (state === "scheduled") mine.sort((a, b) => a.job.runAt - b.job.runAt || a.job.id - b.job.id);
  else if (state === "available" || state === "running") mine.sort((a, b) => a.place - b.place);
  else mine.sort((a, b) => b.place - a.place);
  return mine.map(({ job }) => job);
}

describe("a world of jobs in every situation", () => {
  const random = randomFrom(seed("looking"));
  const world = makeWorld(size(400, 4_000), random);
  let place: Place;
  beforeAll(async () => {
    place = await Place.make();
    await place.fill(world.rows);
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it("has jobs of every state", () => {
    for (const state of JOB_STATES) {
      expect(world.jobs.filter(({ job }) => job.state === state).length > 5).toBe(state !== "blocked");
    }
  });

  it("shows each job as it is", async () => {
    const ids = world.jobs.flatMap(({ job }) => [job.id, job.id + 1]);
    const found = await get(place.store, ids);
    expect(found).toEqual(world.jobs.flatMap(({ job }) => [job, undefined]));
  });

  it("finds no job by a number that is no id", async () => {
    const [first] = world.jobs as [Placed];
    const ids: JobId[] = [
      -1,
      0,
      1.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      2 ** 53,
      first.job.id,
      first.job.id,
    ];
    expect(await get(place.store, ids)).toEqual([...Array.from({ length: 6 }), first.job, first.job]);
    expect(await get(place.store, [])).toEqual([]);
    for (const id of ids.slice(0, 6)) expect(await attempts(place.store, id)).toEqual([]);
  });

  it.each(JOB_STATES)("lists those that are %s, in order, over pages of any size", async (state) => {
    const expected = inOrder(state, world.jobs);
    for (const limit of [1, 7, expected.length, 1_000]) {
      if (limit < 1) continue;
      expect(await listAll(place.store, { state, limit: Math.min(limit, 1_000) })).toEqual(expected);
    }
  });

  it.each(JOB_STATES)("filters those that are %s by queue, name and tag", async (state) => {
    const expected = inOrder(state, world.jobs);
    const [{ queue, name }] = world.lanes as [World["lanes"][number]];
    for (const limit of [2, 100]) {
      const listed = (more: Partial<ListQuery>): Promise<StoredJob[]> =>
        listAll(place.store, { state, limit, ...more });
      expect(await listed({ queue })).toEqual(expected.filter((job) => job.queue === queue));
      expect(await listed({ name })).toEqual(expected.filter((job) => job.name === name));
      expect(await listed({ queue, name })).toEqual(
        expected.filter((job) => job.queue === queue && job.name === name),
      );
      for (const tag of [...TAGS, "none", "a", "plai", '"plain"', ""]) {
        expect(await listed({ tag }), JSON.stringify(tag)).toEqual(
          expected.filter(({ tags }) => tags.includes(tag)),
        );
      }
    }
  });

  it("finds nothing by a name that no lane can have", async () => {
    for (const name of ["", "\u0000", "a\u0000", "\udfff", "\u0001", "none", "' or true --"]) {
      for (const state of JOB_STATES) {
        expect(await list(place.store, { state, limit: 10, name })).toEqual({ jobs: [] });
        expect(await list(place.store, { state, limit: 10, queue: name })).toEqual({ jobs: [] });
      }
      expect(await count(place.store, { name })).toEqual({ n: 0, exact: true });
      expect(await count(place.store, { queue: name })).toEqual({ n: 0, exact: true });
    }
  });

  it("refuses cursors that it has not given, and those of another state", async () => {
    const { next } = await list(place.store, { state: "scheduled", limit: 1 });
    expect(next).toMatch(/^scheduled~/);
    const wrong = [
      "",
      "~",
      "available~x~1",
      "available~1~",
      "available~1e999~1",
      "available~0~9999999999999999",
      next,
    ];
    for (const after of wrong) {
      await expect(list(place.store, { state: "available", limit: 1, after: after ?? "" })).rejects.toThrow(
        InvalidOptionError,
      );
    }
  });

  it("counts by state, queue and name", async () => {
    const all = world.jobs.map(({ job }) => job);
    const number = (matches: (job: StoredJob) => boolean): unknown => ({
      n: all.filter(matches).length,
      exact: true,
    });
    expect(await count(place.store, {})).toEqual(number(() => true));
    for (const state of JOB_STATES) {
      expect(await count(place.store, { state })).toEqual(number((job) => job.state === state));
      for (const { queue, name } of world.lanes) {
        expect(await count(place.store, { state, queue, name })).toEqual(
          number((job) => job.state === state && job.queue === queue && job.name === name),
        );
      }
    }
    expect(await count(place.store, { queue: "q" })).toEqual(number(({ queue }) => queue === "q"));
    expect(await count(place.store, { name: "a" })).toEqual(number(({ name }) => name === "a"));
  });

  it("tells every lane with its counts, in the order of code units", async () => {
    const found = await lanes(place.store);
    expect(found.pausedQueues).toEqual(world.pausedQueues);
    const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
    const expected = world.lanes.toSorted((a, b) => byText(a.queue, b.queue) || byText(a.name, b.name));
    expect(found.lanes.map(({ queue, name, paused }) => ({ queue, name, paused }))).toEqual(
      expected.map(({ queue, name, paused }) => ({ queue, name, paused })),
    );
    for (const lane of found.lanes) {
      const mine = world.jobs.filter(({ job }) => job.queue === lane.queue && job.name === lane.name);
      expect(lane.counts).toEqual(
        Object.fromEntries(
          JOB_STATES.map((one) => [one, mine.filter(({ job }) => job.state === one).length]),
        ),
      );
    }
    // One of its own accord, in a queue that is not.
    expect(found.lanes.some(({ queue, paused }) => paused && !world.pausedQueues.includes(queue))).toBe(true);
  });

  it("tells the failed attempts, of finished jobs too", async () => {
    for (const { job } of world.jobs.slice(0, 200)) {
      expect(await attempts(place.store, job.id)).toEqual(world.attempts.get(job.id) ?? []);
    }
  });

  it("tells the processes, whom of them it takes for lost, and what they really run", async () => {
    place.alive = 6_501;
    const found = await processes(place.store);
    expect(found).toEqual(
      PROCESSES.map((id, index) => ({
        ...{ id, host: "höst", pid: 40 + index, lostAfterMs: 1_500, registeredAt: 100 - index },
        ...(index === 0 ? { name: "first" } : {}),
        queues: [{ queue: "q", names: ["a"], concurrency: index + 1 }],
        silentMs: [1_501, 501, 0, 0][index],
        // The first is silent for a millisecond too long, the last has said goodbye.
        ...{ lost: index === 0 || id === "idle", running: world.running.get(id) },
      })).toReversed(),
    );
    place.alive = 6_500;
    expect((await processes(place.store)).map(({ id, lost }) => [id, lost])).toContainEqual(["p0", false]);
    place.alive = null;
    const now = await processes(place.store);
    expect(now.every(({ lost, silentMs }) => lost && silentMs > 1_600_000_000_000)).toBe(true);
  });
});

describe("jobs that move while they are looked at", () => {
  it("are somewhere, and held by somebody while they run", async () => {
    await using place = await Place.make();
    await place.client.query(
      `insert into ${place.schema}.lane (queue, name) values ('q', 'a');
       insert into ${place.schema}.policy values (1, '{}');
       insert into ${place.schema}.job (id, created_at, run_at, policy, lane, priority, payload)
         values (1, 1, 1, 1, 1, 0, '1');
       insert into ${place.schema}.ready (seq, id, lane, generation, priority) values (1, 1, 1, 0, 0)`,
    );
    const mover = await place.another();
    const s = place.schema;
    // Claimed, completed, tried again: each by one transaction, as the engine does.
    const steps = [
      `with gone as (delete from ${s}.ready)
       insert into ${s}.lease (claimed_at, lo, hi, part, token, process_id, claimed_by, origin, ids)
       values (1, 1, 1, 0, 't', 'p', 'p', 't', '{1}')`,
      `with gone as (delete from ${s}.job), free as (delete from ${s}.lease)
       insert into ${s}.finished (id, end_no, ended_at, created_at, run_at, policy, bucket, lane, generation, attempt,
         failures, snoozes, releases, priority, state, marked, payload)
       values (1, 1, 1, 1, 1, 1, 'infinity', 1, 0, 1, 0, 0, 0, 0, 7, false, '1')`,
      `with gone as (delete from ${s}.finished), again as (
         insert into ${s}.job (id, created_at, run_at, policy, lane, priority, payload) values (1, 1, 1, 1, 1, 0, '1'))
       insert into ${s}.ready (seq, id, lane, generation, priority) values (1, 1, 1, 0, 0)`,
    ];
    const looking = new AbortController();
    let moves = 0;
    const moving = (async () => {
      for (; !looking.signal.aborted; moves += 1) await mover.client.query(steps[moves % 3] as string);
    })();
    const seen = new Set<string>();
    for (let round = 0; round < size(500, 10_000); round += 1) {
      const [job] = await get(place.store, [1]);
      seen.add(`${job?.state} ${job?.processId}`);
      for (const state of ["available", "running", "completed"] as const) {
        for (const one of (await list(place.store, { state, limit: 2 })).jobs) {
          seen.add(`${one.state} ${one.processId}`);
        }
      }
    }
    looking.abort();
    await moving;
    await mover.client.end();
    expect(moves).toBeGreaterThan(100);
    expect([...seen].toSorted()).toEqual(["available undefined", "completed undefined", "running p"]);
  });
});

describe("pages of large jobs", () => {
  it("end when they hold enough text, and no more than that leaves the database", async () => {
    await using place = await Place.make();
    const large = "x".repeat(limits.payloadBytes - 2);
    await place.client.query(
      `insert into ${place.schema}.lane (queue, name) values ('q', 'a'), ('q', 'b');
       insert into ${place.schema}.policy values (1, '{}')`,
    );
    await place.client.query(
      `insert into ${place.schema}.job (id, created_at, run_at, policy, lane, priority, tags, payload, result)
       select n, 1, 1, 1, 1 + n % 2, 0, '["t"]', '"' || $1::text || '"', case when n % 4 = 0 then payload end
       from generate_series(1, 40) as n, (select '"' || $1::text || '"' as payload) as large`,
      [large],
    );
    await place.client.query(
      `insert into ${place.schema}.ready (seq, id, lane, generation, priority)
       select id, id, lane, 0, 0 from ${place.schema}.job`,
    );
    for (const filter of [{}, { name: "b" }, { tag: "t" }, { tag: "none" }]) {
      const seen: JobId[] = [];
      for (let after: string | undefined; ;) {
        place.received = 0;
        const page = await list(place.store, {
          ...{ state: "available", limit: 1_000, ...filter },
          ...(after === undefined ? {} : { after }),
        });
        expect(place.received).toBeLessThan(limits.listText + 2 * limits.payloadBytes + 100_000);
        const text = page.jobs.reduce((sum, job) => sum + job.payload.length + (job.result?.length ?? 0), 0);
        seen.push(...page.jobs.map(({ id }) => id));
        if (page.next === undefined) break;
        expect(text).toBeGreaterThanOrEqual(limits.listText);
        after = page.next;
      }
      const expected = Array.from({ length: 40 }, (_, index) => index + 1);
      expect(seen).toEqual(
        "name" in filter
          ? expected.filter((id) => id % 2 === 1)
          : "tag" in filter && filter.tag === "none"
            ? []
            : expected,
      );
    }
  });
});

describe("what looking costs", () => {
  /** More than a filtered page looks at, in each of the four queues. */
  const FEW = 5_000;
  const MANY = size(20_000, 200_000);
  const LANES = 40;
  /** Jobs of each state. Lanes, priorities and holders are as many whatever the number of jobs. */
  const fill = async (place: Place, from: number, to: number): Promise<void> => {
    const s = place.schema;
    const jobs = (state: number): string =>
      `select n * 6 + ${state} as id, 1 + n % ${LANES} as lane, n % 3 as priority, '{"n":' || n || '}' as payload,
        n % 977 as run_at from generate_series(${from}, ${to} - 1) as n`;
    await place.client.query(`
      insert into ${s}.job (id, created_at, run_at, policy, lane, priority, payload)
        select id, 1, run_at, 1, lane, priority, payload from (${jobs(0)} union all ${jobs(1)} union all ${jobs(2)}) as j;
      insert into ${s}.ready (seq, id, lane, generation, priority) select id, id, lane, 0, priority from (${jobs(0)}) as j;
      insert into ${s}.scheduled (run_at, id, lane, generation, priority)
        select run_at, id, lane, 0, priority from (${jobs(1)}) as j;
      insert into ${s}.lease (claimed_at, lo, hi, part, token, process_id, claimed_by, origin, ids)
        select 1, min(id), max(id), 0, 't' || id / 3000, 'p', 'p', 't' || id / 3000, array_agg(id order by id)
        from (${jobs(2)}) as j group by id / 3000;
      insert into ${s}.finished (id, end_no, ended_at, created_at, run_at, policy, bucket, lane, generation, attempt,
          failures, snoozes, releases, priority, state, marked, payload)
        select id, id, 1, 1, 1, 1, date '2030-01-01' + (id % 20)::integer, lane, 0, 1, 0, 0, 0, priority, 5 + id % 6 % 3,
          false, payload
        from (${jobs(3)} union all ${jobs(4)} union all ${jobs(5)}) as j;
      insert into ${s}.tally (lane, n, src, dst)
        select lane, ${(to - from) / LANES}, 0, state from generate_series(1, ${LANES}) as lane,
          unnest('{1,2,4,5,6,7}'::integer[]) as state`);
  };

  /** Tuples and blocks that the server touched in the schema, for one call in the transaction that is open. */
  const touched = async (place: Place, call: () => Promise<unknown>): Promise<number> => {
    const read = async (): Promise<number> => {
      const { rows } = await place.client.query<{ n: string }>(
        `select sum(pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid)
           + pg_stat_get_xact_blocks_fetched(c.oid)) as n
         from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where quote_ident(n.nspname) = $1`,
        [place.schema.replaceAll('"', "")],
      );
      return Number(rows[0]?.n);
    };
    const before = await read();
    await call();
    return (await read()) - before;
  };

  const STATES = ["available", "scheduled", "running", "completed", "cancelled", "dead"] as const;

  /** Every kind of look, and what it touches. */
  const costs = async (place: Place): Promise<Record<string, number>> => {
    const { client, store } = place;
    const found: Record<string, number> = {};
    await client.query("begin");
    const measure = async (what: string, call: () => Promise<unknown>): Promise<void> => {
      found[what] = await touched(place, call);
    };
    for (const state of STATES) {
      let page: { jobs: StoredJob[]; next?: string } = { jobs: [] };
      await measure(`page of ${state}`, async () => (page = await list(store, { state, limit: 50 })));
      const { next } = page;
      if (next !== undefined)
        await measure(`next page of ${state}`, () => list(store, { state, limit: 50, after: next }));
      await measure(`page of ${state} in one queue`, () => list(store, { state, limit: 50, queue: "q1" }));
      await measure(`page of ${state} by tag`, () => list(store, { state, limit: 50, tag: "none" }));
      await measure(`get of ${state}`, () =>
        get(
          store,
          page.jobs.map(({ id }) => id),
        ),
      );
      await measure(`count of ${state}`, () => count(store, { state, name: "n3" }));
    }
    await measure("get of what is not there", () => get(store, [1_000_000_001]));
    await measure("attempts", () => attempts(store, 1_000_000_001));
    await measure("count", () => count(store, {}));
    await measure("lanes", () => lanes(store));
    await client.query("commit");
    return found;
  };

  /** Plans are kept from a time when there was nothing, a little or all, and the statistics are of that time. */
  it.each([0, FEW, MANY])(
    "does not grow with the number of jobs, by plans from when there were %i",
    async (known) => {
      await using place = await Place.make();
      const s = place.schema;
      for (let day = 0; day < 20; day += 1) {
        await place.client.query(
          `create table ${s}.finished_${day} partition of ${s}.finished
         for values from (date '2030-01-01' + ${day}) to (date '2030-01-01' + ${day + 1})`,
        );
      }
      const { rows: names } = await place.client.query<{ name: string }>(
        `select quote_ident(relname) as name from pg_class where relnamespace = $1::regnamespace and relkind = 'r'`,
        [s],
      );
      for (const { name } of names) {
        await place.client.query(`alter table ${s}.${name} set (autovacuum_enabled = false)`);
      }
      const plan = async (): Promise<void> => {
        for (const { name } of names) await place.client.query(`vacuum analyze ${s}.${name}`);
        // Often enough for every plan that can be kept to be kept.
        for (let run = 0; run < 7; run += 1) await costs(place);
      };
      if (known === 0) await plan();
      await place.client.query(`
      insert into ${s}.lane (queue, name) select 'q' || n % 4, 'n' || n from generate_series(1, ${LANES}) as n;
      insert into ${s}.policy values (1, '{}'); insert into ${s}.process values (1, 1, 1, 1, false, 'p', null, 'h', '[]')`);
      await fill(place, 0, FEW);
      if (known === FEW) await plan();
      const few = await costs(place);
      await fill(place, FEW, MANY);
      if (known === MANY) await plan();
      const many = await costs(place);
      expect(await count(place.store, {})).toEqual({ n: 6 * MANY, exact: true });
      expect(Object.keys(many).length).toBeGreaterThan(35);
      const leases = Math.ceil(MANY / 500);
      const grown = Object.keys(many).filter((what) => {
        // The ids in all leases are sorted to list what runs: that is one row for 500 jobs in flight.
        const more = /page of running/.test(what) ? 4 * leases : 0;
        return (many[what] as number) > 2 * (few[what] as number) + 20 + more;
      });
      expect(grown.map((what) => `${what}: ${few[what]} → ${many[what]}`)).toEqual([]);
      // What is read beside few is little too.
      expect(Math.max(...Object.values(many)), JSON.stringify(many)).toBeLessThan(25_000 + 4 * leases);
      const most = Object.entries(many).reduce((a, b) => (a[1] > b[1] ? a : b));
      console.log(
        `figure: looking beside ${MANY} jobs of each state, planned beside ${known}, touches at most ${most[1]} ` +
          `rows and blocks (${most[0]})`,
      );
    },
  );

  it("is bounded for a page of ready jobs however many lines they stand in", async () => {
    await using place = await Place.make();
    const s = place.schema;
    // One line has all the first jobs, the others only later ones: reading a page from each would be 200 pages.
    await place.client.query(
      `insert into ${s}.lane (queue, name) select 'q', 'n' || n from generate_series(1, 200) as n;
       insert into ${s}.policy values (1, '{}');
       insert into ${s}.job (id, created_at, run_at, policy, lane, priority, payload)
         select n, 1, 1, 1, case when n <= 2000 then 1 else 1 + n % 200 end, 0, '{}' from generate_series(1, 22000) as n;
       insert into ${s}.ready (seq, id, lane, generation, priority)
         select id, id, lane, 0, 0 from ${s}.job;
       analyze ${s}.job; analyze ${s}.ready`,
    );
    await place.client.query("begin");
    let page: { jobs: StoredJob[]; next?: string } = { jobs: [] };
    const cost = await touched(
      place,
      async () => (page = await list(place.store, { state: "available", limit: 1_000 })),
    );
    await place.client.query("commit");
    expect(page.jobs.map(({ id }) => id)).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1));
    // Each job has its row, its lane's and its policy's to be looked up, in an index and in the table.
    expect(cost).toBeLessThan(40_000);
    const { jobs } = await list(place.store, { state: "available", limit: 1_000, after: "available~0~1900" });
    expect(jobs.map(({ id }) => id)).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1_901));
  });
});
