import { describe, expect, test } from "vitest";
import { COMPLETED, ERROR, failed, newJob, only } from "../../src/testing/storage-suite/stage.ts";
import { DAYS_AHEAD } from "../../src/storage/postgres/migration/newest/days.ts";
import { expectWhole, type Place, places } from "./upkeep-stage.ts";

// Goal: upkeep by any number of processes at once loses nothing, waits for nobody, and stays cheap.
// Method: a real server; the tables are looked at beside the storage, and transactions are left open on purpose.

const place = places();
const DAY_MS = 86_400_000;
const DATABASE_CLOCK = { clock: undefined } as object;

describe("days", () => {
  /** The partition of a finished job. */
  async function partitionOf({ sql }: Place, id: number): Promise<string> {
    return (await sql("select tableoid::regclass::text from $s.finished where id = $1", [id])).flat().join();
  }

  async function partitions({ sql, schema }: Place): Promise<string[]> {
    const rows = await sql(
      `select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
       where c.relispartition and c.relkind = 'r' and n.nspname = $1 order by 1`,
      [schema],
    );
    return rows.flat();
  }

  /** A day before today with its partition, as it was made then. */
  async function pastDay({ sql }: Place, ago: number): Promise<string> {
    const [row] = await sql(
      "select to_char(d, 'YYYYMMDD'), d, d + 1 from (select (now() at time zone 'utc')::date - $1::int as d) as t",
      [ago],
    );
    const [name, from, to] = row as [string, string, string];
    await sql(`create table $s.finished_${name} (like $s.finished including defaults)`);
    await sql(
      `alter table $s.finished attach partition $s.finished_${name} for values from ('${from}') to ('${to}')`,
    );
    await sql("insert into $s.day values ($1)", [from]);
    return `finished_${name}`;
  }

  /** Finished jobs of a day that is over, moved there because nobody can wait for it. */
  async function expired(at: Place, n: number, ago: number): Promise<number[]> {
    await at.stage.register();
    const ids = await at.stage.enqueue(
      ...Array.from({ length: n }, (_, index) => ({ ...(index === 0 ? { givenId: "taken" } : {}) })),
    );
    for (const job of await at.stage.claim({ room: n })) await at.stage.end(job, COMPLETED);
    await at.sql(
      `update $s.finished set bucket = (now() at time zone 'utc')::date - $2::int,
         expires_at = extract(epoch from now() - make_interval(days => $2::int)) * 1000
       where id = any ($1::text::bigint[])`,
      [`{${ids.join()}}`, ago],
    );
    return ids;
  }

  // Guards: counting a large day took minutes, in which no finished job of any day could be retried or removed.
  test.each(["retry", "remove"] as const)(
    "%s of a job goes on while other days are being dropped",
    async (kind) => {
      const at = await place(DATABASE_CLOCK);
      const id = await at.stage.jobIn("dead");
      const own = await partitionOf(at, id);
      const others = (await partitions(at)).filter((name) => /_\d{8}$/.test(name) && !own.includes(name));
      expect(others.length).toBeGreaterThan(3);
      const { sql } = await at.client();
      await sql("begin");
      for (const name of others) await sql(`lock table $s.${name} in share row exclusive mode`);
      expect(await at.stage.change(id, { kind })).toBe("changed");
      await sql("rollback");
      await expectWhole(at);
    },
  );

  test("jobs go by the day of their expiry, once a day's partition has had time to be heard of", async () => {
    const at = await place(DATABASE_CLOCK);
    const { stage, sql } = at;
    await stage.register();
    const finish = async (completedMs: number | null): Promise<string> => {
      const id = await stage.enqueueOne({ retention: { completedMs, cancelledMs: 0, deadMs: 0 } });
      await stage.end(await stage.claimOne(), COMPLETED);
      return partitionOf(at, id);
    };
    expect(await partitions(at)).toHaveLength(DAYS_AHEAD + 2);
    // They were attached just now, when the storage was opened.
    expect(await finish(7 * DAY_MS)).toMatch(/finished_row/);
    await at.other(DATABASE_CLOCK);
    expect(await sql("select count(*) from $s.day")).toEqual([[`${DAYS_AHEAD}`]]);

    const [day] = await sql("select to_char(now() at time zone 'utc' + interval '7 days', 'YYYYMMDD')");
    expect(await finish(7 * DAY_MS)).toMatch(new RegExp(`finished_${day?.[0]}`));
    expect(await finish(DAY_MS - 1)).toMatch(/finished_row/);
    expect(await finish(30 * DAY_MS)).toMatch(/finished_row/);
    expect(await finish(null)).toMatch(/finished_ever/);
    await expectWhole(at);
  });

  test("a slow end goes by the day as well", async () => {
    const at = await place(DATABASE_CLOCK);
    await at.other(DATABASE_CLOCK);
    await at.stage.register();
    const id = await at.stage.enqueueOne({
      retention: { completedMs: 0, cancelledMs: 0, deadMs: 3 * DAY_MS },
    });
    await at.stage.end(await at.stage.claimOne(), { state: "dead", error: ERROR });
    const [day] = await at.sql("select to_char(now() at time zone 'utc' + interval '3 days', 'YYYYMMDD')");
    expect(await partitionOf(at, id)).toMatch(new RegExp(`finished_${day?.[0]}`));
    await at.stage.change(id, { kind: "retry" });
    expect(await at.stage.state(id)).toBe("available");
    await expectWhole(at);
  });

  test("a day that is over goes with all its jobs at once, and their ids are free", async () => {
    const at = await place(DATABASE_CLOCK);
    const table = await pastDay(at, 1);
    await pastDay(at, 2);
    const [first] = await expired(at, 5, 1);
    expect(await partitionOf(at, first as number)).toContain(table);
    expect(await at.stage.storage.prune(1_000)).toBe(5);
    expect(await partitions(at)).toHaveLength(DAYS_AHEAD + 2);
    expect(await at.sql("select from $s.day where day < now()")).toEqual([]);
    expect(await at.stage.count()).toBe(0);
    await expectWhole(at);
    await at.stage.enqueueOne({ givenId: "taken" });
  });

  test("today is not over", async () => {
    const at = await place(DATABASE_CLOCK);
    await pastDay(at, 0);
    const ids = await expired(at, 2, 0);
    expect(await at.stage.storage.prune(1_000)).toBe(0);
    expect(await at.stage.count()).toBe(ids.length);
  });

  test("a day that somebody reads is left for later", async () => {
    const at = await place(DATABASE_CLOCK);
    await pastDay(at, 1);
    await expired(at, 4, 1);
    const reader = await at.client();
    await reader.sql("begin");
    await reader.sql("select from $s.finished");
    expect(await at.stage.storage.prune(1_000)).toBe(0);
    expect(await at.stage.count()).toBe(4);
    await expectWhole(at);
    await reader.sql("commit");
    // The storage looks again after a minute; a new one at once.
    expect(await (await at.other(DATABASE_CLOCK)).prune(1_000)).toBe(4);
    await expectWhole(at);
  });

  test("an operator who takes a job out of a day that goes keeps it", async () => {
    const at = await place(DATABASE_CLOCK);
    await pastDay(at, 1);
    const [kept] = await expired(at, 4, 1);
    const operator = await at.client();
    await operator.sql("begin");
    await operator.sql("select * from $s.hold_jobs(null, $1::text::bigint[])", [`{${kept}}`]);
    expect(await at.stage.storage.prune(1_000)).toBe(0);
    await operator.sql("rollback");
    expect(await at.stage.change(kept as number, { kind: "retry" })).toBe("changed");
    expect(await (await at.other(DATABASE_CLOCK)).prune(1_000)).toBe(3);
    expect(await at.stage.state(kept as number)).toBe("available");
    await expectWhole(at);
  });

  test("who may not make or drop tables prunes row by row", async () => {
    const at = await place(DATABASE_CLOCK);
    await pastDay(at, 1);
    await expired(at, 4, 1);
    await at.sql("create role worker");
    await at.sql("grant usage on schema $s to worker");
    await at.sql("grant all on all tables in schema $s to worker");
    await at.sql("grant all on all sequences in schema $s to worker");
    const before = await partitions(at);
    const worker = await at.client();
    await worker.sql("set role worker");
    await worker.sql("select $s.ensure_days()");
    expect(await worker.sql("select $s.drop_day(3)")).toEqual([["3"]]);
    expect(await worker.sql("select $s.drop_day(3)")).toEqual([["1"]]);
    expect(await worker.sql("select $s.drop_day(3)")).toEqual([[null]]);
    expect(await partitions(at)).toEqual(before);
    expect(await at.stage.count()).toBe(0);
    await expectWhole(at);
    await at.sql("drop owned by worker");
    await at.sql("drop role worker");
  });

  test("with a clock that was handed in there are no days", async () => {
    const at = await place();
    expect(await at.sql("select from $s.day")).toEqual([]);
    expect(await partitions(at)).toEqual(["finished_ever", "finished_row"]);
  });

  test("many at once give the days to come one partition each", async () => {
    const at = await place(DATABASE_CLOCK);
    for (const table of await partitions(at)) {
      if (/[0-9]$/.test(table)) await at.sql(`drop table $s.${table}`);
    }
    await Promise.all(Array.from({ length: 6 }, () => at.other(DATABASE_CLOCK)));
    expect(await partitions(at)).toHaveLength(DAYS_AHEAD + 2);
  });
});

describe("promote", () => {
  test("gives due jobs places in the order of (runAt, id), across lanes and statements", async () => {
    const { stage, sql } = await place();
    const delays = Array.from({ length: 2_500 }, (_, index) => (index * 7_919) % 400);
    const ids = await stage.enqueue(
      ...delays.map((delayMs) => ({ later: { delayMs: delayMs + 1 }, name: `n${delayMs % 3}` })),
    );
    await stage.clock.advance(1_000);
    expect(await stage.storage.promote(5_000)).toEqual({ promoted: 2_500 });
    const order = ids
      .map((id, index) => [delays[index] as number, id] as const)
      .sort(([a, one], [b, other]) => a - b || one - other)
      .map(([, id]) => String(id));
    expect((await sql("select id from $s.ready order by seq")).flat()).toEqual(order);
  });

  test("passes by what an operator is moving, and says that it is due", async () => {
    const at = await place();
    const { stage } = at;
    const [one, two] = await stage.enqueue({ later: { delayMs: 10 } }, { later: { delayMs: 20 } });
    const due = stage.clock.now() + 10;
    await stage.clock.advance(50);
    const operator = await at.client();
    await operator.sql("begin");
    await operator.sql("select * from $s.hold_jobs(null, $1::text::bigint[])", [`{${one}}`]);
    expect(await stage.storage.promote(10)).toEqual({ promoted: 1, nextAt: due });
    await operator.sql("rollback");
    expect(await stage.listIds({ state: "available" })).toEqual([two]);
    await expectWhole(at);
  });
});

describe("rescue", () => {
  test("passes by a run that a transaction is about to end, and takes it when it was not ended", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register("p1");
    await stage.enqueue({}, {}, {});
    const [held, ...others] = await stage.claim();
    await stage.beat("p1", { leaving: true });
    await stage.register("p2");
    const handler = await at.client();
    await handler.sql("begin");
    await handler.sql("select from $s.job where id = $1 for update", [held?.id]);
    expect((await stage.rescue("p2")).map(({ id }) => id)).toEqual(others.map(({ id }) => id));
    // Not all is decided about the process: it stays.
    expect((await stage.storage.processes()).map(({ id }) => id)).toContain("p1");
    await handler.sql("rollback");
    expect(only(await stage.rescue("p2")).id).toBe(held?.id);
    expect((await stage.storage.processes()).map(({ id }) => id)).toEqual(["p2"]);
    await expectWhole(at);
  });

  test("takes what a process holds whose own row is gone", async () => {
    const at = await place();
    await at.stage.register("p1");
    await at.stage.enqueue({}, {});
    await at.stage.claim();
    await at.sql("delete from $s.process");
    await at.stage.register("p2");
    expect(await at.stage.rescue("p2")).toHaveLength(2);
    await expectWhole(at);
  });

  test("leaves of several claims keep their starts, places, generations and claimers", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register("p1");
    const first = await stage.enqueue({}, {}, {});
    // Moved and released jobs have places and generations of their own.
    await stage.change(first[0] as number, { kind: "priority", priority: -1 });
    for (const job of await stage.claim()) await stage.end(job, { state: "available", marked: false });
    const jobs = await stage.claim();
    const [other] = await stage.enqueue({});
    const late = await stage.claimOne();
    await stage.beat("p1", { starts: [jobs[1], late].map((job) => job as never) });
    const startedAt = stage.clock.now();
    await stage.clock.advance(5_000);
    await stage.beat("p1", { leaving: true });
    await stage.register("p2");
    const rescued = [...(await stage.rescue("p2", 2)), ...(await stage.rescue("p2", 10))];
    expect(rescued.map(({ id, generation, started }) => [id, generation, started])).toEqual([
      ...jobs.map(({ id }, index) => [id, 1, index === 1]),
      [other, 0, true],
    ]);
    expect(new Set(rescued.map((job) => job.startedAt))).toEqual(new Set([startedAt]));
    // Given back, they stand where they stood.
    for (const job of rescued) await stage.end(job, { state: "available", marked: false });
    expect(await stage.claimIds({ processId: "p2" })).toEqual(
      jobs.map(({ id }) => id).concat(other as number),
    );
    expect(await at.sql("select from $s.lease where process_id = 'p1'")).toEqual([]);
    await expectWhole(at);
  });

  test("finds what a process claimed while it was leaving", async () => {
    const at = await place();
    const { stage } = at;
    const alive = { liveness: () => 1_000_000 };
    await stage.register("p1");
    await stage.enqueue({}, {});
    const job = await stage.claimOne();
    await stage.beat("p1", { starts: [job] });
    await (await at.other(alive)).settle([{ lease: job, outcome: COMPLETED, startedAt: 0 }]);
    // The leaving process is held up after it has seen that it holds nothing.
    const holder = await at.client();
    await holder.sql("begin");
    await holder.sql("select from $s.start for update");
    const leaving = stage.beat("p1", { leaving: true });
    await at.untilWaits();
    const claimed = await (await at.other(alive)).claim(stage.request({ processId: "p1" }));
    expect(claimed.jobs).toHaveLength(1);
    await holder.sql("commit");
    await leaving;
    await stage.register("p2");
    expect(await stage.rescue("p2")).toHaveLength(1);
    await expectWhole(at);
  });

  test("starts are known as long as one of the runs of their claim goes on, wherever it is", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register("p1");
    await stage.enqueue({}, {}, {});
    const jobs = await stage.claim();
    await stage.beat("p1", { starts: jobs });
    await stage.beat("p1", { leaving: true });
    for (const id of ["p2", "p3"]) {
      await stage.register(id);
      expect(await stage.rescue(id, 1)).toHaveLength(1);
    }
    await stage.register("p4");
    await stage.end(only(await stage.rescue("p4", 1)), failed({ delayMs: 0 }));
    for (const id of ["p2", "p3"]) await stage.beat(id, { leaving: true });
    const last = await stage.rescue("p4");
    expect(last.map(({ started }) => started)).toEqual([true, true]);
    for (const job of last) await stage.end(job, failed({ delayMs: 0 }));
    expect(await at.sql("select from $s.lease")).toEqual([]);
    await expectWhole(at);
  });

  test("what was taken over leaves neither leases nor starts behind when it has ended", async () => {
    const at = await place();
    await at.stage.register("p1");
    await at.stage.enqueue({}, {}, {});
    const jobs = await at.stage.claim();
    await at.stage.beat("p1", { starts: jobs, leaving: true });
    await at.stage.register("p2");
    const rescued = await at.stage.rescue("p2");
    await at.stage.storage.settle(
      rescued.map((job) => ({ lease: job, outcome: failed({ delayMs: 0 }), startedAt: job.startedAt })),
    );
    expect(await at.sql("select from $s.lease")).toEqual([]);
    expect(await at.sql("select from $s.start")).toEqual([]);
  });

  test("several at once get each run once, with leases of more than one row", async () => {
    const at = await place();
    const { stage } = at;
    await stage.register("p1");
    await stage.enqueue(...Array.from({ length: 1_300 }, () => ({})));
    expect(await stage.claim({ room: 1_300 })).toHaveLength(1_300);
    await stage.beat("p1", { leaving: true });
    const rescuers = ["r1", "r2", "r3", "r4"];
    const storages = await Promise.all(rescuers.map(() => at.other({ liveness: () => 1_000_000 })));
    for (const id of rescuers) await stage.register(id);
    const got: number[] = [];
    let round = 0;
    for (; got.length < 1_300; round += 1) {
      expect(round).toBeLessThan(50);
      const some = await Promise.all(
        storages.map((storage, index) => {
          const processId = rescuers[index] as string;
          return storage.rescue({ processId, token: `${processId}-${round}`, limit: 170 });
        }),
      );
      got.push(...some.flat().map(({ id }) => id));
    }
    expect(new Set(got).size).toBe(1_300);
    await expectWhole(at);
  });
});

describe("prune", () => {
  test("folds the moves of jobs into a few, and counts stay what they are", async () => {
    const at = await place();
    const { stage, sql } = at;
    await stage.register();
    for (let n = 0; n < 60; n += 1) {
      await stage.enqueueOne({
        name: n % 2 === 0 ? "a" : "b",
        ...(n % 5 === 0 ? { later: { delayMs: 1e6 } } : {}),
      });
    }
    for (const job of await stage.claim({ names: ["a", "b"], room: 20 })) {
      await stage.end(job, job.id % 3 === 0 ? failed({ delayMs: 5_000 }) : COMPLETED);
    }
    const before = await stage.storage.lanes();
    const rows = Number((await sql("select count(*) from $s.tally"))[0]?.[0]);
    expect(rows).toBeGreaterThan(64);
    const others = await Promise.all([at.other(), at.other()]);
    await Promise.all([
      stage.storage.prune(10),
      ...others.map((storage) => storage.prune(10)),
      stage.enqueueOne(),
    ]);
    expect(Number((await sql("select count(*) from $s.tally"))[0]?.[0])).toBeLessThanOrEqual(20);
    const after = await stage.storage.lanes();
    expect(after.lanes.map(({ counts }) => ({ ...counts, available: 0 }))).toEqual(
      before.lanes.map(({ counts }) => ({ ...counts, available: 0 })),
    );
    await stage.checkCounts();
    await expectWhole(at);
  });

  test("does not fold again and again what is folded, or differs", async () => {
    const at = await place();
    const rows = (): Promise<string[][]> => at.sql("select ctid, * from $s.tally order by ctid");
    for (let n = 0; n < 80; n += 1) await at.stage.enqueueOne({ name: `n${n % 40}` });
    const before = await rows();
    await at.stage.storage.prune(10);
    expect(await rows()).toEqual(before);
    for (let n = 0; n < 80; n += 1) await at.stage.enqueueOne({ name: `n${n % 40}` });
    await at.stage.storage.prune(10);
    const folded = await rows();
    expect(folded).toHaveLength(40);
    await at.stage.storage.prune(10);
    expect(await rows()).toEqual(folded);
    await at.stage.checkCounts();
  });

  test("forgets leases that were let go of without a word, and none that is in use", async () => {
    const at = await place();
    const { stage, sql } = at;
    await stage.register();
    await stage.enqueue({}, {}, {});
    const [one, two, three] = (await stage.claim()) as [never, never, never];
    await stage.enqueueOne();
    const busy = await stage.claimOne();
    await stage.beat("p1", { starts: [one, busy] });
    // Another storage does not know how many jobs the lease has had.
    const other = await at.other();
    for (const lease of [one, two, three]) await other.settle([{ lease, outcome: COMPLETED, startedAt: 0 }]);
    expect(await sql("select token from $s.lease")).toHaveLength(2);
    await stage.storage.prune(10);
    expect(await sql("select token from $s.lease")).toHaveLength(2);
    await stage.clock.advance(60_001);
    await stage.storage.prune(10);
    expect(await sql("select token from $s.lease")).toEqual([[busy.token]]);
    expect(await sql("select origin from $s.start")).toEqual([[busy.token]]);
    await stage.end(busy, COMPLETED);
  });

  test("gets round to every lease, however many are in use", async () => {
    const at = await place();
    const { stage, sql } = at;
    await stage.register();
    await stage.enqueue(...Array.from({ length: 130 }, () => ({})));
    const jobs = [];
    for (let n = 0; n < 130; n += 1)
      jobs.push(await stage.claimOne({ token: `t${String(n).padStart(3, "0")}` }));
    const other = await at.other();
    await other.settle([{ lease: jobs[129] as never, outcome: COMPLETED, startedAt: 0 }]);
    await stage.clock.advance(60_001);
    const left = async (): Promise<number> => (await sql("select from $s.lease")).length;
    for (const expected of [130, 130, 129]) {
      await stage.storage.prune(10);
      expect(await left()).toBe(expected);
    }
  });

  test("forgets who waited for a job and is gone, and asks of runs that ended", async () => {
    const at = await place();
    await at.sql("insert into $s.awaited values (1, 'gone', 999999), (1, 'waits', 1000001)");
    const id = await at.stage.jobIn("asked");
    await at.sql("insert into $s.ask values (4711, 0, 'p1', '\"x\"')");
    await at.stage.storage.prune(10);
    expect(await at.sql("select instance from $s.awaited")).toEqual([["waits"]]);
    expect(await at.sql("select job from $s.ask")).toEqual([[String(id)]]);
  });

  test("passes by what an operator brings back", async () => {
    const at = await place();
    const { stage } = at;
    const retention = { completedMs: 10, cancelledMs: 10, deadMs: 10 };
    const kept = await stage.jobIn("dead", { retention });
    await stage.clock.advance(100);
    const operator = await at.client();
    await operator.sql("begin");
    await operator.sql("select * from $s.hold_jobs(null, $1::text::bigint[])", [`{${kept}}`]);
    expect(await stage.storage.prune(10)).toBe(0);
    await operator.sql("rollback");
    expect(await stage.storage.prune(10)).toBe(1);
    await expectWhole(at);
  });
});

test("upkeep, ends and operators at once leave each job whole", { timeout: 60_000 }, async () => {
  const at = await place();
  const { stage } = at;
  const storages = await Promise.all(
    Array.from({ length: 4 }, () => at.other({ liveness: () => 1_000_000 })),
  );
  await stage.register("p1");
  const retention = { completedMs: 50, cancelledMs: 0, deadMs: null };
  let seed = 7;
  const below = (n: number): number => (seed = (seed * 48_271) % 2_147_483_647) % n;
  let token = 0;
  const ids: number[] = [];
  for (let round = 0; round < 25; round += 1) {
    await stage.register(`w${round}`);
    const more = await stage.enqueue(
      ...Array.from({ length: 20 }, (_, index) => ({
        retention,
        name: index % 2 === 0 ? "a" : "b",
        ...(index % 3 === 0 ? { later: { delayMs: below(200) } } : {}),
        ...(index % 4 === 0 ? { givenId: `${round}/${index}` } : {}),
      })),
    );
    ids.push(...more);
    const some = (): number[] => Array.from({ length: 15 }, () => ids[below(ids.length)] as number);
    const claimed = await stage.claim({ processId: `w${round}`, names: ["a", "b"], room: 15 });
    const work = claimed.map((job, index) => {
      const outcomes = [
        COMPLETED,
        failed({ delayMs: below(100) }),
        failed({ delayMs: 0 }),
        { state: "available", marked: index % 2 === 0 },
        { state: "dead", error: ERROR },
        { state: "cancelled", reason: "\0 \ud800" },
      ] as const;
      return { lease: job, outcome: outcomes[below(6)] ?? COMPLETED, startedAt: 0 };
    });
    await stage.clock.advance(40);
    const [a, b, c, d] = storages as [never, never, never, never] as typeof storages;
    if (a === undefined || b === undefined || c === undefined || d === undefined)
      throw new Error("no storages");
    await stage.beat(`w${round}`, { leaving: round % 2 === 0 });
    await Promise.all([
      a.settle(work.slice(0, 10)),
      b.settle([...work.slice(5)].reverse()),
      c.rescue({ processId: "p1", token: `p1/${(token += 1)}`, limit: 6 }),
      a.change(some(), { kind: "cancel", reason: "no" }),
      b.change(some(), { kind: "retry" }),
      c.change(some(), { kind: "priority", priority: below(3) }),
      d.change(some(), { kind: "runAt", later: { delayMs: below(100) } }),
      a.change(some().slice(0, 3), { kind: "remove" }),
      b.promote(10),
      c.promote(10),
      d.prune(10),
      a.prune(10),
      stage.storage.enqueue([Array.from({ length: 5 }, () => newJob({ retention }))]),
    ]);
    await stage.beat("p1", { first: true });
    await expectWhole(at);
  }
  await stage.checkCounts();
});

// The statement must be the one that is measured: its counters are those of its own transaction.
test("no statement of upkeep reads a large table from end to end", async () => {
  const at = await place();
  const { stage } = at;
  const running = await stage.jobIn("running");
  const dead = await stage.jobIn("dead", { givenId: "g" });
  const scheduled = await stage.jobIn("scheduled");
  const limited = await stage.jobIn("scheduled", { limit: { scope: "s", key: "k", concurrency: 1 } });
  const ids = `{${running},${scheduled}}`;
  const client = await at.client();
  const heads = (...changes: [number, number, number][]): string =>
    JSON.stringify(
      changes.map(([id, src, dst]) => ({
        ...{
          id,
          src,
          dst,
          lane: 1,
          run_at: 0,
          ended_at: 1,
          expires_at: 2,
          generation: 1,
          attempt: 1,
          failures: 2,
        },
        ...{ snoozes: 0, releases: 0, priority: 0, marked: false, keeps_checkpoint: true, sets_error: false },
        ...{ entry: "{}", entry_number: 60, forgets: 20, tid: "(0,1)" },
      })),
    );
  const statements: Record<string, [string, unknown[]]> = {
    hold_jobs: ["select $s.hold_jobs(null, $1::text::bigint[])", [ids]],
    hold_runs: ["select $s.hold_runs(null, $1::text::bigint[], '{0,0}', '{p1:1}', '{1,1}')", [ids]],
    settled_before: ["select $s.settled_before($1::text::bigint[], '{0,0}', '{p1:1}', '{1,1}')", [ids]],
    promote_due: ["select $s.promote_due(1e15, 10)", []],
    admit: ["select $s.admit(array[gen_random_uuid()])", []],
    let_in: ["select $s.let_in($1::text::bigint[], $1::text::bigint[])", [`{${limited}}`]],
    take_slots: ["select * from $s.take_slots($1::text::bigint[], -1)", [`{${limited}}`]],
    take_keys: [
      'select $s.take_keys(null, 1, \'[{"i":"00000000-0000-0000-0000-000000000001","s":"","k":"k","r":true}]\')',
      [],
    ],
    retake_keys: ["select $s.retake_keys(1, $1::text::bigint[])", [`{${dead}}`]],
    rescue: ["select $s.rescue(1e15, 'p1', 't', 10)", []],
    prune: ["select $s.prune(1e15, 10)", []],
    tidy: ["select $s.tidy(1e15, 0, '')", []],
    complete: [
      "select $s.complete(null, $1::text::bigint[], '{7,7}', '{none}', '{1,1}', '{0,0}', '{0,0}', null, null, null)",
      [ids],
    ],
    "write_heads, ends": ["select $s.write_heads($1, '{p1:1}')", [heads([running, 4, 6], [scheduled, 1, 5])]],
    "write_heads, moves": ["select $s.write_heads($1, '{p1:1}')", [heads([running, 4, 2], [dead, 6, 2])]],
    "write_heads, removal": ["select $s.write_heads($1, '{}')", [heads([dead, 6, 0])]],
    drop_leases: ["select $s.drop_leases('{p1:1}')", []],
    save_note: [
      'select $s.save_note($1, 0, \'p1:1\', 0, \'[{"k":"a","v":"1","b":2}]\', null, null, \'[{}]\')',
      [running],
    ],
  };
  for (const [name, [text, values]] of Object.entries(statements)) {
    await client.sql("begin");
    await client.sql(text, values);
    const scanned = await client.sql(
      `select relname from pg_stat_xact_user_tables where schemaname = $1 and seq_scan > 0
       and relname !~ '^(process|ask|awaited|tally|waiter|queue|lane|freed|schedule)$'`,
      [at.schema],
    );
    expect([name, ...scanned.flat()]).toEqual([name]);
    await client.sql("rollback");
  }
});
