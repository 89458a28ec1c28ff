import { inspect } from "node:util";
import pg from "pg";
import { afterEach, describe, expect, test } from "vitest";
import {
  connect,
  type ConnectOptions,
  defineJob,
  fixed,
  InvalidOptionError,
  type Jobs,
  type JobwrightError,
  PayloadTooLargeError,
  silentLogger,
  StorageClosedError,
  StorageRefusedError,
  StorageUnavailableError,
} from "../../src/index.ts";
import { PostgresStorage, type PostgresStorageOptions } from "../../src/storage/postgres/index.ts";
import { TransactionPooler } from "./faults/pooler.ts";
import { TcpProxy } from "../support/postgres/proxy.ts";
import { postgres, startServer } from "../support/postgres/server.ts";

// Goal: whatever is wrong with what the application was given, it hears of it soon, by a typed error that says
// what to do and holds no secret.
// Method: the public API as an application uses it, against real servers; only an old one is pretended.

const SECRET = "hunter-22/@:é";
const OPTIONS: ConnectOptions = { logger: silentLogger };

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function connected(target: string | PostgresStorage, options = OPTIONS): Promise<Jobs> {
  const jobs = await connect(target, options);
  open.push(() => jobs.close());
  return jobs;
}

function storage(options: PostgresStorageOptions): PostgresStorage {
  return new PostgresStorage({ logger: silentLogger, ...options });
}

type ErrorType = abstract new (...values: never[]) => JobwrightError;

/** It fails with this type and these words, and nothing that can be found in the error holds a secret. */
async function expectRefused(what: Promise<unknown>, type: ErrorType, words: RegExp): Promise<void> {
  const error: unknown = await what.then(
    () => expect.unreachable("it succeeded"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(type);
  const { code, message } = error as JobwrightError;
  expect(code).toMatch(/^JOBWRIGHT_/);
  expect(message).toMatch(words);
  const everything = inspect(error, { showHidden: true, depth: 20, getters: true });
  for (const secret of [SECRET, encodeURIComponent(SECRET)]) expect(everything).not.toContain(secret);
}

function urlOf(target: string, user: string, password = SECRET): string {
  const { port } = new URL(target);
  return `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`;
}

describe("what does not let us in", () => {
  test("a wrong password, a user who is not there, and one without rights", async () => {
    const hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256";
    await using server = await startServer({ hba });
    await server.query("create role bob login password 'right'");
    const as = (user: string, password?: string): Promise<Jobs> =>
      connected(urlOf(server.url, user, password));
    await expectRefused(as("bob"), StorageRefusedError, /password.*encodeURIComponent/s);
    await expectRefused(as("nobody"), StorageRefusedError, /password|user/);
    await expectRefused(
      as("bob", "right"),
      StorageRefusedError,
      /jobwright migrate.*grant create on database/s,
    );
    // The schema is there by now, and the role has been given nothing in it.
    await connected(server.url);
    const words = /may not read the schema.*Let its owner run: (.*)$/s;
    await expectRefused(as("bob", "right"), StorageRefusedError, words);
    // The remedy is one.
    const told = await as("bob", "right").catch((error: unknown) => (error as Error).message);
    await server.query(words.exec(told as string)?.[1] ?? "");
    const jobs = await as("bob", "right");
    const { id } = await jobs.enqueue(defineJob({ name: "allowed" }), 1);
    expect((await jobs.get(id))?.state).toBe("available");
  });

  test("no such database", async () => {
    const url = new URL((await postgres()).url);
    url.pathname = "/nowhere";
    url.password = SECRET;
    await expectRefused(connected(url.href), StorageRefusedError, /Create the database/);
  });

  test("a read-only standby, until it is the primary", async () => {
    await using standby = await startServer({ isStandby: true });
    await expectRefused(
      connected(storage({ url: standby.url, deadlineMs: 300 })),
      StorageUnavailableError,
      /read-only standby.*Connect to the primary/s,
    );
    const waiting = connected(standby.url);
    await standby.query("select pg_promote()");
    const jobs = await waiting;
    expect((await jobs.enqueue(defineJob({ name: "promoted" }), 1)).created).toBe(true);
  });

  test("PostgreSQL 12", async () => {
    const { url } = await postgres();
    const pool = new pg.Pool({ connectionString: url, Client: OldClient });
    open.push(() => pool.end());
    await expectRefused(
      connected(storage({ pool })),
      StorageRefusedError,
      /PostgreSQL 12.*needs 13.*Upgrade/s,
    );
  });

  test("a pooler that allows single statements only", async () => {
    const server = await postgres();
    await using pooler = await TransactionPooler.start(Number(new URL(server.url).port), 2, "statement");
    await expectRefused(
      connected(storage({ url: pooler.url(server.url), schema: server.freshSchema() })),
      StorageRefusedError,
      /pool_mode.*transaction or session/s,
    );
  });

  test("URLs that make no sense", async () => {
    const secret = encodeURIComponent(SECRET);
    for (const url of [
      `postgres://bob:${secret}@one:5432,two:5432/x`,
      `postgres://bob:${secret}@host:99999/x`,
      `postgres://bob:${SECRET}@host/x`,
      `postgres://bob:${secret}@host/x?schema=${"s".repeat(64)}`,
      `postgres://bob:${secret}@host/x?schema=%E0%A4%A`,
      `postgres:bob:${secret}@host/x`,
    ]) {
      await expectRefused(connected(url), InvalidOptionError, /Use |Write |bytes/);
    }
  });
});

describe("a server that is not there", () => {
  test("at the start, and comes: nobody has to do anything", async () => {
    await using server = await startServer();
    await server.stop();
    const lines: string[] = [];
    const logger = { ...silentLogger, warn: (line: string) => lines.push(line) };
    const waiting = connected(server.url, { logger });
    while (lines.length === 0) await new Promise(setImmediate);
    await server.start();
    const jobs = await waiting;
    const job = defineJob({ name: "late", run: () => "ran" });
    const worker = jobs.worker([job]);
    await worker.start();
    expect(await (await jobs.enqueue(job, null)).result({ timeout: "30s" })).toBe("ran");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("cannot be reached");
  });

  test("and does not come: told at the deadline, how ever it is not there", async () => {
    const url = urlOf("postgres://127.0.0.1:1/x", "bob");
    await expectRefused(
      connected(storage({ url, deadlineMs: 300 })),
      StorageUnavailableError,
      /server is up/,
    );
    const { url: there } = await postgres();
    await using proxy = await TcpProxy.start(Number(new URL(there).port));
    proxy.freeze();
    const silent = urlOf(proxy.url(there), "postgres");
    await expectRefused(
      connected(storage({ url: silent, deadlineMs: 300 })),
      StorageUnavailableError,
      /300 ms|server is up|none was free/,
    );
  });

  test("any more, when a call is made: every one of them ends", async () => {
    await using server = await startServer();
    const jobs = await connected(storage({ url: server.url, deadlineMs: 500 }));
    const job = defineJob({ name: "stranded" });
    const { id } = await jobs.enqueue(job, 1);
    await server.stop("immediate");
    const calls: Record<string, () => Promise<unknown>> = {
      get: () => jobs.get(id),
      list: () => jobs.list({ state: "available" }),
      count: () => jobs.count(),
      attempts: () => jobs.attempts(id),
      queues: () => jobs.queues(),
      processes: () => jobs.processes(),
      cancel: () => jobs.cancel(id),
      retry: () => jobs.retry(id),
      remove: () => jobs.remove(id),
      pause: () => jobs.pause({ queue: "default" }),
      start: () => jobs.worker([{ ...job, run: () => 1 } as never]).start(),
    };
    for (const [name, call] of Object.entries(calls)) {
      await expectRefused(call(), StorageUnavailableError, /server is up|Repeat/).catch((error: unknown) => {
        throw new Error(name, { cause: error });
      });
    }
    await server.start();
    expect((await jobs.get(id))?.state).toBe("available");
  });
});

describe("a pool that is closed under us", () => {
  test("ends every call with a typed error, and a worker in order", async () => {
    const { url, freshSchema } = await postgres();
    const pool = new pg.Pool({ connectionString: url });
    const lines: string[] = [];
    const logger = { ...silentLogger, error: (line: string) => lines.push(line) };
    const jobs = await connect(storage({ pool, schema: freshSchema() }), { logger });
    const job = defineJob({ name: "orphaned", run: () => 1 });
    const worker = jobs.worker([job]);
    await worker.start();
    await pool.end();
    await expectRefused(jobs.enqueue(job, null), StorageClosedError, /pool given.*closed.*Connect again/s);
    await expectRefused(jobs.count(), StorageClosedError, /pool given/);
    // It does not try for ever to reach what is closed for good.
    await jobs.close();
    expect(lines.length).toBeLessThanOrEqual(5);
  });

  test("ends the calls that wait for it, too, of which it says nothing itself", async () => {
    const { url, freshSchema } = await postgres();
    const pool = new pg.Pool({ connectionString: url, max: 1 });
    const jobs = await connected(storage({ pool, schema: freshSchema() }));
    const held = await pool.connect();
    const waiting = [1, 2, 3].map(() => expectRefused(jobs.count(), StorageClosedError, /pool given/));
    const ended = pool.end();
    await expectRefused(jobs.count(), StorageClosedError, /pool given/);
    await Promise.all(waiting);
    held.release();
    await ended;
  });
});

describe("payloads", () => {
  test("of 64 MiB are refused before a byte of them is sent", async () => {
    const server = await postgres();
    await using proxy = await TcpProxy.start(Number(new URL(server.url).port));
    const jobs = await connected(storage({ url: proxy.url(server.url), schema: server.freshSchema() }));
    const job = defineJob({ name: "heavy" });
    const passed = (): number =>
      proxy.connections.reduce((sum, connection) => sum + connection.passed("requests"), 0);
    await jobs.count();
    const before = passed();
    const heavy = "x".repeat(64 * 1_048_576);
    await expectRefused(
      jobs.enqueue(job, heavy),
      PayloadTooLargeError,
      /limit is 1048576.*Store the data elsewhere/s,
    );
    const megabytes = Array.from({ length: 64 }, () => "x".repeat(1_000_000));
    await expectRefused(
      jobs.enqueueMany(job, megabytes),
      PayloadTooLargeError,
      /The batch.*limit is 16777216/s,
    );
    expect(passed() - before).toBeLessThan(10_000);
    expect(await jobs.count()).toEqual({ n: 0, exact: true });
  });

  test("with NUL characters and lone surrogates come back as they were, and so does all other text", async () => {
    const odd = ["\0", "a\0b", "\ud800", "x\udc00y", "\u0001\0", '"\\', "\u001e\u001f", "\u{1f600}\ud83d"];
    const server = await postgres();
    const jobs = await connected(storage({ url: server.url, schema: server.freshSchema() }));
    const seen: unknown[] = [];
    const job = defineJob({
      name: "odd",
      maxRetries: 1,
      backoff: fixed(0),
      async run(payload: { text: string; fails: boolean }, ctx) {
        seen.push(payload);
        const { text, fails } = payload;
        if (fails && ctx.job.attempt === 1) {
          await ctx.checkpoint.set("key", { [text]: text });
          throw new Error(text, { cause: new Error(text) });
        }
        if (fails) return { checkpoint: ctx.checkpoint.get("key"), [text]: text };
        return text;
      },
    });
    const worker = jobs.worker([job]);
    await worker.start();
    for (const text of odd) {
      const payload = { text, fails: true, [text]: [text] };
      const handle = await jobs.enqueue(job, payload);
      expect(await handle.result({ timeout: "30s" })).toEqual({ checkpoint: { [text]: text }, [text]: text });
      expect(seen.splice(0)).toEqual([payload, payload]);
      const stored = await jobs.get(handle.id);
      expect(stored?.payload).toEqual(payload);
      const [attempt] = await jobs.attempts(handle.id);
      expect([attempt?.error.message, attempt?.error.cause?.message]).toEqual([text, text]);

      const later = await jobs.enqueue(job, { text, fails: false }, { in: "1h" });
      await jobs.cancel(later.id, text);
      expect((await jobs.get(later.id))?.reason).toBe(text);
    }
  });

  test("in a schema whose name has quotes, dots and spaces", async () => {
    const { createDatabase, dropDatabase } = await postgres();
    const url = await createDatabase();
    const schema = `o'he"ad. jobs; -- $x$ ü`;
    const jobs = await connect(`${url}?schema=${encodeURIComponent(schema)}`, OPTIONS);
    const job = defineJob({ name: "quoted", run: () => "ran" });
    const worker = jobs.worker([job]);
    await worker.start();
    expect(await (await jobs.enqueue(job, null)).result({ timeout: "30s" })).toBe("ran");
    await jobs.close();
    await dropDatabase(url);
  });
});

/** A client that believes to talk to an old server: what it is told of the version is changed on the way. */
class OldClient extends pg.Client {
  override query(...args: readonly unknown[]): never {
    const [config, callback] = args as [{ readonly text?: string }, Answered];
    const changed: Answered = (error, result) => {
      const first = result?.rows[0];
      if (first !== undefined && config.text?.includes("server_version_num")) first[0] = "120022";
      callback(error, result);
    };
    return Reflect.apply(super.query, this, [config, changed]) as never;
  }
}

type Answered = (error: unknown, result: { readonly rows: string[][] } | undefined) => void;
