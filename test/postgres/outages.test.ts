import { inspect } from "node:util";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { StorageClosedError, StorageRefusedError, StorageUnavailableError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import type { Queryable } from "../../src/storage/postgres/database.ts";
import { checkServer } from "../../src/storage/postgres/server.ts";
import { TcpProxy } from "../support/postgres/proxy.ts";
import { startServer } from "../support/postgres/server.ts";
import { errorOf, ONE, pidOf, SLEEP, stage, statement, until } from "./access-stage.ts";

// Goal: backends, connections and servers that go away are replaced or waited for by themselves; what
// cannot get better by waiting fails at once and says what to do.
// Method: servers of the test's own, killed, stopped, in recovery, full and locked; backends killed by name.

const the = stage();

describe("broken connections are replaced by themselves", () => {
  test.each(["url", "pool"] as const)("a backend killed while idle (%s)", async (kind) => {
    const on = the.database(kind === "url" ? { maxConnections: 1 } : { pool: the.pool({ max: 1 }) });
    const pid = await pidOf(on);
    await the.kill(pid);
    // The answer to the kill and the end of the connection come on different sockets, in either order.
    const again = await pidOf(on).catch(() => pidOf(on));
    expect(again).not.toBe(pid);
  });

  test.each(["url", "pool"] as const)("a backend killed in a statement (%s)", async (kind) => {
    const on = the.database(kind === "url" ? { maxConnections: 1 } : { pool: the.pool({ max: 1 }) });
    const pid = await pidOf(on);
    const failed = errorOf(on.query(SLEEP, []));
    await until(async () => {
      const rows = await the.server.query(
        "select 1 from pg_stat_activity where pid = $1 and state = 'active'",
        [pid],
      );
      return rows.length > 0;
    });
    await the.kill(pid);
    expect(await failed).toBeInstanceOf(StorageUnavailableError);
    expect(await pidOf(on)).not.toBe(pid);
  });

  test.each(["url", "pool"] as const)(
    "a backend killed in a transaction, between statements (%s)",
    async (kind) => {
      const on = the.database(kind === "url" ? { maxConnections: 1 } : { pool: the.pool({ max: 1 }) });
      const error = await errorOf(
        on.transaction(async (tx) => {
          await the.kill(await pidOf(tx));
          await tx.query(ONE, []);
        }),
      );
      expect(error).toBeInstanceOf(StorageUnavailableError);
      expect(await on.query(ONE, [])).toEqual([["1"]]);
    },
  );

  test("a backend that kills itself", async () => {
    const on = the.database({ maxConnections: 1 });
    const self = statement("select pg_terminate_backend(pg_backend_pid())");
    expect(await errorOf(on.query(self, []))).toBeInstanceOf(StorageUnavailableError);
    expect(await on.query(ONE, [])).toEqual([["1"]]);
  });

  test("all of them at once, under load, on both lines", async () => {
    const on = the.database({ maxConnections: 3 });
    let rounds = 0;
    const over = new AbortController();
    const others: Error[] = [];
    const load = async (line?: "claims"): Promise<void> => {
      while (!over.signal.aborted) {
        await on.query(ONE, [], line === undefined ? {} : { on: line }).then(
          () => (rounds += 1),
          (error: Error) => error instanceof StorageUnavailableError || others.push(error),
        );
      }
    };
    const loads = [load(), load(), load(), load(), load("claims")];
    const name = new URL(the.url).pathname.slice(1);
    for (let kills = 0; kills < 20; kills++) {
      const before = rounds;
      await the.server.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [
        name,
      ]);
      await until(() => rounds >= before + 20);
    }
    over.abort();
    await Promise.all(loads);
    expect(others).toEqual([]);
  });

  test("connections cut and reset on the way", async () => {
    await using proxy = await TcpProxy.start(Number(new URL(the.url).port));
    const on = the.database({ url: proxy.url(the.url), maxConnections: 1 });
    for (const fault of ["cut", "reset"] as const) {
      await on.query(ONE, []);
      const failed = errorOf(on.query(SLEEP, []));
      await until(() => proxy.connections.some((one) => one.passed("requests") > 0));
      proxy[fault]();
      expect(await failed, fault).toBeInstanceOf(StorageUnavailableError);
      expect(await on.query(ONE, []), fault).toEqual([["1"]]);
    }
  });

  test("the user's transaction that was left open in his pool never swallows a statement of ours", async () => {
    const users = the.pool({ max: 1 });
    const client = await users.connect();
    await client.query("create table kept (a int)");
    await client.query("begin");
    client.release();
    await the.database({ pool: users }).query(statement("insert into kept values (1)"), []);
    const seen = await the.database().query(statement("select a from kept"), []);
    expect(seen).toEqual([["1"]]);
  });
});

describe("open", () => {
  test("checks the server and is repeatable", async () => {
    const on = the.database();
    await on.open();
    await on.open();
    expect(on.lines).toEqual([]);
  });

  test.each([
    ["120017", StorageRefusedError, /PostgreSQL 12; jobwright needs 13/],
    ["90624", StorageRefusedError, /PostgreSQL 9; jobwright needs 13/],
  ])("refuses version %s", async (version, type, words) => {
    const fake: Queryable = { query: () => Promise.resolve([[version, "UTF8", "false", "on"]]) };
    const error = await errorOf(checkServer(fake, "postgres://x", silentLogger));
    expect(error).toBeInstanceOf(type);
    expect(error.message).toMatch(words);
  });

  test("takes version 13 and later", async () => {
    for (const version of ["130000", "150018", "180004"]) {
      const fake: Queryable = { query: () => Promise.resolve([[version, "UTF8", "false", "on"]]) };
      await expect(checkServer(fake, "postgres://x", silentLogger)).resolves.toBeUndefined();
    }
  });

  test("refuses a database that cannot hold every text", async () => {
    const name = new URL(await the.server.createDatabase()).pathname.slice(1);
    await the.server.query(
      `create database "${name}_latin" template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'`,
    );
    const latin = new URL(the.url);
    latin.pathname = `/${name}_latin`;
    const error = await errorOf(the.database({ url: latin.href }).open());
    await the.server.dropDatabase(latin.href);
    expect(error).toBeInstanceOf(StorageRefusedError);
    expect(error.message).toContain("LATIN1");
  });

  test("warns when the server acknowledges before it has written", async () => {
    const on = the.database({ pool: the.pool({ options: "-c synchronous_commit=off" }) });
    await on.open();
    expect(on.lines.join()).toContain("synchronous_commit");
  });

  test("fails at once on a database that does not exist", async () => {
    const wrong = new URL(the.url);
    wrong.pathname = "/nowhere";
    const error = await errorOf(the.database({ url: wrong.href }).open());
    expect(error).toBeInstanceOf(StorageRefusedError);
    expect(error.message).toContain("Create the database");
  });

  test("waits for a server that is away and comes back, and says so once", async () => {
    await using own = await startServer();
    await own.stop();
    const on = the.database({ url: own.url, random: Math.random });
    const opened = on.open();
    await until(() => on.lines.length > 0);
    await own.start();
    await opened;
    expect(on.lines).toHaveLength(1);
    expect(on.lines[0]).toContain("cannot be reached");
  });

  test("gives up waiting at its deadline, and when it is closed", async () => {
    const away = "postgres://bob:hunter22@127.0.0.1:1/app";
    const late = await errorOf(the.database({ url: away, deadlineMs: 300 }).open());
    expect(late).toBeInstanceOf(StorageUnavailableError);
    expect(inspect(late, { showHidden: true, depth: 9 })).not.toContain("hunter22");
    const on = the.database({ url: away });
    const failed = errorOf(on.open());
    await until(() => on.lines.length > 0);
    await on.close();
    expect(await failed).toBeInstanceOf(StorageClosedError);
  });

  test("waits for a standby that becomes the primary, and its writes are refused until then", async () => {
    await using standby = await startServer({ isStandby: true });
    const early = await errorOf(the.database({ url: standby.url, deadlineMs: 300 }).open());
    expect(early).toBeInstanceOf(StorageUnavailableError);
    expect(early.message).toContain("read-only standby");
    const on = the.database({ url: standby.url, maxConnections: 2 });
    const pids = await Promise.all([pidOf(on), pidOf(on)]);
    const write = statement("create table written (a int)");
    const error = await errorOf(on.query(write, []));
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.message).toContain("connect to the primary");
    const opened = on.open();
    await standby.query("select pg_promote()");
    await opened;
    await on.query(write, []);
    // Another server may be the primary now: none of the old connections is used again.
    for (const pid of await Promise.all([pidOf(on), pidOf(on)])) expect(pids).not.toContain(pid);
  });
});

describe("a server with passwords", () => {
  test("wrong password, role and rights are refused at once, and no secret is told", async () => {
    const hba =
      "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    await using own = await startServer({ hba });
    const secret = "p@ss/w:rd#22";
    await own.query(`create role bob login password '${secret}'`);
    const as = (user: string, password: string): string => {
      const given = new URL(own.url);
      return `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${given.port}/postgres`;
    };
    await the.database({ url: as("bob", secret) }).open();
    const users = the.pool({
      connectionString: undefined,
      host: "127.0.0.1",
      port: own.port,
      user: "bob",
      password: secret,
      database: "postgres",
    });
    const likeUsers = the.database({ pool: users, claimConnections: 1 });
    expect(await likeUsers.query(ONE, [], { on: "claims" })).toEqual([["1"]]);
    const client = await likeUsers.newClient();
    await new Promise((resolve, reject) =>
      client.connect((error) => (error ? reject(error) : resolve(client))),
    );
    await new Promise<void>((resolve) => client.end(resolve));
    const wrong = "wr@ng/p:ss#22";
    const failures = [
      await errorOf(the.database({ url: as("bob", wrong) }).open()),
      await errorOf(the.database({ url: as("nobody", wrong) }).open()),
      await errorOf(the.database({ pool: the.pool({ connectionString: as("bob", wrong) }) }).open()),
      await errorOf(
        the
          .database({
            pool: the.pool({
              connectionString: undefined,
              host: "127.0.0.1",
              port: own.port,
              user: "bob",
              password: wrong,
            }),
          })
          .open(),
      ),
      await errorOf(the.database({ url: `postgres://bob@127.0.0.1:${own.port}/postgres` }).open()),
      await errorOf(the.database({ url: as("bob", secret) }).query(statement("create schema jobwright"), [])),
      await errorOf(
        the.database({ url: as("bob", secret) }).query(statement("select 1 from jobwright.job"), []),
      ),
    ];
    for (const error of failures) {
      expect(error).toBeInstanceOf(StorageRefusedError);
      const everything = inspect(error, { showHidden: true, depth: 20, getters: true });
      for (const text of [secret, wrong]) {
        expect(everything).not.toContain(text);
        expect(everything).not.toContain(encodeURIComponent(text));
      }
    }
    expect(failures[5]?.message).toContain("Grant it the schema");
    expect(failures[6]?.message).toContain("jobwright migrate");
  });

  test("a server that quotes the password is not quoted", async () => {
    const quoting = new URL(the.url);
    quoting.password = "hunter-22";
    const on = the.database({ url: quoting.href });
    const error = await errorOf(on.query(statement("do $$ begin raise exception 'hunter-22'; end $$"), []));
    expect(error.message).toContain("refused a statement: … (P0001)");
    expect(inspect(error, { showHidden: true, depth: 20 })).not.toContain("hunter-22");
  });

  test("a server without a connection left is one that is unavailable", async () => {
    await using own = await startServer({
      settings: { max_connections: 5, superuser_reserved_connections: 0 },
    });
    const holders = new pg.Pool({ connectionString: own.url, max: 20 });
    holders.on("error", () => undefined);
    const held: pg.PoolClient[] = [];
    const takeAll = async (): Promise<never> => {
      for (;;) held.push(await holders.connect());
    };
    await expect(takeAll()).rejects.toThrow("too many clients");
    const error = await errorOf(the.database({ url: own.url }).query(ONE, []));
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.message).toContain("max_connections");
    for (const client of held) client.release();
    await holders.end();
  });
});

describe("a server that stops and starts", () => {
  test.each(["fast", "immediate", "kill"] as const)(
    "%s: calls fail with a typed error, then go on",
    async (how) => {
      await using own = await startServer();
      const on = the.database({ url: own.url, maxConnections: 2 });
      await on.open();
      const running = errorOf(on.query(SLEEP, []));
      await on.query(ONE, [], { on: "claims" });
      if (how === "kill") await own.kill();
      else await own.stop(how);
      expect(await running).toBeInstanceOf(StorageUnavailableError);
      expect(await errorOf(on.query(ONE, []))).toBeInstanceOf(StorageUnavailableError);
      await own.start();
      await until(() =>
        on.query(ONE, []).then(
          () => true,
          (error: unknown) => {
            expect(error).toBeInstanceOf(StorageUnavailableError);
            return false;
          },
        ),
      );
      expect(await on.query(ONE, [], { on: "claims" })).toEqual([["1"]]);
    },
  );
});
