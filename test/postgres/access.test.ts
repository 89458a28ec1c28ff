import { Socket } from "node:net";
import pg from "pg";
import { describe, expect, test } from "vitest";
import {
  InvalidOptionError,
  StorageClosedError,
  StorageRefusedError,
  StorageUnavailableError,
} from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import {
  Database,
  type DatabaseOptions,
  type PgPool,
  type Queryable,
} from "../../src/storage/postgres/database.ts";
import { loadPg } from "../../src/storage/postgres/pg.ts";
import { TcpProxy } from "../support/postgres/proxy.ts";
import { errorOf, ONE, PID, pidOf, SLEEP, stage, statement, until } from "./access-stage.ts";

// Goal: every call on a database ends, with an answer or a typed error, whatever becomes of its connection.
// Method: a real server, and a proxy in between where the network is to blame.

const the = stage();

describe("options", () => {
  test("want exactly one of a URL and a pool", () => {
    const rest = { label: "x", logger: silentLogger };
    expect(() => new Database(rest)).toThrow(InvalidOptionError);
    expect(() => new Database({ ...rest, url: the.url, pool: the.pool() })).toThrow(/exactly one/);
  });

  test("a pool of `pg` is one by its type, and nothing else is taken for one", () => {
    const fits: PgPool = the.pool();
    expect(() => the.database({ pool: fits })).not.toThrow();
    for (const wrong of [new pg.Client(the.url), {}, null, () => undefined, "postgres://x/y"]) {
      expect(() => the.database({ pool: wrong as PgPool })).toThrow(InvalidOptionError);
    }
    expect(() => the.database({ pool: Object.assign(the.pool(), { options: { binary: true } }) })).toThrow(
      /as text/,
    );
  });

  test("numbers have to make sense", () => {
    const odd: Partial<DatabaseOptions>[] = [
      { maxConnections: 0 },
      { maxConnections: 1.5 },
      { claimConnections: -1 },
      { deadlineMs: 0 },
      { deadlineMs: 2 ** 31 },
      { deadlineMs: Number.NaN },
    ];
    for (const options of odd) expect(() => the.database(options)).toThrow(InvalidOptionError);
  });

  test("a missing package is named with the command that installs it", async () => {
    const missing = Object.assign(new Error("Cannot find package 'pg' imported from /x.js"), {
      code: "ERR_MODULE_NOT_FOUND",
    });
    await expect(loadPg(() => Promise.reject(missing))).rejects.toThrow("npm install pg");
    const broken = new Error("syntax");
    await expect(loadPg(() => Promise.reject(broken))).rejects.toBe(broken);
  });
});

describe("statements", () => {
  test("answer rows of text, whatever parsers the pool's owner has set", async () => {
    const types = { getTypeParser: () => () => "parsed" };
    for (const options of [{}, { pool: the.pool({ types }) }]) {
      const rows = await the
        .database(options)
        .query(
          statement("select 1::bigint, true, null::text, '{\"a\":1}'::jsonb, $1::text, $2::float8, $3::bool"),
          ["text", 1.5, false],
        );
      expect(rows).toEqual([["1", "t", null, '{"a": 1}', "text", "1.5", "f"]]);
    }
  });

  test("may be as long as anybody's patience allows", async () => {
    const [row] = await the
      .database()
      .query(statement("select length($1::text), $1::text"), ["x".repeat(67_108_864)]);
    expect([row?.[0], row?.[1]?.length]).toEqual(["67108864", 67_108_864]);
  });

  test("that the server stops by itself are told as such", async () => {
    const on = the.database({ pool: the.pool({ max: 1, options: "-c statement_timeout=50" }) });
    const pid = await pidOf(on);
    const error = await errorOf(on.query(SLEEP, []));
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.message).toContain("statement_timeout");
    expect(await pidOf(on)).toBe(pid);
  });

  test("that the pool's own query_timeout gave up do not leave a busy connection behind", async () => {
    const on = the.database({ pool: the.pool({ max: 1, query_timeout: 50 }) });
    const pid = await pidOf(on);
    expect(await errorOf(on.query(SLEEP, []))).toBeInstanceOf(StorageUnavailableError);
    expect(await pidOf(on)).not.toBe(pid);
  });

  test("are prepared once in a connection", async () => {
    const on = the.database({ maxConnections: 1 });
    for (let i = 0; i < 5; i++) await on.query(ONE, []);
    const known = statement("select count(*) from pg_prepared_statements where name = $1::text");
    expect(await on.query(known, [ONE.name])).toEqual([["1"]]);
    const not = the.database({ maxConnections: 1, prepare: false });
    await not.query(ONE, []);
    expect(await not.query(known, [ONE.name])).toEqual([["0"]]);
  });

  test("that the server refuses leave the connection as it was", async () => {
    const on = the.database({ maxConnections: 1 });
    const pid = await pidOf(on);
    expect(await errorOf(on.query(statement("select 1 / 0"), []))).toBeInstanceOf(StorageRefusedError);
    expect(await pidOf(on)).toBe(pid);
  });

  test("go on without being prepared when they are lost, and the log says so once", async () => {
    for (const lose of ["deallocate all", "discard all"]) {
      const on = the.database({ maxConnections: 1 });
      await on.query(ONE, []);
      await on.query({ name: "", text: lose }, []);
      expect(await on.query(ONE, [])).toEqual([["1"]]);
      await on.query({ name: "", text: lose }, []);
      expect(await on.query(ONE, [])).toEqual([["1"]]);
      expect(on.lines.filter((line) => line.includes("forgets prepared statements"))).toHaveLength(1);
    }
  });

  test("go on without being prepared when another has taken their name, also within a transaction", async () => {
    const users = the.pool({ max: 1 });
    await users.query(`prepare "${ONE.name}" as select 2`);
    expect(await the.database({ pool: users }).query(ONE, [])).toEqual([["1"]]);
    let runs = 0;
    const rows = await the.database({ pool: users }).transaction((tx) => {
      runs += 1;
      return tx.query(ONE, []);
    });
    expect([rows, runs]).toEqual([[["1"]], 2]);
  });

  test("are prepared anew when a migration has changed what they answer", async () => {
    const on = the.database({ maxConnections: 1 });
    const select = statement("select * from changing");
    await on.query(statement("create table changing (a int)"), []);
    await on.query(statement("insert into changing values (1)"), []);
    expect(await on.query(select, [])).toEqual([["1"]]);
    await the.server.query("select 1");
    await on.query(statement("alter table changing add b int default 2"), []);
    expect(await on.query(select, [])).toEqual([["1", "2"]]);
    expect(on.lines).toEqual([]);
  });

  test("never change a session", async () => {
    const users = the.pool({ max: 1 });
    const settings = async (): Promise<unknown> =>
      (await users.query("select name, setting from pg_settings order by name")).rows;
    const before = await settings();
    const on = the.database({ pool: users });
    await on.open();
    await on.query(ONE, []);
    await on.transaction((tx) => tx.query(ONE, []));
    expect(await settings()).toEqual(before);
  });
});

describe("deadlines", () => {
  test("end a statement, and its work in the server", async () => {
    const on = the.database({ maxConnections: 1 });
    const pid = await pidOf(on);
    const error = await errorOf(on.query(SLEEP, [], { deadlineMs: 50 }));
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.message).toContain("50 ms");
    await until(async () => !(await the.isAlive(pid)));
    expect(await pidOf(on)).not.toBe(pid);
  });

  test("cover the wait for a connection, and waiters that gave up take none later", async () => {
    const users = the.pool({ max: 1 });
    const held = await users.connect();
    const on = the.database({ pool: users });
    const error = await errorOf(on.query(ONE, [], { deadlineMs: 30 }));
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.message).toContain("no connection to give");
    held.release();
    expect(await on.query(ONE, [])).toEqual([["1"]]);
    expect([users.totalCount, users.idleCount, users.waitingCount]).toEqual([1, 1, 0]);
  });

  test("bound how many wait", async () => {
    const users = the.pool({ max: 1 });
    const on = the.database({ pool: users });
    await on.query(ONE, []);
    const held = await users.connect();
    const waiting = Array.from({ length: 1_000 }, () => on.query(ONE, []));
    expect((await errorOf(on.query(ONE, []))).message).toContain("1000 calls wait");
    held.release();
    expect((await Promise.all(waiting)).flat()).toHaveLength(1_000);
    expect(await on.query(ONE, [])).toEqual([["1"]]);
  });

  test("end a transaction whose body waits for something else", async () => {
    const on = the.database({ maxConnections: 1 });
    let pid = 0;
    const error = await errorOf(
      on.transaction(
        async (tx) => {
          pid = await pidOf(tx);
          await new Promise(() => undefined);
        },
        { deadlineMs: 300 },
      ),
    );
    expect(error).toBeInstanceOf(StorageUnavailableError);
    await until(async () => !(await the.isAlive(pid)));
    expect(await on.query(ONE, [])).toEqual([["1"]]);
  });

  test("end calls on half-open connections, and the connections beside them are not trusted either", async () => {
    await using proxy = await TcpProxy.start(Number(new URL(the.url).port));
    const on = the.database({ url: proxy.url(the.url), maxConnections: 3 });
    const both = [on.query(statement("select pg_sleep(0.2)"), []), on.query(ONE, []), on.query(PID, [])];
    await Promise.all(both);
    const before = proxy.taken;
    expect(before).toBe(3);
    // What is open now is dead, without a word; what is opened from now on is well.
    for (const connection of proxy.connections) connection.freeze();
    expect(await errorOf(on.query(ONE, [], { deadlineMs: 50 }))).toBeInstanceOf(StorageUnavailableError);
    expect(await Promise.all([on.query(ONE, []), on.query(ONE, []), on.query(ONE, [])])).toHaveLength(3);
    expect(on.lines).toEqual([]);
  });

  test("end calls when only answers are lost, also while connecting", async () => {
    await using proxy = await TcpProxy.start(Number(new URL(the.url).port));
    const on = the.database({ url: proxy.url(the.url), maxConnections: 1 });
    proxy.freeze("answers");
    expect(await errorOf(on.query(ONE, [], { deadlineMs: 50 }))).toBeInstanceOf(StorageUnavailableError);
    proxy.heal();
    expect(await on.query(ONE, [])).toEqual([["1"]]);
    proxy.freeze("answers");
    expect(await errorOf(on.query(ONE, [], { deadlineMs: 50 }))).toBeInstanceOf(StorageUnavailableError);
    proxy.heal();
    expect(await on.query(ONE, [])).toEqual([["1"]]);
  });
});

describe("transactions", () => {
  const table = async (on: Database): Promise<void> =>
    void (await on.query(statement("create table if not exists numbers (n int primary key, of int)"), []));
  const numbers = async (on: Database): Promise<unknown> =>
    (await on.query(statement("select n from numbers order by n"), [])).flat();
  const insert = statement("insert into numbers values ($1::int, 0)");

  test("take effect together, or not at all", async () => {
    const on = the.database({ url: await the.server.createDatabase() });
    await table(on);
    const answer = await on.transaction(async (tx) => {
      await tx.query(insert, [1]);
      await tx.query(insert, [2]);
      return "done";
    });
    expect([answer, await numbers(on)]).toEqual(["done", ["1", "2"]]);
    const reason = new Error("mine");
    const failed = on.transaction(async (tx) => {
      await tx.query(insert, [3]);
      throw reason;
    });
    await expect(failed).rejects.toBe(reason);
    const refused = on.transaction(async (tx) => {
      await tx.query(insert, [4]);
      await tx.query(insert, [1]);
    });
    await expect(refused).rejects.toBeInstanceOf(StorageRefusedError);
    expect(await numbers(on)).toEqual(["1", "2"]);
  });

  test("that were taken back leave the connection as it was", async () => {
    const on = the.database({ maxConnections: 1 });
    const pid = await pidOf(on);
    const failed = on.transaction(async (tx) => {
      await tx.query(ONE, []);
      throw new Error("mine");
    });
    await expect(failed).rejects.toThrow("mine");
    expect(await pidOf(on)).toBe(pid);
  });

  test("are not said to have succeeded when the body ignored a failure", async () => {
    const on = the.database({ url: await the.server.createDatabase() });
    await table(on);
    const failed = on.transaction(async (tx) => {
      await tx.query(insert, [1]);
      await tx.query(insert, [1]).catch(() => undefined);
    });
    await expect(failed).rejects.toBeInstanceOf(StorageRefusedError);
    expect(await numbers(on)).toEqual([]);
  });

  test("refuse statements after their end", async () => {
    const on = the.database();
    let kept: Queryable | undefined;
    await on.transaction((tx) => Promise.resolve((kept = tx)));
    await expect(kept?.query(ONE, [])).rejects.toThrow(/is over/);
  });

  test("read what others have committed, whatever the default of the database", async () => {
    const own = await the.server.createDatabase();
    const name = new URL(own).pathname.slice(1);
    await the.server.query(`alter database "${name}" set default_transaction_isolation = 'serializable'`);
    const [level] = await the
      .database({ url: own })
      .transaction((tx) => tx.query(statement("select current_setting('transaction_isolation')"), []));
    expect(level).toEqual(["read committed"]);
  });

  test("are run again after a deadlock, until all are through", async () => {
    const on = the.database({
      url: await the.server.createDatabase(),
      maxConnections: 4,
      random: Math.random,
    });
    await table(on);
    for (const n of [1, 2]) await on.query(insert, [n]);
    const add = statement("update numbers set of = of + 1 where n = $1::int");
    let runs = 0;
    const both = (first: number, second: number): Promise<void> =>
      on.transaction(async (tx) => {
        runs += 1;
        await tx.query(statement("set local deadlock_timeout = '5ms'"), []);
        await tx.query(add, [first]);
        await tx.query(statement("select pg_sleep(0.02)"), []);
        await tx.query(add, [second]);
      });
    await Promise.all([both(1, 2), both(2, 1), both(1, 2), both(2, 1)]);
    expect(runs).toBeGreaterThan(4);
    expect(await on.query(statement("select n, of from numbers order by n"), [])).toEqual([
      ["1", "4"],
      ["2", "4"],
    ]);
  });

  test("and statements alone are repeated after a serialization failure, but not for ever", async () => {
    const on = the.database({ url: await the.server.createDatabase() });
    await on.query(statement("create sequence tries"), []);
    const fail = statement(`do $$ begin
      if nextval('tries') < 5 then raise exception 'again' using errcode = '40001'; end if;
    end $$`);
    await on.query(fail, []);
    expect(await on.query(statement("select last_value from tries"), [])).toEqual([["5"]]);
    const never = statement(`do $$ begin
      perform nextval('tries'); raise exception 'again' using errcode = '40P01';
    end $$`);
    expect(await errorOf(on.query(never, []))).toBeInstanceOf(StorageUnavailableError);
    expect(await on.query(statement("select last_value from tries"), [])).toEqual([["17"]]);
  });

  test("whose commit got no answer are told as such, whether or not it took effect", async () => {
    const own = await the.server.createDatabase();
    await using proxy = await TcpProxy.start(Number(new URL(own).port));
    const on = the.database({ url: proxy.url(own), maxConnections: 1 });
    await table(on);
    const failed = on.transaction(async (tx) => {
      await tx.query(insert, [1]);
      // The commit reaches the server, its answer nobody.
      proxy.freeze("answers");
      const [connection] = proxy.connections;
      const before = connection?.passed("requests") ?? 0;
      void until(() => (connection?.passed("requests") ?? 0) > before).then(() => proxy.reset());
    });
    expect(await errorOf(failed)).toBeInstanceOf(StorageUnavailableError);
    proxy.heal();
    await until(async () => ((await numbers(on)) as string[]).length === 1);
  });
});

describe("claims", () => {
  test("have a connection of their own from a URL, which no flood of enqueues can take", async () => {
    const on = the.database({ maxConnections: 1 });
    let isFlooded = true;
    const flood = errorOf(on.query(SLEEP, [], { deadlineMs: 1_000 })).finally(() => (isFlooded = false));
    expect(await on.query(ONE, [], { on: "claims" })).toEqual([["1"]]);
    expect(isFlooded).toBe(true);
    await flood;
  });

  test("use the user's pool, or connections made like its own where that is asked for", async () => {
    const users = the.pool({ max: 1 });
    await pidOf(the.database({ pool: users }));
    const pid = await pidOf(the.database({ pool: users }));
    const shared = await the.database({ pool: users }).query(PID, [], { on: "claims" });
    expect(shared).toEqual([[String(pid)]]);
    const own = await the.database({ pool: users, claimConnections: 1 }).query(PID, [], { on: "claims" });
    expect(own).not.toEqual([[String(pid)]]);
    expect(users.totalCount).toBe(1);
  });
});

describe("close", () => {
  test("lets calls under way end, ends its own connections, and refuses the rest", async () => {
    const own = await the.server.createDatabase();
    const on = the.database({ url: own });
    await on.query(ONE, [], { on: "claims" });
    const running = [
      on.query(statement("select pg_sleep(0.1)"), []),
      on.query(statement("select pg_sleep(0.1)"), [], { on: "claims" }),
    ];
    await Promise.resolve();
    await Promise.all([on.close(), on.close()]);
    expect(await Promise.all(running)).toEqual([[[""]], [[""]]]);
    expect(await the.connectionsTo(own)).toBe(0);
    expect(await errorOf(on.query(ONE, []))).toBeInstanceOf(StorageClosedError);
    expect(await errorOf(on.transaction(() => Promise.resolve()))).toBeInstanceOf(StorageClosedError);
    expect(await errorOf(on.open())).toBeInstanceOf(StorageClosedError);
  });

  test("is fine when nothing was opened", async () => {
    await expect(the.database().close()).resolves.toBeUndefined();
  });

  test("leaves the user's pool open, and without listeners of ours", async () => {
    const users = the.pool();
    const listeners = (): number[] => ["error", "connect"].map((event) => users.listenerCount(event));
    const before = listeners();
    const on = the.database({ pool: users });
    await on.query(ONE, []);
    await on.close();
    expect((await users.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    expect(listeners()).toEqual(before);
    const client = await users.connect();
    expect(client.listenerCount("error")).toBe(0);
    client.release();
  });

  test("ends half-open connections as well", async () => {
    await using proxy = await TcpProxy.start(Number(new URL(the.url).port));
    const sockets: Socket[] = [];
    const stream = (): Socket => {
      const socket = new Socket();
      sockets.push(socket);
      return socket;
    };
    const users = the.pool({ connectionString: proxy.url(the.url), stream });
    const on = the.database({ pool: users, claimConnections: 1 });
    await on.query(ONE, [], { on: "claims" });
    expect(sockets.map((socket) => socket.destroyed)).toEqual([false]);
    proxy.freeze();
    await on.close();
    expect(sockets.map((socket) => socket.destroyed)).toEqual([true]);
  });

  test("a pool that its owner closes is told as such", async () => {
    const users = the.pool();
    const on = the.database({ pool: users });
    await on.query(ONE, []);
    await users.end();
    for (const error of [
      await errorOf(on.query(ONE, [])),
      await errorOf(on.transaction((tx) => tx.query(ONE, []))),
      await errorOf(on.open()),
    ]) {
      expect(error).toBeInstanceOf(StorageClosedError);
      expect(error.message).toContain("The pool given for");
    }
  });
});
