import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LocalServer, startServer } from "../../support/postgres/server.ts";
import { randomFrom, seed, size } from "../../support/size.ts";
import { buildMembers, figure, Fleet, type Member, type MemberOptions, pause, TIMEOUT_MS } from "./fleet.ts";
import { TransactionPooler } from "./pooler.ts";
import { type Allowed, GIVEN_UP } from "./server-log.ts";

// Goal: whatever narrow set-up the owner of a database has chosen, work goes on, with nothing lost or done twice:
// one connection for everything, statements that are stopped, transactions that are refused, a pooler.
// Method: processes under load on one server, each test in a schema and with a role of its own.

let server: LocalServer;
let random: () => number;

beforeAll(async () => {
  await buildMembers();
  server = await startServer({ fsync: true, settings: { deadlock_timeout: "100ms" } });
  random = randomFrom(seed("tight"));
});
afterAll(() => server[Symbol.asyncDispose]());

/** A role that may do everything, with settings of its own. */
async function role(name: string, settings: Readonly<Record<string, string>>): Promise<string> {
  await server.query(`create role ${name} superuser login`);
  for (const [setting, value] of Object.entries(settings)) {
    await server.query(`alter role ${name} set ${setting} = '${value}'`);
  }
  const url = new URL(server.url);
  url.username = name;
  return url.href;
}

const spawner = (options: MemberOptions = {}): [string, MemberOptions] => [
  "spawner",
  { seed: Math.floor(random() * 2 ** 31), paceMs: 20, fail: 0.2, ...options },
];

const TERMINATED: Allowed = {
  text: /FATAL: {2}terminating connection due to administrator command/,
  why: "the test terminates backends",
};

describe("a database with little room", { timeout: TIMEOUT_MS }, () => {
  it("one connection for claims, ends, enqueues and handlers, which breaks now and then", async () => {
    const kills = size(2, 30);
    await using fleet = new Fleet(server, { schema: "one_connection" });
    await server.query("create table effect (job bigint not null)");
    const pool = { connectionString: server.url, max: 1, application_name: "narrow" };
    const [first, ...workers] = await fleet.launchAll(
      spawner({ plainPool: pool, transact: 0.2 }),
      ["worker", { pool }],
      ["worker", { pool }],
    );
    for (let n = 0; n < kills; n += 1) {
      await fleet.progress(20);
      await server.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'narrow'",
      );
    }
    await fleet.progress(20);
    await fleet.finish([first as Member], workers);
    const { problems, acknowledged, runs } = await fleet.judge({ allowed: [TERMINATED, ...GIVEN_UP] });
    expect(problems).toEqual([]);
    const twice = await server.query("select job from effect group by job having count(*) > 1");
    expect(twice).toEqual([]);
    figure(`one connection a process, broken ${kills} times: ${acknowledged} jobs completed in ${runs} runs`);
  });

  it("statement_timeout of the role", async () => {
    const waits = size(1, 20);
    const url = await role("timed", { statement_timeout: "300ms" });
    await using fleet = new Fleet(server, { schema: "timed", url });
    const [first, ...workers] = await fleet.launchAll(spawner(), ["worker"], ["worker"]);
    const locker = new pg.Client(server.url);
    locker.on("error", () => undefined);
    await locker.connect();
    for (let n = 0; n < waits; n += 1) {
      await fleet.progress(20);
      // Everybody waits behind this for longer than the role may. Of two tables, locked one after the other, others
      // could hold the second and wait for the first.
      await locker.query("begin; lock table timed.job in access exclusive mode");
      await pause(900);
      await locker.query("rollback");
    }
    await locker.end();
    await fleet.progress(20);
    await fleet.finish([first as Member], workers);
    const stopped: Allowed = {
      text: /ERROR: {2}canceling statement due to statement timeout/,
      why: "that is the test",
    };
    const { problems, acknowledged, runs } = await fleet.judge({ allowed: [stopped] });
    expect(problems).toEqual([]);
    const n = fleet.log().split("canceling statement due to statement timeout").length - 1;
    expect(n).toBeGreaterThan(waits);
    figure(`statement_timeout: ${n} statements stopped, ${acknowledged} jobs completed in ${runs} runs`);
  });

  it("SERIALIZABLE by default, with transactions refused besides", async () => {
    const url = await role("strict", { default_transaction_isolation: "serializable" });
    await using fleet = new Fleet(server, { schema: "strict", url });
    await fleet.withStorage(() => Promise.resolve());
    await server.query(`
      create function strict.refuse() returns trigger language plpgsql as $$ begin
        if random() < 0.05 and current_user = 'strict' then
          raise 'refused by the test' using errcode = 'serialization_failure';
        end if;
        return null;
      end $$`);
    for (const table of ["job", "ready", "lease", "process"]) {
      await server.query(
        `create trigger refuse after insert or update or delete on strict.${table} for each statement execute function strict.refuse()`,
      );
    }
    const [first, ...workers] = await fleet.launchAll(spawner({ writers: 4 }), ["worker"], ["worker"]);
    await fleet.progress(size(200, 4_000));
    await fleet.finish([first as Member], workers);
    const refused: readonly Allowed[] = [
      { text: /ERROR: {2}refused by the test/, why: "that is the test" },
      { text: /ERROR: {2}could not serialize access/, why: "what SERIALIZABLE is for" },
    ];
    const { problems, acknowledged, runs } = await fleet.judge({ allowed: refused });
    expect(problems).toEqual([]);
    const [forced, natural] = ["refused by the test", "could not serialize access"].map(
      (text) => fleet.log().split(`ERROR:  ${text}`).length - 1,
    );
    expect(forced).toBeGreaterThan(5);
    figure(
      `SERIALIZABLE: ${forced} transactions refused by the test and ${natural} by the server, ` +
        `${acknowledged} jobs completed in ${runs} runs`,
    );
  });

  it("a pooler in transaction mode: no prepared statements, no LISTEN, and each says so once", async () => {
    await using pooler = await TransactionPooler.start(server.port, 4);
    await using fleet = new Fleet(server, { schema: "pooled", url: pooler.url(server.url) });
    const [first, ...workers] = await fleet.launchAll(spawner({ writers: 4 }), ["worker"], ["worker"]);
    await fleet.progress(size(200, 4_000));
    const said = (text: string): string[] =>
      fleet
        .entries()
        .flatMap((entry) => (entry.what === "line" && entry.text.includes(text) ? [entry.by] : []));
    await fleet.until("both workers have found that LISTEN does not work", () => said("LISTEN").length >= 2);
    await fleet.finish([first as Member], workers);
    const unprepared: Allowed = {
      text: /ERROR: {2}prepared statement ".*" (?:does not exist|already exists)/,
      why: "that is how a process learns of the pooler",
    };
    const { problems, acknowledged, runs } = await fleet.judge({ allowed: [unprepared] });
    expect(problems).toEqual([]);
    for (const text of ["forgets prepared statements", "LISTEN does not work here"]) {
      expect(new Set(said(text)).size, text).toBe(said(text).length);
    }
    expect(said("forgets prepared statements").length).toBeGreaterThan(0);
    expect(pooler.changes).toBeGreaterThan(100);
    figure(
      `transaction-mode pooler: ${pooler.changes} changes of hands of 4 connections, ` +
        `${acknowledged} jobs completed in ${runs} runs`,
    );
  });
});
