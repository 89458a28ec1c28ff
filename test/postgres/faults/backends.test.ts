import pg from "pg";
import { beforeAll, describe, expect, it } from "vitest";
import { TcpProxy } from "../../support/postgres/proxy.ts";
import { startServer } from "../../support/postgres/server.ts";
import { randomFrom, seed, size } from "../../support/size.ts";
import { buildMembers, figure, Fleet, type Member, shown, TIMEOUT_MS } from "./fleet.ts";
import { type Allowed, GIVEN_UP } from "./server-log.ts";

// Goal: whichever backend is terminated at whatever moment, nothing acknowledged is lost, no job is completed
// twice, a transaction of the user and the job that completes in it have one fate, and work goes on.
// Method: processes under load; each kind of connection is terminated at each moment it can be in. Where a
// moment is too short to be met, a lock or a delay on the way makes it longer.

const ALLOWED: readonly Allowed[] = [
  { text: /FATAL: {2}terminating connection due to administrator command/, why: "that is the test" },
  ...GIVEN_UP,
];

/** How a kind of connection is told from the others: by its name and by what it was last asked. */
const KINDS = {
  claims: String.raw`application_name = 'jobwright' and query ~ '\.(claim|exchange|beat)\('`,
  listen: `application_name = 'jobwright' and (query like 'listen %' or query = 'select 1')`,
  pool: String.raw`application_name = 'jobwright' and query !~ '\.(claim|exchange|beat)\(' and query not like 'listen %' and query <> 'select 1'`,
  user: `application_name = 'app'`,
} as const;

type Kind = keyof typeof KINDS;
type Moment = "idle" | "active" | "idle in transaction";

/** Claims are single statements, and who listens asks nothing that takes time. */
const MOMENTS: readonly (readonly [Kind, Moment])[] = [
  ["claims", "idle"],
  ["claims", "active"],
  ["listen", "idle"],
  ["pool", "idle"],
  ["pool", "active"],
  ["pool", "idle in transaction"],
  ["user", "idle"],
  ["user", "active"],
  ["user", "idle in transaction"],
];

beforeAll(buildMembers);

describe("backends that are terminated under load", { timeout: TIMEOUT_MS }, () => {
  it("are replaced, whatever they were for and whatever they did", async () => {
    const rounds = size(1, 10);
    const random = randomFrom(seed("backends"));
    await using server = await startServer({ fsync: true });
    await using proxy = await TcpProxy.start(server.port);
    await using fleet = new Fleet(server, { url: proxy.url(server.url) });
    await server.query("create table effect (job bigint not null)");
    // Connections that stay: making one takes longer than many a moment. Who holds a lock is in a transaction,
    // and sees the others as they were when it first looked.
    const [killer, locker] = [new pg.Client(server.url), new pg.Client(server.url)];
    for (const client of [killer, locker]) {
      client.on("error", () => undefined);
      await client.connect();
    }
    const application = { connectionString: server.url, max: 5, application_name: "app" };
    const plainPool = { connectionString: fleet.url, max: 5, application_name: "jobwright" };
    const [spawner, ...workers] = await fleet.launchAll(
      ["spawner", { seed: Math.floor(random() * 2 ** 31), transact: 0.3, fail: 0.3, paceMs: 20 }],
      ["worker", { application }],
      ["worker", { application, plainPool }],
    );
    const terminate = async (kind: Kind, moment: Moment): Promise<number> => {
      const { rows } = await killer.query<{ ended: boolean }>(
        `select pg_terminate_backend(pid) as ended from pg_stat_activity where state = $1 and ${KINDS[kind]}`,
        [moment],
      );
      return rows.filter(({ ended }) => ended).length;
    };
    let terminated = 0;
    const met = async (kind: Kind, moment: Moment): Promise<void> => {
      await fleet.until(`a connection of ${kind} is ${moment}`, async () => {
        const n = await terminate(kind, moment);
        terminated += n;
        return n > 0;
      });
    };
    for (let round = 0; round < rounds; round += 1) {
      for (const [kind, moment] of MOMENTS) {
        if (moment === "active" && kind !== "user") {
          // Whatever touches a job waits behind this, within its statement.
          await locker.query("begin; lock table jobwright.job in access exclusive mode");
          await met(kind, moment);
          await locker.query("rollback");
        } else {
          if (kind === "pool" && moment === "idle in transaction") proxy.delay(20);
          await met(kind, moment);
          proxy.heal();
        }
        await fleet.progress(15);
      }
      const all = await killer.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name in ('jobwright', 'app')",
      );
      terminated += all.rows.length;
      fleet.note("back");
      await fleet.allAtWork();
    }
    await fleet.finish([spawner as Member], workers);
    for (const client of [killer, locker]) await client.end();

    const { problems, acknowledged, runs, recoveredMs, linesPerSecond } = await fleet.judge({
      allowed: ALLOWED,
    });
    expect(problems).toEqual([]);
    const effects = await server.query("select job::text, count(*)::int as n from effect group by job");
    const transacted = await server.query(
      "select id::text from jobwright.finished where (payload::json ->> 'transact')::boolean and state = 7",
    );
    // Every job that completed in a transaction has its row, once; and no other job has one.
    const rows = new Map(effects.map((row) => [row["job"], row["n"]]));
    expect(transacted.filter(({ id }) => rows.get(id) !== 1)).toEqual([]);
    expect(rows.size).toBe(transacted.length);
    expect(transacted.length).toBeGreaterThan(10);
    figure(
      `backends: ${terminated} terminated (${rounds} × each kind at each moment, and all at once), ${acknowledged} ` +
        `jobs acknowledged and completed in ${runs} runs, ${rows.size} of them in a transaction with exactly one row; ` +
        `every process at work at most ${shown(recoveredMs)} after all were gone; ` +
        `at most ${linesPerSecond} lines said in a second by a process`,
    );
  });
});
