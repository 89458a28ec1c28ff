// Goal: a claim gives what it was asked for, in order and never more of it, at a cost that depends on nothing else;
// whatever the statistics, whatever the planner is told, whoever claims at the same time, whatever snapshot is open.
// Method: claims against a model of the order; claimers at once, who count together; and rows counted by the server.
import * as fc from "fast-check";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { JobId } from "../../src/job/job.ts";
import { Claims } from "../../src/storage/postgres/claim.ts";
import type { Row, Statement } from "../../src/storage/postgres/database.ts";
import { enqueue } from "../../src/storage/postgres/enqueue.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import { RAW, type Value } from "../../src/storage/postgres/pg.ts";
import { Policies } from "../../src/storage/postgres/policies.ts";
import { settle } from "../../src/storage/postgres/settle.ts";
import { Leases, type Store, statements } from "../../src/storage/postgres/store.ts";
import { promote } from "../../src/storage/postgres/upkeep.ts";
import type {
  ClaimedJob,
  ClaimRequest,
  NewJob,
  QueueRequest,
  Settlement,
} from "../../src/storage/storage.ts";
import { postgres } from "../support/postgres/server.ts";
import { isLong, randomFrom, seed, size } from "../support/size.ts";
import { until } from "../support/world.ts";

/** What a connection, or the role behind it, may tell the planner. */
const PLANNERS: Record<string, Record<string, string>> = {
  "as it comes": {},
  "without joins by hash and merge, and without scans": {
    enable_hashjoin: "off",
    enable_mergejoin: "off",
    enable_seqscan: "off",
  },
  "to think that scans and large joins cost nothing": {
    seq_page_cost: "0",
    cpu_tuple_cost: "0",
    cpu_operator_cost: "0",
    cpu_index_tuple_cost: "100",
    random_page_cost: "1000",
  },
  "against all that suits us": {
    enable_nestloop: "off",
    enable_indexscan: "off",
    enable_indexonlyscan: "off",
    enable_tidscan: "off",
    enable_sort: "off",
    random_page_cost: "1e6",
    cpu_tuple_cost: "100",
    cpu_index_tuple_cost: "1000",
    cpu_operator_cost: "100",
    effective_cache_size: "8kB",
    plan_cache_mode: "force_custom_plan",
    default_statistics_target: "1",
  },
};

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** The last one first: a database goes when nobody is connected to it any more. */
class CleanUps {
  readonly #all: (() => Promise<unknown>)[] = [];

  add(cleanUp: () => Promise<unknown>): void {
    this.#all.push(cleanUp);
  }

  async run(): Promise<void> {
    for (const cleanUp of this.#all.splice(0).reverse()) await cleanUp();
  }
}

const ofTest = new CleanUps();
const ofDescribe = new CleanUps();
afterEach(() => ofTest.run());

/** A database of one's own, with our tables in it. */
class Place {
  readonly url: string;
  readonly #cleanUps: CleanUps;

  private constructor(url: string, cleanUps: CleanUps) {
    this.url = url;
    this.#cleanUps = cleanUps;
  }

  /** It goes after the test, or with what else is in `cleanUps`. */
  static async make(cleanUps = ofTest): Promise<Place> {
    const { createDatabase, dropDatabase } = await postgres();
    const place = new Place(await createDatabase(), cleanUps);
    cleanUps.add(() => dropDatabase(place.url));
    await place.storage();
    return place;
  }

  async storage(planner: Record<string, string> = {}, connections = 1): Promise<PostgresStorage> {
    const storage = new PostgresStorage({
      url: this.#told(planner),
      ...{ maxConnections: connections, claimConnections: connections, logger: SILENT },
    });
    await storage.open();
    this.#cleanUps.add(() => storage.close());
    return storage;
  }

  async client(planner: Record<string, string> = {}): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.#told(planner) });
    client.on("error", () => undefined);
    await client.connect();
    this.#cleanUps.add(() => client.end());
    return client;
  }

  /** Keep the server from forgetting what is gone from now on. */
  async holdSnapshot(): Promise<() => Promise<void>> {
    const client = await this.client();
    await client.query("begin isolation level repeatable read");
    await client.query("select count(*) from jobwright.lane");
    return () => client.query("commit").then(() => undefined);
  }

  #told(planner: Record<string, string>): string {
    const url = new URL(this.url);
    const options = Object.entries(planner).map(([name, value]) => `-c ${name}=${value}`);
    if (options.length > 0) url.searchParams.set("options", options.join(" "));
    return url.href;
  }
}

function job(name: string, more: Partial<NewJob> = {}): NewJob {
  return {
    ...{ name, queue: "q", priority: 0, payload: "1", maxRetries: 3, timeoutMs: 900_000, tags: [] },
    backoff: { kind: "fixed", delayMs: 1_000 },
    retention: { completedMs: 0, cancelledMs: 0, deadMs: 0 },
    ...more,
  };
}

function namesOf(lanes: number): string[] {
  return Array.from({ length: lanes }, (_, lane) => `n${lane}`);
}

async function fill(storage: PostgresStorage, jobs: number, make: (index: number) => NewJob): Promise<void> {
  for (let start = 0; start < jobs; start += 1_000) {
    const length = Math.min(1_000, jobs - start);
    await storage.enqueue([Array.from({ length }, (_, index) => make(start + index))]);
  }
}

const LONG_MS = 86_400_000;

async function register(storage: Pick<PostgresStorage, "beat">, id: string): Promise<void> {
  const process = { id, host: "test", pid: 1, lostAfterMs: LONG_MS };
  await storage.beat({ ...process, queues: [], holds: [], starts: [], first: true });
}

let tokens = 0;

function request(processId: string, queues: readonly QueueRequest[]): ClaimRequest {
  return { processId, token: `${processId}.${(tokens += 1)}`, queues, starts: [] };
}

function completed(jobs: readonly ClaimedJob[]): Settlement[] {
  return jobs.map(({ id, generation, token }) => ({
    lease: { id, generation, token },
    outcome: { state: "completed" },
    startedAt: 0,
  }));
}

function released(jobs: readonly ClaimedJob[], marked = false): Settlement[] {
  return completed(jobs).map((settlement) => ({ ...settlement, outcome: { state: "available", marked } }));
}

// ── Number ───────────────────────────────────────────────────────────────────

const CLAIMERS = 16;
const LANES = [1, 5, 50] as const;
/** All with all in the long run; in the short one every planner and every number of lanes in turn. */
const NUMBERS = Object.entries(PLANNERS).map(([name, planner], index) => ({
  ...{ name, planner },
  lanesOf: isLong || index === 0 ? LANES : [LANES[index % LANES.length] as number],
}));

describe.each(NUMBERS)("with a planner set $name", ({ planner, lanesOf }) => {
  const tables = ["ready", "job", "lease", "lane", "process", "scheduled"]
    .map((name) => `jobwright.${name}`)
    .join();
  let maker: pg.Client;
  let storages: PostgresStorage[];
  // All tests leave the place empty; connecting so many times takes longer than a test.
  beforeAll(async () => {
    const place = await Place.make(ofDescribe);
    maker = await place.client();
    for (const table of tables.split(",")) {
      await maker.query(`alter table ${table} set (autovacuum_enabled = off)`);
    }
    storages = await Promise.all(Array.from({ length: CLAIMERS }, () => place.storage(planner)));
    return () => ofDescribe.run();
  });

  it.each(lanesOf)(
    "gives claimers at once as much as they ask for, and everything once, over %i lanes",
    async (lanes) => {
      const random = randomFrom(seed(`claims over ${lanes} lanes`));
      // Statistics of empty tables, as long as the test lasts.
      await maker.query(`vacuum analyze ${tables}`);
      const names = namesOf(lanes);
      const total = size(3_000, 60_000);
      await fill(storages[0] as PostgresStorage, total, () =>
        job(names[Math.floor(random() * lanes)] as string, { priority: Math.floor(random() * 3) }),
      );

      const given: JobId[] = [];
      let early = 0;
      await Promise.all(
        storages.map(async (storage, index) => {
          const processId = `p${index} of ${lanes}`;
          await register(storage, processId);
          for (;;) {
            const room = Math.floor(random() * 60);
            const readAhead = 1 + Math.floor(random() * 40);
            const { jobs } = await storage.claim(
              request(processId, [{ queue: "q", names, room, readAhead }]),
            );
            expect(jobs.length).toBeLessThanOrEqual(room + readAhead);
            given.push(...jobs.map(({ id }) => id));
            // Nobody else can hold more than this in a claim of their own.
            if (jobs.length === 0 && total - given.length > CLAIMERS * 100) early += 1;
            if (jobs.length === 0 && given.length >= total) return;
            await storage.settle(completed(jobs));
          }
        }),
      );
      expect(early).toBe(0);
      expect(given.length).toBe(total);
      expect(new Set(given).size).toBe(total);
    },
  );
});

it("gives each of several claimers at once a marked job, when there are enough", async () => {
  const place = await Place.make();
  const storages = await Promise.all(Array.from({ length: 6 }, () => place.storage()));
  const [first] = storages as [PostgresStorage];
  for (const [index, storage] of storages.entries()) await register(storage, `p${index}`);
  const turns = size(10, 200);
  let missed = 0;
  for (let turn = 0; turn < turns; turn += 1) {
    await fill(first, 6, () => job("a"));
    const { jobs } = await first.claim(request("p0", [{ queue: "q", names: ["a"], room: 6, readAhead: 0 }]));
    await first.settle(released(jobs, true));
    const answers = await Promise.all(
      storages.map((storage, index) =>
        storage.claim(request(`p${index}`, [{ queue: "q", names: ["a"], room: 6, readAhead: 0 }])),
      ),
    );
    const got = answers.map(({ jobs: some }) => some);
    missed += got.filter((some) => some.length === 0).length;
    expect(got.every((some) => some.length <= 1)).toBe(true);
    expect(new Set(got.flat().map(({ id }) => id)).size).toBe(got.flat().length);
    await first.settle(completed(got.flat()));
    // Who found nothing left one behind.
    for (let left = 6 - got.flat().length; left > 0; left -= 1) {
      const rest = await first.claim(request("p0", [{ queue: "q", names: ["a"], room: 6, readAhead: 0 }]));
      expect(rest.jobs).toHaveLength(1);
      await first.settle(completed(rest.jobs));
    }
  }
  expect(missed).toBe(0);
});

// ── Order ────────────────────────────────────────────────────────────────────

interface Drawn {
  /** Of each lane, in order of seq: which, of which priority, and whether it is marked. */
  readonly jobs: readonly (readonly [lane: number, priority: number, marked: boolean])[];
  readonly lanes: number;
  readonly skewed: boolean;
  readonly claims: readonly (readonly [room: number, readAhead: number, names: number])[];
}

const drawn = fc.integer({ min: 1, max: 200 }).chain((lanes) =>
  fc.record<Drawn>({
    lanes: fc.constant(lanes),
    skewed: fc.boolean(),
    jobs: fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: lanes - 1 }),
        fc.constantFrom(-3, 0, 0, 0, 7),
        fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      ),
      { minLength: 1, maxLength: 150, size: "max" },
    ),
    claims: fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 1, max: lanes }),
      ),
      { minLength: 1, maxLength: 6 },
    ),
  }),
);

interface Waiting {
  readonly seq: number;
  readonly lane: number;
  readonly priority: number;
  readonly marked: boolean;
}

/** What a claim gives, by the contract's words, one job after the other. */
function giveOf(waiting: Waiting[], names: number, room: number, readAhead: number): number[] {
  const order = waiting
    .filter(({ lane }) => lane < names)
    .sort((a, b) => a.priority - b.priority || a.seq - b.seq);
  const seqs: number[] = [];
  let gaveMarked = false;
  for (const one of order) {
    if (seqs.length === room + readAhead) break;
    if (one.marked && (gaveMarked || seqs.length >= room)) continue;
    gaveMarked ||= one.marked;
    seqs.push(one.seq);
  }
  for (const seq of seqs)
    waiting.splice(
      waiting.findIndex((one) => one.seq === seq),
      1,
    );
  return seqs;
}

describe.each(["", " under an old snapshot"])("a claimer%s", (circumstance) => {
  let storage: Pick<PostgresStorage, "claim">;
  let client: pg.Client;
  let counted: Counted;
  let letGo: (() => Promise<void>) | undefined;
  beforeAll(async () => {
    const place = await Place.make(ofDescribe);
    const whole = await place.storage();
    storage = whole;
    client = await place.client();
    counted = new Counted(await place.client());
    await register(whole, "p");
    await whole.enqueue([namesOf(200).map((name) => job(name))]);
    if (circumstance === "") return;
    letGo = await place.holdSnapshot();
    storage = counted.claims;
    // Gone, in the lane that is asked for most often.
    await fill(whole, GONE, (index) => job("n0", { priority: [-3, 0, 7][index % 3] as number }));
    await client.query("delete from jobwright.ready; delete from jobwright.job");
  });
  afterAll(async () => {
    await letGo?.();
    await ofDescribe.run();
  });

  it("gets jobs in order, whatever the lanes hold and which of them it asks for", async () => {
    let filled = 0;
    const seen: number[] = [];
    await fc.assert(
      fc.asyncProperty(drawn, async ({ jobs, lanes, skewed, claims }) => {
        const names = namesOf(lanes);
        // Seqs are neither ids nor small; what comes later has later ones.
        const base = 1_000_000 + (filled += 1) * 1_000;
        const waiting = jobs.map(([lane, priority, marked], index) => ({
          ...{ seq: base + index, lane: skewed ? lanes - 1 : lane, priority, marked },
        }));
        await put(client, waiting, names);
        for (const [room, readAhead, asked] of claims) {
          const most = skewed ? lanes : asked;
          counted.seen = 0;
          // A look at everything is due now and then.
          counted.elapsedMs += 200;
          const answer = await storage.claim(
            request("p", [{ queue: "q", names: names.slice(0, most), room, readAhead }]),
          );
          seen.push(counted.seen);
          const expected = giveOf(waiting, most, room, readAhead);
          expect(answer.jobs.map(({ id }) => idToSeq(id))).toEqual(expected);
        }
      }),
      { numRuns: size(100, 2_000), seed: seed("order of claims"), endOnFailure: true },
    );
    // By looks at everything and by hints, when there is something to know.
    if (letGo === undefined) return;
    // How often is chance; far less than half as often as it was ever seen is no accident.
    expect(seen.filter((n) => n > GONE).length).toBeGreaterThan(seen.length / 100);
    expect(seen.filter((n) => n < GONE / 2).length).toBeGreaterThan(seen.length / 20);
  });
});

/** Ids grow the other way round, so that only seqs can tell the order. */
const ID_MAX = 1_000_000_000;
const idToSeq = (id: JobId): number => ID_MAX - id;

async function put(client: pg.Client, jobs: readonly Waiting[], names: readonly string[]): Promise<void> {
  await client.query("delete from jobwright.ready; delete from jobwright.job; delete from jobwright.lease");
  await client.query(
    `with given as (
       select ${ID_MAX} - g.seq as id, g.seq, l.id as lane, g.priority::smallint as priority, g.marked
       from json_to_recordset($1::text::json) as g (seq bigint, name text, priority int, marked boolean)
       join jobwright.lane as l on l.queue = 'q' and l.name = g.name
     ), jobs as (
       insert into jobwright.job (id, created_at, run_at, policy_text, lane, priority, marked, payload)
       select id, 0, 0, $2, lane, priority, marked, '1' from given
     )
     insert into jobwright.ready (seq, id, lane, generation, priority, marked)
     select seq, id, lane, 0, priority, marked from given order by md5(seq::text)`,
    [JSON.stringify(jobs.map((one) => ({ ...one, name: names[one.lane] }))), POLICY],
  );
}

const POLICY = JSON.stringify({
  maxRetries: 0,
  backoff: { kind: "fixed", delayMs: 0 },
  timeoutMs: 1,
  retention: {},
});

// ── Cost ─────────────────────────────────────────────────────────────────────

/** The engine's own parts on one connection, with the rows and index entries that each statement comes across. */
class Counted {
  readonly store: Store;
  readonly claims: Claims;
  /** Set to 0 by whoever wants to know. */
  seen = 0;
  /** How often the claims have asked to look again. */
  looks = 0;
  /** Stands still, so that what is known for a while stays known however slow the machine is. */
  elapsedMs = 0;
  readonly #client: pg.Client;

  constructor(client: pg.Client) {
    this.#client = client;
    const statement = statements('"jobwright"');
    const database = { query: (one: Statement, values: readonly Value[]) => this.#query(one, values) };
    const parts = { database, statement, label: "test" };
    this.store = {
      ...parts,
      ...{ schema: '"jobwright"', now: () => null, alive: () => null, leases: new Leases() },
      policies: new Policies(parts as never),
    } as unknown as Store;
    this.claims = new Claims(
      this.store,
      () => (this.looks += 1),
      () => this.elapsedMs,
    );
  }

  async #query({ name, text }: Statement, values: readonly Value[]): Promise<Row[]> {
    await this.#client.query("begin");
    try {
      const before = await this.#count();
      const query = { name, text, values: [...values], rowMode: "array" as const, types: RAW };
      const { rows } = (await this.#client.query(query)) as unknown as { rows: Row[] };
      this.seen += (await this.#count()) - before;
      return rows;
    } finally {
      await this.#client.query("commit");
    }
  }

  async #count(): Promise<number> {
    const { rows } = await this.#client.query<{ n: number }>(
      `select sum(pg_stat_get_xact_tuples_returned(oid))::float8 as n from pg_class
       where relnamespace = 'jobwright'::regnamespace and relkind in ('r', 'i')`,
    );
    return rows[0]?.n as number;
  }
}

it("looks at no more than it was asked for, whatever the planner is told", async () => {
  const place = await Place.make();
  const storage = await place.storage();
  await register(storage, "p");
  const names = namesOf(20);
  const maker = await place.client();
  const total = size(10_000, 200_000);
  // The statistics of empty tables must outlast what fills them.
  await maker.query(`do $$ declare one record; begin
    for one in select oid::regclass as name from pg_class where relnamespace = 'jobwright'::regnamespace and relkind = 'r' loop
      execute format('alter table %s set (autovacuum_enabled = off)', one.name);
    end loop;
  end $$`);
  await maker.query("vacuum analyze");
  const counts: (readonly [planner: string, count: Counted])[] = [];
  for (const [name, planner] of Object.entries(PLANNERS)) {
    counts.push([name, new Counted(await place.client(planner))]);
  }
  await fill(storage, total, (index) =>
    job(names[index % 20] as string, index % 2 === 0 ? {} : { later: { delayMs: 1 } }),
  );
  for (const statistics of ["of empty tables", "of full ones"]) {
    if (statistics === "of full ones") await maker.query("vacuum analyze");
    for (const [planner, count] of counts) {
      const one = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
        count.seen = 0;
        const answer = await work();
        // A scan of any table would be thousands.
        const what = `${name}, with statistics ${statistics}, with a planner set ${planner}`;
        expect(count.seen, what).toBeLessThan(3_000);
        return answer;
      };
      for (const asked of [names.slice(0, 1), names]) {
        const what = request("p", [{ queue: "q", names: asked, room: 50, readAhead: 50 }]);
        const { jobs } = await one(`claim over ${asked.length}`, () => count.claims.claim(what));
        expect(jobs).toHaveLength(100);
        await one("settle", () => settle(count.store, completed(jobs)));
      }
      const group = Array.from({ length: 100 }, () => job("n0"));
      await one("enqueue", () => enqueue(count.store, [group], undefined));
      await one("promote", () => promote(count.store, 100));
    }
  }
});

// ── Old snapshots ────────────────────────────────────────────────────────────

/** More of what is gone than a claim wades through before it takes hints. */
const GONE = 4_000;

describe("under an old snapshot", () => {
  const lane = (names: readonly string[], room = 10): QueueRequest => ({
    ...{ queue: "q", names, room, readAhead: 0 },
  });

  /** A store where many have been claimed since a snapshot was taken, and a claimer that has noticed. */
  async function waded(priorities: readonly number[] = [0]): Promise<{
    place: Place;
    storage: PostgresStorage;
    counted: Counted;
    letGo: () => Promise<void>;
    claim(names?: readonly string[], room?: number): Promise<readonly ClaimedJob[]>;
  }> {
    const place = await Place.make();
    const storage = await place.storage();
    await register(storage, "p");
    await fill(storage, GONE, (index) =>
      job("a", { priority: priorities[index % priorities.length] as number }),
    );
    const letGo = await place.holdSnapshot();
    const counted = new Counted(await place.client());
    const claim = async (names: readonly string[] = ["a"], room = 10): Promise<readonly ClaimedJob[]> => {
      counted.seen = 0;
      return (await counted.claims.claim(request("p", [lane(names, room)]))).jobs;
    };
    for (;;) {
      const jobs = await claim(["a"], 1_000);
      if (jobs.length === 0) break;
      await settle(counted.store, completed(jobs));
    }
    return { place, storage, counted, letGo, claim };
  }

  it("does not wade through what is gone again and again", async () => {
    for (const priorities of [[0], [-5, 0, 5]]) {
      const { storage, counted, claim, letGo } = await waded(priorities);
      const looked: number[] = [];
      for (let n = 0; n < 40; n += 1) {
        counted.elapsedMs += 101;
        if (n < 20) await storage.enqueue([[job("a", { priority: priorities.at(-1) as number })]]);
        const jobs = await claim();
        looked.push(counted.seen);
        await settle(counted.store, completed(jobs));
      }
      // A look at everything once a second, and hardly another.
      expect(looked.filter((n) => n > GONE / 2).length, `${looked}`).toBeLessThanOrEqual(6);
      await letGo();
    }
  });

  it("finds a job a second later that goes back to a place before the hint", async () => {
    const { storage, counted, claim, letGo } = await waded();
    await storage.enqueue([Array.from({ length: 3_000 }, () => job("a"))]);
    const [first, ...others] = await claim(["a"], 3_000);
    await settle(counted.store, completed(others));
    // The hint is in use: it leads to new jobs at once.
    for (const _ of ["after many were claimed", "after one was claimed"]) {
      await storage.enqueue([[job("a")]]);
      await settle(counted.store, completed(await claim()));
    }
    expect(counted.seen).toBeLessThan(3_000);
    await storage.settle(released([first as ClaimedJob]));
    expect(await claim()).toEqual([]);
    counted.elapsedMs += 1_001;
    expect((await claim()).map(({ id }) => id)).toEqual([first?.id]);
    await letGo();
  });

  it("tells who found less behind the hint to look again", async () => {
    const { counted, claim, letGo } = await waded();
    await claim();
    const before = counted.looks;
    expect(await claim()).toEqual([]);
    await until(() => counted.looks > before);
    expect(counted.looks).toBe(before + 1);
    await letGo();
  });

  it("finds at once what has a place before the hint for another reason than having been there", async () => {
    const { place, storage, counted, claim, letGo } = await waded();
    // Taken before others take theirs, and committed after those were claimed.
    const late = await place.client();
    await late.query("begin");
    await late.query(`insert into jobwright.ready (seq, id, lane, generation, priority)
      select nextval('jobwright.seq'), 0, 1, 0, 0 where false`);
    const seq = (await late.query<{ seq: string }>("select nextval('jobwright.seq') as seq")).rows[0]?.seq;
    await storage.enqueue([Array.from({ length: 200 }, () => job("a"))]);
    await settle(counted.store, completed(await claim(["a"], 500)));
    await late.query(
      `insert into jobwright.job (id, created_at, run_at, policy_text, lane, priority, payload)
       select $1, 0, 0, $2, id, 0, '1' from jobwright.lane where name = 'a'`,
      [seq, POLICY],
    );
    await late.query(
      `insert into jobwright.ready (seq, id, lane, generation, priority)
       select $1, $1, id, 0, 0 from jobwright.lane where name = 'a'`,
      [seq],
    );
    await late.query("commit");
    // Better, worse and the same.
    await storage.enqueue([[job("a", { priority: -7 }), job("a", { priority: 9 }), job("a")]]);
    const jobs = await claim();
    expect(counted.seen).toBeLessThan(3_000);
    expect(jobs.map(({ id, priority }) => (String(id) === seq ? "late" : priority))).toEqual([
      -7,
      "late",
      0,
      9,
    ]);
    await letGo();
  });

  it("hears of what is scheduled while many were promoted", async () => {
    const { storage, counted, claim, letGo } = await waded();
    await fill(storage, GONE, () => job("b", { later: { delayMs: 1 } }));
    for (let promoted = 0; promoted < GONE;) promoted += (await storage.promote(GONE)).promoted;
    const looked: number[] = [];
    for (let n = 0; n < 20; n += 1) {
      await claim(["a"], 0);
      looked.push(counted.seen);
    }
    expect(looked.filter((n) => n > GONE / 2).length, `${looked}`).toBeLessThanOrEqual(3);
    await storage.enqueue([[job("b", { later: { delayMs: LONG_MS } })]]);
    const { nextAt } = await counted.claims.claim(request("p", [lane(["a"])]));
    expect(nextAt ?? 0).toBeGreaterThan(Date.now());
    await letGo();
  });

  it("gives everything once to several that release and complete, over lanes and priorities", async () => {
    const place = await Place.make();
    const random = randomFrom(seed("claims under an old snapshot"));
    const storages = await Promise.all(Array.from({ length: 4 }, () => place.storage()));
    const [first] = storages as [PostgresStorage];
    for (const [index, storage] of storages.entries()) await register(storage, `p${index}`);
    const total = size(6_000, 120_000);
    const names = namesOf(3);
    await fill(first, total, (index) => job(names[index % 3] as string, { priority: (index % 5) - 2 }));
    const letGo = await place.holdSnapshot();
    const ended = new Set<JobId>();
    await Promise.all(
      storages.map(async (storage, index) => {
        while (ended.size < total) {
          const { jobs } = await storage.claim(request(`p${index}`, [lane(names, 50)]));
          const back = jobs.filter(() => random() < 0.2);
          const done = jobs.filter((one) => !back.includes(one));
          for (const { id } of done) {
            expect(ended.has(id)).toBe(false);
            ended.add(id);
          }
          const results = await storage.settle([...released(back), ...completed(done)]);
          expect(results.every((result) => result === "settled")).toBe(true);
        }
      }),
    );
    expect(await first.count({})).toEqual({ n: 0, exact: true });
    await letGo();
  });
});
