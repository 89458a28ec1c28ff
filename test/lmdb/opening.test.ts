// Goal: a folder is opened when it is safe, and refused with a typed error that says what to do when not.
// Method: folders brought into each state by hand; what a test cannot have (a network disk) is handed in.
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type Database, open as openLmdb } from "lmdb";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  InvalidOptionError,
  StateError,
  StorageClosedError,
  StorageCorruptedError,
  StorageRefusedError,
  StorageVersionError,
} from "../../src/errors.ts";
import { LmdbStorage } from "../../src/storage/lmdb/index.ts";
import { locks } from "../../src/storage/lmdb/locks.ts";
import { addressSpaceBytes } from "../../src/storage/lmdb/machine.ts";
import { prepareFolder } from "../../src/storage/lmdb/refuse.ts";
import type { NewJob } from "../../src/storage/storage.ts";
import { built, root } from "../support/built.ts";

let folder: string;
const storages: LmdbStorage[] = [];

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "jobwright-opening-")), "jobs");
});
afterEach(async () => {
  await Promise.all(storages.splice(0).map((one) => one.close()));
  rmSync(join(folder, ".."), { recursive: true, force: true });
});

function storage(path: string = folder): LmdbStorage {
  const made = new LmdbStorage({ path });
  storages.push(made);
  return made;
}

async function opened(path?: string): Promise<LmdbStorage> {
  const made = storage(path);
  await made.open();
  return made;
}

const job: NewJob = {
  name: "a",
  queue: "q",
  payload: "1",
  maxRetries: 0,
  backoff: { kind: "fixed", delayMs: 1 },
  timeoutMs: null,
  retention: { completedMs: null, cancelledMs: null, deadMs: null },
  tags: [],
  priority: 0,
};

const beat = {
  id: "p",
  host: "h",
  pid: 0,
  lostAfterMs: 60_000,
  queues: [],
  holds: [],
  starts: [],
  first: true,
};
const claim = {
  processId: "p",
  token: "t",
  queues: [{ queue: "q", names: ["a"], room: 10, readAhead: 0 }],
  starts: [],
};

/** Change what is stored behind the back of the closed storage. */
async function tamper(file: string, table: string, key: string | Uint8Array, value: string): Promise<void> {
  await within(file, table, (rows) => rows.putSync(typeof key === "string" ? Buffer.from(key) : key, value));
}

async function read(file: string, table: string, key: string): Promise<string | undefined> {
  return within(file, table, (rows) => rows.get(Buffer.from(key)));
}

async function within<T>(
  file: string,
  table: string,
  work: (rows: Database<string, Uint8Array>) => T,
): Promise<T> {
  const environment = openLmdb<string, Uint8Array>({
    path: join(folder, file),
    noSubdir: true,
    overlappingSync: false,
    maxDbs: 32,
    pageSize: 4_096,
  });
  const encoding = { encoding: "string", keyEncoding: "binary" } as const;
  const result = work(environment.openDB<string, Uint8Array>(table, encoding));
  await environment.close();
  return result;
}

describe("opening", () => {
  test("makes the folder, also within missing ones, and readable for its owner only", async () => {
    const nested = join(folder, "a", "b");
    await opened(nested);
    expect(readdirSync(nested)).toContain("jobwright-store");
    for (const file of ["", "store.mdb", "volatile.mdb", "boot"]) {
      expect(statSync(join(nested, file)).mode & 0o077, file).toBe(0);
    }
  });

  test("twice is fine, and jobs are there after close and open", async () => {
    const first = await opened();
    await first.open();
    await first.enqueue([[job]]);
    await first.close();
    expect((await (await opened()).count({})).n).toBe(1);
  });

  test("two storages of a process on one folder, by different names, see each other; one may close", async () => {
    const a = await opened();
    const b = await opened(join(folder, "..", "jobs"));
    await a.enqueue([[job]]);
    expect((await b.count({})).n).toBe(1);
    await a.close();
    await b.enqueue([[job]]);
    expect((await b.count({})).n).toBe(2);
    await expect(a.count({})).rejects.toBeInstanceOf(StorageClosedError);
  });

  test("many at once on a new folder all succeed", async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => opened()));
    await Promise.all(all.map((one) => one.enqueue([[job]])));
    expect((await all[0]?.count({}))?.n).toBe(10);
  });

  test("close is idempotent, and fine without open", async () => {
    const one = storage();
    await one.close();
    await one.close();
    await expect(one.open()).rejects.toBeInstanceOf(StorageClosedError);
  });

  test("calls before it are refused", () => {
    expect(() => storage().watch({}, () => {})).toThrow(StateError);
  });

  test("options that make no sense are refused", () => {
    expect(() => new LmdbStorage({ path: "" })).toThrow(InvalidOptionError);
    expect(() => new LmdbStorage({ path: folder, mapBytes: 1 })).toThrow(InvalidOptionError);
  });

  test("a limit of the address space is found", () => {
    expect(
      addressSpaceBytes("Max address space         8589934592           unlimited            bytes\n"),
    ).toBe(2 ** 33);
    expect(
      addressSpaceBytes("Max address space         unlimited            unlimited            bytes\n"),
    ).toBe(Infinity);
    expect(addressSpaceBytes("")).toBe(Infinity);
  });

  test("is for the main thread only", async () => {
    await built();
    const code = `
      const { parentPort } = require("node:worker_threads");
      import(${JSON.stringify(`file://${root}dist/storage/lmdb/index.js`)})
        .then(({ LmdbStorage }) => new LmdbStorage({ path: ${JSON.stringify(folder)} }).open())
        .then(() => parentPort.postMessage("opened"), (error) => parentPort.postMessage(error.code));`;
    const worker = new Worker(code, { eval: true });
    expect(await new Promise((resolve) => worker.once("message", resolve))).toBe("JOBWRIGHT_STATE");
  });
});

describe("opening is refused for", () => {
  test("a file", async () => {
    writeFileSync(folder, "");
    await expect(storage().open()).rejects.toBeInstanceOf(StorageRefusedError);
    await expect(storage(join(folder, "below")).open()).rejects.toBeInstanceOf(StorageRefusedError);
  });

  test("a folder with other things in it, which stay as they are", async () => {
    mkdirSync(folder);
    writeFileSync(join(folder, "thesis.txt"), "years");
    await expect(storage().open()).rejects.toThrow("thesis.txt");
    expect(readdirSync(folder)).toEqual(["thesis.txt"]);
  });

  test("a folder that cannot be written", async () => {
    mkdirSync(folder);
    // Whatever rights the tests run with: the marker cannot be written where a folder of its name stands.
    mkdirSync(join(folder, "jobwright-store"));
    writeFileSync(join(folder, "locks"), "");
    await expect(storage().open()).rejects.toBeInstanceOf(StorageRefusedError);
    // Where there is such a folder, the kernel lets nobody make anything in it.
    await expect(storage("/proc/jobwright/jobs").open()).rejects.toBeInstanceOf(StorageRefusedError);
  });

  test.each([0x6969, 0xff534d42, 0xfe534d42, 0x517b, 0x01021997])("the network file system %i", (type) => {
    mkdirSync(folder);
    expect(() => prepareFolder(folder, "lmdb:x", () => type)).toThrow(StorageRefusedError);
    expect(readdirSync(folder)).toEqual([]);
    expect(prepareFolder(folder, "lmdb:x", () => 0xef53)).toBeTruthy();
  });

  test("a newer format, naming both", async () => {
    await (await opened()).close();
    await tamper("store.mdb", "meta", "format", "99");
    const failed = await storage()
      .open()
      .catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(StorageVersionError);
    expect((failed as Error).message).toMatch(/99.*2\b/s);
    // Nothing is left locked or open: a second look says the same.
    await expect(storage().open()).rejects.toBeInstanceOf(StorageVersionError);
  });

  test("a file that is no store", async () => {
    await (await opened()).close();
    writeFileSync(join(folder, "store.mdb"), Buffer.alloc(65_536, "no store "));
    await expect(storage().open()).rejects.toBeInstanceOf(StorageCorruptedError);
  });

  test("a store that was cut short", async () => {
    const one = await opened();
    const payload = JSON.stringify("x".repeat(100_000));
    for (let i = 0; i < 100; i++) await one.enqueue([[{ ...job, payload }]]);
    await one.close();
    truncateSync(join(folder, "store.mdb"), 1_000_000);
    await expect(storage().open()).rejects.toBeInstanceOf(StorageCorruptedError);
    truncateSync(join(folder, "store.mdb"), 5_000);
    await expect(storage().open()).rejects.toBeInstanceOf(StorageCorruptedError);
  });

  test("a store that another PID namespace has open, until that ends", async () => {
    const inside = await opened();
    const [instance] = readdirSync(join(folder, "instances"));
    await inside.close();
    const stop = await seemToRun(String(instance), {
      pid: 1,
      namespace: "pid:[elsewhere]",
      wants: 0,
      format: 2,
    });
    await expect(storage().open()).rejects.toThrow("jobwright serve");
    stop();
    await opened();
  });
});

/**
 * Have the store believe in another live process: its file is locked, and it says of itself what is given.
 *
 * @returns how to end it
 */
async function seemToRun(instance: string, record: object): Promise<() => void> {
  const file = openSync(join(folder, "instances", instance), "a+");
  locks.tryLock(file);
  const key = Buffer.alloc(8);
  key.writeBigUInt64BE(BigInt(instance));
  await tamper("volatile.mdb", "instance", key, JSON.stringify(record));
  return () => closeSync(file);
}

describe("a store of the first format", () => {
  /** As the first version left it: one job that waits, none of the newer tables' rows, shorter counters. */
  async function older(): Promise<void> {
    const one = await opened();
    await one.beat(beat);
    await one.enqueue([[job]]);
    await one.close();
    const lane = Buffer.alloc(4);
    for (const id of [0, 1]) {
      lane.writeUInt32BE(id);
      await tamper("store.mdb", "counts", lane, "[0,1,0,0,0,0,0]");
    }
    await tamper("store.mdb", "meta", "state", "[1,0,0,1,1,0]");
    await tamper("store.mdb", "meta", "format", "1");
  }

  test("is opened, has all it had, and takes what is new; older code is refused from then on", async () => {
    await older();
    const one = await opened();
    expect((await one.lanes()).lanes).toMatchObject([{ counts: { available: 1, blocked: 0, running: 0 } }]);
    expect((await one.stats({})).total).toEqual({ enqueued: 0, completed: 0, cancelled: 0, dead: 0 });
    const [given] = (await one.claim(claim)).jobs;
    await one.settle([
      { lease: given as NonNullable<typeof given>, outcome: { state: "completed" }, startedAt: 1 },
    ]);
    const limit = { scope: "a", key: "k", concurrency: 1 };
    await one.enqueue([
      [
        { ...job, limit },
        { ...job, limit },
      ],
    ]);
    await one.promote(10);
    expect((await one.count({ state: "blocked" })).n).toBe(1);
    expect((await one.stats({})).total).toEqual({ enqueued: 2, completed: 1, cancelled: 0, dead: 0 });
    await one.close();
    expect(await read("store.mdb", "meta", "format")).toBe("2");
  });

  test("is left alone while a process has it open that knows no other, which is named", async () => {
    await older();
    const stop = await seemToRun("77", {
      pid: 4_711,
      namespace: readlinkSync("/proc/self/ns/pid"),
      wants: 0,
    });
    const refused = await storage()
      .open()
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(StorageRefusedError);
    expect((refused as Error).message).toMatch(/older version.*4711.*Stop them first/s);
    expect(await read("store.mdb", "meta", "format")).toBe("1");
    stop();
    expect((await (await opened()).count({ state: "available" })).n).toBe(1);
  });
});

describe("what is volatile is forgotten", () => {
  async function withLease(): Promise<void> {
    const one = await opened();
    await one.beat(beat);
    await one.enqueue([[job, job]]);
    expect((await one.claim(claim)).jobs).toHaveLength(2);
    await one.close();
  }

  test("never by close and open", async () => {
    await withLease();
    expect((await (await opened()).count({ state: "running" })).n).toBe(2);
  });

  test("after a boot, even when its file is damaged, and all jobs are there", async () => {
    await withLease();
    writeFileSync(join(folder, "boot"), "another boot");
    writeFileSync(join(folder, "volatile.mdb"), Buffer.alloc(65_536, "half written "));
    const one = await opened();
    expect((await one.count({ state: "available" })).n).toBe(2);
    expect(await one.processes()).toEqual([]);
    await one.beat(beat);
    expect((await one.claim({ ...claim, token: "t2" })).jobs).toHaveLength(2);
  });

  test("when a backup was put in place of newer data; leases given before then are stale", async () => {
    const one = await opened();
    await one.beat(beat);
    await one.enqueue([[job]]);
    await one.close();
    copyFileSync(join(folder, "store.mdb"), join(folder, "..", "backup"));
    const two = await opened();
    const [old] = (await two.claim(claim)).jobs;
    await two.enqueue([[job]]);
    const [later] = (await two.claim({ ...claim, token: "t2" })).jobs;
    await two.settle([
      { lease: old as NonNullable<typeof old>, outcome: { state: "available", marked: false }, startedAt: 1 },
    ]);
    await two.close();
    copyFileSync(join(folder, "..", "backup"), join(folder, "store.mdb"));
    rmSync(join(folder, "store.mdb-lock"));
    const three = await opened();
    expect((await three.count({ state: "available" })).n).toBe(1);
    expect((await three.count({ state: "running" })).n).toBe(0);
    const lease = later as NonNullable<typeof later>;
    expect(await three.settle([{ lease, outcome: { state: "completed" }, startedAt: 1 }])).toEqual(["stale"]);
    await three.enqueue([[job]]);
    await three.beat(beat);
    expect((await three.claim({ ...claim, token: "t3" })).jobs).toHaveLength(2);
  });
});
