import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { silentLogger } from "../../../src/logger.ts";
import { PostgresStorage } from "../../../src/storage/postgres/index.ts";
import { type LocalServer, startServer } from "../../support/postgres/server.ts";
import { size } from "../../support/size.ts";
import { beat, completed, dead, enqueue, job, request } from "./direct.ts";
import { figure, TIMEOUT_MS } from "./fleet.ts";
import { problemsIn } from "./server-log.ts";

// Goal: the user's own transactions keep the durability he has chosen, and so do our enqueues and ends of runs:
// only claims and beats do not wait for the disk, and nothing of that stays on a connection.
// Method: many claims among all other calls over a pool of the user, whose every connection is asked afterwards.
// Within the server a trigger that runs at the very commit writes down what the commit will wait for.

const CONNECTIONS = 4;

let server: LocalServer;

beforeAll(async () => {
  server = await startServer({ fsync: true });
});
afterAll(() => server[Symbol.asyncDispose]());

describe.each(["on", "local", "remote_write", "off"])(
  "synchronous_commit = %s",
  { timeout: TIMEOUT_MS },
  (chosen) => {
    it("is what it was on every connection of the pool, and what every lasting commit had", async () => {
      const claims = size(1_250, 25_000);
      const schema = `chosen_${chosen}`;
      const pool = new pg.Pool({
        connectionString: server.url,
        max: CONNECTIONS,
        options: `-c synchronous_commit=${chosen}`,
      });
      const storage = new PostgresStorage({ pool, schema, logger: silentLogger });
      await storage.open();
      await observe(schema);
      await storage.beat(beat("one", true));

      let made = 0;
      const work = async (): Promise<void> => {
        while (made < claims) {
          const nth = (made += 1);
          const { jobs } = await storage.claim(request("one", nth, 2));
          const [first, ...rest] = jobs;
          if (nth % 25 === 0) await enqueue(storage, job(nth), { ...job(nth), givenId: `${nth}` });
          if (nth % 50 === 1) await storage.beat({ ...beat("one", false), holds: jobs });
          if (first === undefined) continue;
          await storage.note(first, { checkpoint: { at: "1" } });
          await storage.settle([nth % 2 === 0 ? dead(first) : completed(first)]);
          made += 1;
          const next = await storage.exchange(rest.map(completed), request("one", claims + nth, 1));
          await storage.settle(next.claimed.jobs.map(completed));
        }
      };
      await Promise.all(Array.from({ length: 2 * CONNECTIONS }, work));

      const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => pool.connect()));
      for (const client of clients) {
        // Nothing else of ours stays on a session either; what begins with "transaction" is of this statement alone.
        const { rows } = await client.query<{ name: string; value: string }>(
          "select name, setting as value from pg_settings " +
            "where name = 'synchronous_commit' or (source = 'session' and name not like 'transaction%')",
        );
        expect(rows).toEqual([{ name: "synchronous_commit", value: chosen }]);
      }
      // What joins a transaction of the user leaves it as it was.
      const [client] = clients as [pg.PoolClient];
      await client.query("begin");
      await storage.enqueueIn(client, [job(0)]);
      const { rows } = await client.query<{ value: string }>(
        "select current_setting('synchronous_commit') as value",
      );
      expect(rows).toEqual([{ value: chosen }]);
      await client.query("commit");
      for (const one of clients) one.release();

      const lasting = await server.query(
        `select "table", setting, sum(n)::int as n from ${schema}.seen group by 1, 2`,
      );
      const settings = (table: string): unknown[] =>
        lasting.filter((row) => row["table"] === table).map((row) => row["setting"]);
      for (const table of ["job", "finished_ever", "attempt", "checkpoint", "given"]) {
        expect(settings(table), table).toEqual([chosen]);
      }
      // Claims alone write leases without waiting, and those that travel with an end wait with it.
      expect(new Set(settings("lease"))).toEqual(new Set(chosen === "off" ? ["off"] : ["off", chosen]));
      expect(settings("process")).toEqual(["off"]);
      await storage.close();
      await pool.end();
      expect(problemsIn(server.log(), [])).toEqual([]);
      figure(
        `durability: synchronous_commit stays ${chosen} on ${CONNECTIONS} connections after ${made} claims`,
      );
    });
  },
);

/** Have the server write down, at every commit, what it is about to wait for. */
async function observe(schema: string): Promise<void> {
  await server.query(`
    create table ${schema}.seen ("table" text not null, setting text not null, n int not null);
    create function ${schema}.see() returns trigger language plpgsql as $$ begin
      insert into ${schema}.seen values (tg_table_name, current_setting('synchronous_commit'), 1);
      return null;
    end $$`);
  for (const table of ["job", "attempt", "checkpoint", "given", "lease", "process", "finished_ever"]) {
    await server.query(
      `create constraint trigger see after insert or update or delete on ${schema}.${table} ` +
        `deferrable initially deferred for each row execute function ${schema}.see()`,
    );
  }
}
