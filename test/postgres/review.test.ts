import { inspect } from "node:util";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { silentLogger } from "../../src/logger.ts";
import { isStalePlan } from "../../src/storage/postgres/failures.ts";
import { PostgresStorage } from "../../src/storage/postgres/postgres-storage.ts";
import { COMPLETED, newJob } from "../../src/testing/storage-suite/stage.ts";
import { TcpProxy } from "../support/postgres/proxy.ts";
import { expectWhole, places } from "./upkeep-stage.ts";

// Goal: what a hostile reading of the engine has found stays repaired.
// Method: each interleaving is stepped through, with a transaction left open where it hurts.

const place = places();

describe("who leaves", () => {
  test("keeps the leases of a claim of its own that ends meanwhile, for others to rescue", async () => {
    const at = await place();
    const first = await at.stage.enqueueOne();
    await at.stage.register("p1");
    const { id: claimed, generation, token } = await at.stage.claimOne();
    const lease = { id: claimed, generation, token };
    await at.stage.beat("p1", { holds: [lease], starts: [lease] });
    await at.stage.settle(lease, COMPLETED);
    expect(await at.stage.state(first)).toBe("completed");
    // What the lease left behind is locked, so that the beat stands still where it tidies up.
    const other = await at.client();
    await other.sql("begin");
    await other.sql("select from $s.start for update");
    const leaver = await at.other({ liveness: () => 1_000_000 });
    const leaving = leaver.beat({
      id: "p1",
      host: "h",
      pid: 1,
      lostAfterMs: 25_000,
      queues: [],
      holds: [],
      starts: [],
      leaving: true,
    });
    await at.untilWaits();
    const id = await at.stage.enqueueOne();
    expect(await at.stage.claimIds()).toEqual([id]);
    await other.sql("commit");
    await leaving;
    await expectWhole(at);
    await at.stage.register("p2");
    expect((await at.stage.rescue("p2")).map((job) => job.id)).toEqual([id]);
  });
});

async function urlOf(at: Awaited<ReturnType<typeof place>>): Promise<string> {
  const [row] = await at.sql("select inet_server_port()::text, current_database()");
  return `postgres://postgres@127.0.0.1:${row?.[0]}/${row?.[1]}`;
}

describe("a plan that a migration has outdated", () => {
  test("is known as such in any language of the server", () => {
    const text = "zwischengespeicherter Plan darf den Ergebnistyp nicht ändern";
    const told = Object.assign(new Error(text), { code: "0A000", routine: "RevalidateCachedQuery" });
    expect(isStalePlan(told)).toBe(true);
    expect(isStalePlan(Object.assign(new Error(text), { code: "0A000", routine: "other" }))).toBe(false);
  });
});

describe("messages and errors", () => {
  test("hold no password of what was handed in by mistake", () => {
    for (const pool of [
      { connectionString: "postgres://u:s3cretpw@h/d" },
      { host: "h", password: "s3cretpw" },
    ]) {
      let error: unknown;
      try {
        error = new PostgresStorage({ pool: pool as never, logger: silentLogger });
      } catch (one) {
        error = one;
      }
      expect(error).toBeInstanceOf(Error);
      expect(inspect(error)).not.toContain("s3cretpw");
      expect(JSON.stringify(error)).not.toContain("s3cretpw");
    }
  });
});

describe("what belongs to the user", () => {
  test.each(["a$b$c", "$jobwright$", 'q"$x$\\'])("may name the schema %s", async (schema) => {
    const at = await place({ schema });
    const id = await at.stage.enqueueOne();
    await at.stage.register("p1");
    expect(await at.stage.claimIds()).toEqual([id]);
    await at.stage.enqueueOne({ later: { delayMs: 5 } });
  });

  test("may set its sessions in the oddest way", async () => {
    const at = await place();
    const url = await urlOf(at);
    const options = [
      "default_transaction_isolation=serializable",
      "standard_conforming_strings=off",
      "escape_string_warning=off",
      "array_nulls=off",
      "datestyle=German",
      "bytea_output=escape",
      "extra_float_digits=-2",
      "timezone=Asia/Kathmandu",
      "row_security=off",
      "enable_indexscan=off",
      "enable_tidscan=off",
      "enable_nestloop=off",
      "quote_all_identifiers=on",
      "intervalstyle=sql_standard",
      "transform_null_equals=on",
      "from_collapse_limit=1",
      "join_collapse_limit=1",
    ]
      .map((one) => `-c ${one}`)
      .join(" ");
    const pool = new pg.Pool({ connectionString: url, options, max: 8 } as pg.PoolConfig);
    const storage = new PostgresStorage({
      pool,
      schema: at.schema,
      logger: silentLogger,
      clock: at.stage.clock,
    });
    await storage.open();
    const beat = { host: "h", pid: 1, lostAfterMs: 25_000, queues: [], holds: [], starts: [] };
    for (const id of ["p1", "p2", "p3", "p4"]) await storage.beat({ id, ...beat, first: true });
    for (let i = 0; i < 5; i += 1)
      await Promise.all(
        [1, 2, 3, 4].map(() =>
          storage.enqueue([
            Array.from({ length: 25 }, (_, n) =>
              newJob({ ...(n % 3 === 0 ? { later: { delayMs: 0 } } : {}), givenId: `g${Math.random()}` }),
            ),
          ]),
        ),
      );
    let n = 0;
    const seen = new Set<number>();
    await Promise.all(
      ["p1", "p2", "p3", "p4"].map(async (processId) => {
        for (let turn = 0; ; turn += 1) {
          const { jobs } = await storage.claim({
            processId,
            token: `${processId}.${turn}`,
            starts: [],
            queues: [{ queue: newJob({}).queue, names: [newJob({}).name], room: 10, readAhead: 0 }],
          });
          if (jobs.length === 0) break;
          for (const { id } of jobs) {
            expect(seen.has(id)).toBe(false);
            seen.add(id);
          }
          const results = await storage.settle(
            jobs.map(({ id, generation, token }, i) => ({
              lease: { id, generation, token },
              startedAt: 0,
              outcome:
                i % 4 === 0
                  ? {
                      state: "scheduled",
                      later: { delayMs: 10.123456789 },
                      attempt: "spent",
                      error: { name: "E", message: "x" },
                    }
                  : { state: "completed" },
            })),
          );
          expect(new Set(results)).toEqual(new Set(["settled"]));
          n += jobs.length;
        }
      }),
    );
    expect(n).toBe(500);
    await storage.close();
    await pool.end();
    await expectWhole(at);
  });
});

describe("a claim from very many queues", () => {
  test("takes time by their number, and not by its square", async () => {
    const at = await place();
    await at.stage.register("p1");
    const number = 6_000;
    await at.sql(
      "insert into $s.lane (queue, name) select 'q' || n, 'a' from generate_series(1, $1::int) as n",
      [number],
    );
    await at.sql("update $s.lane set paused = true where queue = 'q3'");
    const jobs = await at.stage.enqueue(
      ...["q2", "q3", "q5", "q5", "q6", `q${number}`].map((queue) => ({ queue })),
    );
    const queues = Array.from({ length: number }, (_, index) => {
      const queue = `q${index + 1}`;
      return queue === "q6"
        ? { queue, names: ["a"], room: 0, readAhead: 0 }
        : { queue, names: ["none", "a"], room: 1, readAhead: 0 };
    });
    const before = performance.now();
    const claimed = await at.stage.claim({ queues });
    // Squared, it is more than 20 s; else well under one.
    expect(performance.now() - before).toBeLessThan(8_000);
    expect(claimed.map(({ id, queue }) => [id, queue])).toEqual([
      [jobs[0], "q2"],
      [jobs[2], "q5"],
      [jobs[5], `q${number}`],
    ]);
    await expectWhole(at);
  });
});

describe("runs that return much and are followed by other jobs", () => {
  test("are settled in as many statements as a text can hold", async () => {
    const at = await place();
    await at.stage.register("p1");
    await at.stage.enqueue(...Array.from({ length: 20 }, () => ({})));
    const jobs = await at.stage.claim({ room: 20 });
    const result = JSON.stringify("y".repeat(1_048_570));
    const before = await transactions(at);
    const settlements = jobs.map(({ id, generation, token }) => ({
      lease: { id, generation, token },
      startedAt: 0,
      outcome: { state: "completed" as const, result },
      enqueue: [newJob({})],
    }));
    expect(await at.stage.storage.settle(settlements)).toEqual(jobs.map(() => "settled"));
    expect((await transactions(at)) - before).toBe(2);
    expect(await at.stage.count({ state: "available" })).toBe(20);
    await expectWhole(at);
  });

  /** How many transactions have ended runs: all of one bear the same mark. */
  async function transactions(at: Awaited<ReturnType<typeof place>>): Promise<number> {
    const [row] = await at.sql("select count(distinct xmin::text) from $s.finished");
    return Number(row?.[0]);
  }
});

describe("a claim that reaches the server after its caller has given it up", () => {
  test("does not keep its jobs for ever", async () => {
    const at = await place();
    const id = await at.stage.enqueueOne();
    await at.stage.register("p1");
    const direct = await urlOf(at);
    await using proxy = await TcpProxy.start(Number(new URL(direct).port));
    const url = proxy.url(direct);
    const far = await at.other({ url, deadlineMs: 300, liveness: () => 1_000_000 });
    await far.claim({ ...at.stage.request({ room: 0 }) });
    proxy.freeze("requests");
    // So that the server is not asked to cancel it.
    await proxy.refuse();
    await expect(far.claim(at.stage.request())).rejects.toThrow("did not answer");
    expect(await at.stage.listIds({ state: "running" })).toEqual([]);
    proxy.heal();
    await expect.poll(() => at.stage.state(id), { timeout: 10_000 }).toBe("running");
    // It does not name the lease, as a worker that knows nothing of it; the one that it names stays.
    const kept = await at.stage.enqueueOne();
    await at.stage.claimOne();
    const holds = [at.stage.leaseFor(kept)];
    await at.stage.register("p2");
    expect(await at.stage.rescue("p2")).toEqual([]);
    await at.stage.beat("p1", { holds });
    expect(await at.stage.rescue("p2")).toEqual([]);
    await at.stage.clock.advance(60_001);
    expect((await at.stage.beat("p1", { holds })).lost).toEqual([]);
    expect(await at.stage.rescue("p2")).toMatchObject([{ id, lostProcessId: "p1", started: false }]);
    expect((await at.stage.beat("p1", { holds })).lost).toEqual([]);
    await expectWhole(at);
  });
});
