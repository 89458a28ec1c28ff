import { inspect } from "node:util";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { StorageUnavailableError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { Database, type DatabaseOptions } from "../../src/storage/postgres/database.ts";
import { Listener, type ListenerOptions } from "../../src/storage/postgres/listener.ts";
import { TcpProxy } from "../support/postgres/proxy.ts";
import { type Postgres, postgres, startServer } from "../support/postgres/server.ts";

// Goal: notifications are heard again after whatever happens to the connection, those who wait are told to
// look for what was missed, and where notifications never come, that is noticed and said.

let server: Postgres;
let url: string;
let channels = 0;
const open: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await postgres();
  url = await server.createDatabase();
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

interface Heard {
  readonly listener: Listener;
  readonly database: Database;
  readonly channel: string;
  readonly payloads: string[];
  readonly lines: string[];
  readonly reconnected: () => number;
}

function listen(
  options: Partial<ListenerOptions> = {},
  databaseOptions: Partial<DatabaseOptions> = {},
): Heard {
  const lines: string[] = [];
  const log = (line: string): void => void lines.push(line);
  const logger = { ...silentLogger, info: log, warn: log, error: log };
  const label = "postgres://server/database#jobwright";
  const database = new Database({ url, label, logger, deadlineMs: 5_000, ...databaseOptions });
  const channel = `Jobs "of" ${++channels}`;
  const payloads: string[] = [];
  let reconnected = 0;
  const listener = new Listener({
    connect: () => database.newClient(),
    database,
    channel,
    heard: (payload) => payloads.push(payload),
    reconnected: () => (reconnected += 1),
    logger,
    label,
    typed: (error) => database.typed(error),
    random: () => 0,
    ...options,
  });
  open.push(
    () => database.close(),
    () => listener.close(),
  );
  listener.start();
  return { listener, database, channel, payloads, lines, reconnected: () => reconnected };
}

const NOTIFY = { name: "test_notify", text: "select pg_notify($1::text, $2::text)" };
const notify = (heard: Heard, payload: string): Promise<unknown> =>
  heard.database.query(NOTIFY, [heard.channel, payload]);

/** Ask until the answer is yes; the test's own time is the bound. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(setImmediate);
}

const listeners = (channel: string): Promise<number[]> =>
  server
    .query("select pid from pg_stat_activity where query like $1", [
      `listen "${channel.replaceAll('"', '""')}"%`,
    ])
    .then((rows) => rows.map((row) => row["pid"] as number));

describe("listener", () => {
  test("hears what others send, in order, and nothing of its own tests", async () => {
    const one = listen();
    const two = listen({ channel: one.channel });
    await until(() => one.reconnected() === 1 && two.reconnected() === 1);
    expect([one.listener.works, two.listener.works]).toEqual([true, true]);
    for (let i = 0; i < 10; i++) await notify(one, String(i));
    await notify(one, "");
    await until(() => one.payloads.length === 11 && two.payloads.length === 11);
    expect(one.payloads).toEqual([...Array.from({ length: 10 }, (_, i) => String(i)), ""]);
    expect(two.payloads).toEqual(one.payloads);
    expect(one.lines).toEqual([]);
  });

  test("comes back each time its backend is killed, and says that something may have been missed", async () => {
    const heard = listen();
    for (let kills = 0; kills < 4; kills++) {
      await until(() => heard.reconnected() === kills + 1);
      expect(heard.listener.works).toBe(true);
      const [pid] = await listeners(heard.channel);
      await server.query("select pg_terminate_backend($1)", [pid]);
    }
    await until(() => heard.reconnected() === 5);
    await notify(heard, "after");
    await until(() => heard.payloads.length === 1);
    // One line when each outage begins, one when it ends.
    expect(heard.lines.filter((line) => line.includes("lost the connection"))).toHaveLength(4);
    expect(heard.lines.filter((line) => line.includes("works again"))).toHaveLength(4);
    expect(heard.lines).toHaveLength(8);
  });

  test("notices a connection that died without a word", async () => {
    await using proxy = await TcpProxy.start(Number(new URL(url).port));
    const through = new Database({ url: proxy.url(url), label: "x", logger: silentLogger });
    open.push(() => through.close());
    const heard = listen({ connect: () => through.newClient(), beatEveryMs: 20, beatTimeoutMs: 100 });
    await until(() => heard.reconnected() === 1);
    for (const connection of proxy.connections) connection.freeze("answers");
    await until(() => heard.reconnected() === 2);
    await notify(heard, "after");
    await until(() => heard.payloads.length === 1);
    expect(heard.lines).toHaveLength(2);
  });

  test("survives half-open connecting as well", async () => {
    await using proxy = await TcpProxy.start(Number(new URL(url).port));
    proxy.freeze();
    const through = new Database({ url: proxy.url(url), label: "x", logger: silentLogger });
    open.push(() => through.close());
    const heard = listen({ connect: () => through.newClient(), deadlineMs: 50 });
    await until(() => heard.lines.length === 1);
    expect(heard.listener.works).toBe(false);
    for (const connection of proxy.connections) connection.reset();
    proxy.heal();
    await until(() => heard.reconnected() === 1);
  });

  test("waits for a server that is away, with one line for each outage", async () => {
    await using own = await startServer();
    const heard = listen({}, { url: own.url });
    await until(() => heard.reconnected() === 1);
    await own.kill();
    await until(() => !heard.listener.works);
    await own.start();
    await until(() => heard.reconnected() === 2);
    expect(heard.lines).toHaveLength(2);
    await own.stop();
    await until(() => !heard.listener.works);
    expect(heard.lines).toHaveLength(3);
  });

  test("notices that notifications never come, says so once, and tries again", async () => {
    // Behind a pooler in transaction mode LISTEN succeeds and nothing is ever heard; so it is in another database.
    const elsewhere = await server.createDatabase();
    const other = new Database({ url: elsewhere, label: "x", logger: silentLogger });
    open.push(() => other.close());
    let connects = 0;
    let isDirect = false;
    const here = new Database({ url, label: "x", logger: silentLogger });
    open.push(() => here.close());
    const heard = listen({
      connect: () => {
        connects += 1;
        return (isDirect ? here : other).newClient();
      },
      testMs: 20,
      deafPauseMs: 20,
    });
    await until(() => connects === 4);
    expect(heard.listener.works).toBe(false);
    expect(heard.reconnected()).toBe(0);
    expect(heard.lines).toHaveLength(1);
    expect(heard.lines[0]).toContain("LISTEN does not work here");
    expect(heard.lines[0]).toContain("listenUrl");
    isDirect = true;
    await until(() => heard.listener.works);
    expect(heard.reconnected()).toBe(1);
    const left = "select 1 from pg_stat_activity where datname = $1";
    const name = new URL(elsewhere).pathname.slice(1);
    await until(async () => (await server.query(left, [name])).length === 0);
  });

  test("tells no secret", async () => {
    const heard = listen({}, { url: "postgres://bob:hunter22@127.0.0.1:1/app" });
    const direct = { name: "", text: "select 1" };
    await until(() => heard.lines.length === 1);
    const error: unknown = await heard.database.query(direct, []).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StorageUnavailableError);
    const listenUrl = "postgres://bob:direct99@127.0.0.1:1/app";
    await heard.database.newClient(listenUrl);
    const typed = heard.database.typed(new Error(`oh ${listenUrl} direct99`));
    expect(inspect([heard.lines, error, typed], { showHidden: true, depth: 9 })).not.toMatch(
      /hunter22|direct99/,
    );
  });

  test("does not log without end when connections are lost as soon as they are made", async () => {
    const heard = listen({ beatEveryMs: 1, beatTimeoutMs: 1_000, random: () => 0 });
    const startedAt = performance.now();
    while (performance.now() - startedAt < 1_000) {
      const [pid] = await listeners(heard.channel);
      if (pid !== undefined) await server.query("select pg_terminate_backend($1)", [pid]);
      else await new Promise(setImmediate);
    }
    expect(heard.lines.length).toBeLessThanOrEqual(12);
  });

  test.each(["connecting", "listening", "waiting"] as const)(
    "closes while %s, and leaves nothing behind",
    async (when) => {
      const heard = listen({}, when === "waiting" ? { url: "postgres://127.0.0.1:1/app" } : {});
      if (when === "listening") await until(() => heard.reconnected() === 1);
      if (when === "waiting") await until(() => heard.lines.length === 1);
      await Promise.all([heard.listener.close(), heard.listener.close()]);
      expect(heard.listener.works).toBe(false);
      await until(async () => (await listeners(heard.channel)).length === 0);
      expect(heard.payloads).toEqual([]);
    },
  );

  test("closes when it was never started", async () => {
    const { database, channel } = listen();
    const idle = new Listener({
      connect: () => expect.unreachable("not started"),
      database,
      channel,
      heard: () => undefined,
      reconnected: () => undefined,
      logger: silentLogger,
      label: "x",
      typed: (error) => error as Error,
    });
    await idle.close();
    expect(idle.works).toBe(false);
  });
});
