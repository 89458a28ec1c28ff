import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import pg from "pg";
import { childrenOf, isRunning } from "../support/postgres/processes.ts";
import { postgres, startServer } from "../support/postgres/server.ts";

// Goal: what crash tests are built on is true: a server ends as it is told to, all of it, and what it has
// acknowledged is there when it is back on its port.

describe("the shared server", () => {
  it("gives databases that are each other's strangers", async () => {
    const { createDatabase, dropDatabase, query, url } = await postgres();
    const [one, other] = await Promise.all([createDatabase(), createDatabase()]);
    expect(new Set([url, one, other]).size).toBe(3);
    await connected(one, (client) => client.query("create table mine ()"));
    const tables = "select 1 from pg_class where relname = 'mine'";
    expect(await connected(one, (client) => client.query(tables))).toMatchObject({ rowCount: 1 });
    expect(await connected(other, (client) => client.query(tables))).toMatchObject({ rowCount: 0 });

    // Somebody may have stayed in it.
    const stays = new pg.Client(one);
    stays.on("error", () => undefined);
    await stays.connect();
    await Promise.all([dropDatabase(one), dropDatabase(other)]);
    await dropDatabase(one);
    const names = [one, other].map((database) => new URL(database).pathname.slice(1));
    expect(await query("select datname from pg_database where datname = any($1)", [names])).toEqual([]);
  });

  it("gives names for schemas without asking anybody, and has room for many connections", async () => {
    const { freshSchema, query } = await postgres();
    const names = Array.from({ length: 1_000 }, freshSchema);
    expect(new Set(names).size).toBe(1_000);
    expect(names.every((name) => /^[a-z][a-z0-9_]{0,40}$/.test(name))).toBe(true);
    const [row] = await query(
      `select current_setting('max_connections')::int as connections, current_setting('autovacuum') as vacuum,
              current_setting('synchronous_commit') as sync, current_setting('server_encoding') as encoding`,
    );
    expect(row).toEqual({ connections: expect.any(Number), vacuum: "on", sync: "on", encoding: "UTF8" });
    expect(row?.["connections"]).toBeGreaterThanOrEqual(300);
  });
});

describe("a private server", () => {
  it("keeps what it acknowledged over every way of ending, on its port, and says in its log how it ended", async () => {
    await using server = await startServer({ fsync: true });
    const { port, url } = server;
    expect(await server.query("show fsync")).toEqual([{ fsync: "on" }]);
    await server.query("create table kept (how text)");
    const hangUp = "Connection terminated unexpectedly";
    const crash = /was not properly shut down; automatic recovery/;
    // How it ends, what a client hears first, and what the log says.
    const ends: [string, () => Promise<void>, string, RegExp][] = [
      ["fast", () => server.stop(), "57P01", /database system was shut down at/],
      ["immediate", () => server.stop("immediate"), hangUp, crash],
      ["kill", () => server.kill(), hangUp, crash],
    ];
    for (const [how, end, heard, said] of ends) {
      const client = new pg.Client(url);
      const errors: string[] = [];
      client.on("error", (error: Error & { code?: string }) => errors.push(error.code ?? error.message));
      const gone = new Promise((resolve) => client.once("end", resolve));
      await client.connect();
      await client.query("insert into kept values ($1)", [how]);
      const pid = server.pid ?? 0;
      const all = [pid, ...childrenOf(pid)];
      expect(all.length).toBeGreaterThan(4);

      await end();
      await gone;
      expect(errors[0], `${errors.join()}\n${server.log()}`).toBe(heard);
      expect(all.filter(isRunning)).toEqual([]);
      expect(server.pid).toBeUndefined();
      await expect(server.query("select 1")).rejects.toThrow("ECONNREFUSED");
      await end();

      const logged = server.log().length;
      await server.start();
      await server.start();
      expect(server.log().slice(logged)).toMatch(said);
      expect([server.port, server.url]).toEqual([port, url]);
    }
    expect(await server.query("select how from kept")).toEqual(ends.map(([how]) => ({ how })));
  });

  it.runIf(process.platform === "linux")("leaves no shared memory behind when it is killed", async () => {
    await using server = await startServer();
    const pid = server.pid ?? 0;
    // The fifth column is the process that made the block.
    const blocks = (): number =>
      readFileSync("/proc/sysvipc/shm", "utf8")
        .split("\n")
        .filter((line) => line.trim().split(/\s+/)[4] === `${pid}`).length;
    expect(blocks()).toBe(1);
    // Its own folder may be there, and goes as a whole.
    expect(readFileSync(`/proc/${pid}/maps`, "utf8")).not.toMatch(/\/dev\/shm\/(?!jobwright-pg-)/);
    await server.kill();
    expect(blocks()).toBe(0);
  });

  it("takes settings, rules of access and the part of a standby", async () => {
    await using server = await startServer({
      settings: {
        max_connections: 170,
        default_transaction_isolation: "repeatable read",
        application_name: "it's",
      },
      hba: "host all postgres all trust\nhost all all all scram-sha-256",
      isStandby: true,
    });
    const settings = "select name, setting from pg_settings where name = any($1) order by 1";
    expect(
      await server.query(settings, [["max_connections", "default_transaction_isolation", "fsync"]]),
    ).toEqual([
      { name: "default_transaction_isolation", setting: "repeatable read" },
      { name: "fsync", setting: "off" },
      { name: "max_connections", setting: "170" },
    ]);
    await expect(server.query("create table t ()")).rejects.toMatchObject({ code: "25006" });
    await server.query("select pg_promote()");
    await server.query("create role guest login password 'right'");
    const as = (password: string): Promise<unknown> =>
      connected(server.url.replace("postgres@", `guest:${password}@`), (client) => client.query("select 1"));
    await expect(as("wrong")).rejects.toMatchObject({ code: "28P01" });
    await expect(as("right")).resolves.toMatchObject({ rowCount: 1 });
    const database = await server.createDatabase();
    await connected(database, (client) => client.query("create table t ()"));
    await server.dropDatabase(database);
    await expect(connected(database, () => Promise.resolve())).rejects.toMatchObject({ code: "3D000" });
  });

  it("says why it did not start, with its log", async () => {
    await expect(startServer({ settings: { max_connections: "many" } })).rejects.toThrow(
      /^PostgreSQL did not start:[\s\S]*invalid value for parameter "max_connections": "many"/,
    );
  });

  it("does not wait for sessions when it is stopped in the midst of work", async () => {
    await using server = await startServer();
    const client = new pg.Client(server.url);
    client.on("error", () => undefined);
    await client.connect();
    const sleeping = client.query("select pg_sleep(600)");
    const active = "select 1 from pg_stat_activity where wait_event = 'PgSleep'";
    await expect.poll(async () => (await server.query(active)).length, { timeout: 20_000 }).toBe(1);
    await Promise.all([expect(sleeping).rejects.toMatchObject({ code: "57P01" }), server.stop()]);
  });
});

async function connected<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
