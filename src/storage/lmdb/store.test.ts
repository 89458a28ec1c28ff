import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { StorageFullError, StorageUnavailableError } from "../../errors.ts";
import type { ClaimedJob, NewJob, Settlement } from "../storage.ts";
import { LmdbStorage } from "./lmdb-storage.ts";
import { joinStore } from "./shared.ts";
import type { Store } from "./store.ts";

// Failures are put where LMDB would report them: into the write of one of the environments.

let folder: string;
let storage: LmdbStorage;
let store: Store;
let leave: () => Promise<void>;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "jobwright-store-"));
  storage = new LmdbStorage({ path: folder });
  await storage.open();
  ({ store, leave } = await joinStore(folder, "lmdb:test", undefined));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await leave();
  await storage.close();
  rmSync(folder, { recursive: true });
});

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

async function claim(token: string): Promise<readonly ClaimedJob[]> {
  await storage.beat({
    id: "p",
    host: "h",
    pid: 0,
    lostAfterMs: 60_000,
    queues: [],
    holds: [],
    starts: [],
    first: true,
  });
  const queues = [{ queue: "q", names: ["a"], room: 10, readAhead: 0 }];
  return (await storage.claim({ processId: "p", token, queues, starts: [] })).jobs;
}

const completed = ({ id, generation, token }: ClaimedJob): Settlement => ({
  lease: { id, generation, token },
  outcome: { state: "completed" },
  startedAt: 1,
});

/** Fail the next writes: before anything of them is done, or inside the transaction when all is. */
function failWrites(
  which: "writeDurable" | "writeVolatile",
  message: string,
  times: number,
  inside: boolean,
): void {
  const { environments } = store;
  const real = environments[which].bind(environments);
  let left = times;
  vi.spyOn(environments, which).mockImplementation((body) => {
    if (left-- <= 0) return real(body);
    if (!inside) throw new Error(message);
    real(() => {
      body();
      throw new Error(message);
    });
  });
}

describe("a broken environment", () => {
  test.each(["MDB_PANIC", "MDB_PROBLEM", "MDB_BAD_TXN", "MDB_READERS_FULL"])(
    "%s is opened anew, and the call is done once",
    async (code) => {
      await storage.enqueue([[job]]);
      failWrites("writeDurable", `${code}: something is wrong`, 1, true);
      const opening = vi.spyOn(store.environments, "open");
      expect(await storage.enqueue([[job]])).toMatchObject([{ ok: true, jobs: [{ id: 2 }] }]);
      expect(opening).toHaveBeenCalledTimes(1);
      expect((await storage.count({})).n).toBe(2);
    },
  );

  test("that stays broken is reported as unavailable, and the next call tries again", async () => {
    failWrites("writeDurable", "MDB_PANIC: something is wrong", 2, false);
    await expect(storage.enqueue([[job]], "batch")).rejects.toBeInstanceOf(StorageUnavailableError);
    expect(await storage.enqueue([[job]], "batch")).toMatchObject([
      { ok: true, jobs: [{ status: "created", id: 1 }] },
    ]);
    expect((await storage.count({})).n).toBe(1);
  });
});

describe("a full disk", () => {
  test.each(["No space left on device", "MDB_MAP_FULL: Environment mapsize limit reached", "File too large"])(
    "(%s) stores nothing of the call, loses nothing, and goes on when there is room",
    async (message) => {
      await storage.enqueue([[job]]);
      failWrites("writeDurable", message, 1, true);
      await expect(storage.enqueue([[{ ...job, queue: "new", name: "new" }]])).rejects.toBeInstanceOf(
        StorageFullError,
      );
      // Another process may be the next to number a lane: this one must not remember what was undone.
      expect(store.lanes.find("new", "new")).toBeUndefined();
      expect((await storage.count({})).n).toBe(1);
      await storage.enqueue([[{ ...job, queue: "other" }], [{ ...job, queue: "new", name: "new" }]]);
      const { lanes } = await storage.lanes();
      expect(lanes.map(({ queue, counts }) => [queue, counts.available])).toEqual([
        ["new", 1],
        ["other", 1],
        ["q", 1],
      ]);
    },
  );

  test("between the durable write and the volatile one: the settle stands, and its repetition says so", async () => {
    await storage.enqueue([[job, job]]);
    const jobs = await claim("t1");
    failWrites("writeVolatile", "No space left on device", 1, true);
    const [first, second] = jobs.map(completed) as [Settlement, Settlement];
    await expect(storage.settle([first])).rejects.toBeInstanceOf(StorageFullError);
    expect((await storage.get([first.lease.id]))[0]?.state).toBe("completed");
    expect((await storage.count({ state: "running" })).n).toBe(1);
    expect((await storage.count({ state: "available" })).n).toBe(0);
    expect(await storage.settle([first, second])).toEqual(["settled", "settled"]);
    expect((await storage.count({ state: "running" })).n).toBe(0);
    expect((await storage.count({ state: "completed" })).n).toBe(2);
  });

  test("during a claim leases nothing", async () => {
    await storage.enqueue([[job]]);
    await claim("t0").then((jobs) =>
      storage.settle(jobs.map((one) => ({ ...completed(one), outcome: RELEASED }))),
    );
    failWrites("writeVolatile", "No space left on device", 1, true);
    const queues = [{ queue: "q", names: ["a"], room: 10, readAhead: 0 }];
    await expect(storage.claim({ processId: "p", token: "t1", queues, starts: [] })).rejects.toBeInstanceOf(
      StorageFullError,
    );
    expect((await storage.count({ state: "available" })).n).toBe(1);
    expect(await claim("t2")).toHaveLength(1);
  });
});

const RELEASED = { state: "available", marked: false } as const;

describe("a transaction", () => {
  test("whose body hands back a promise is undone and refused", async () => {
    const { environments } = store;
    await store.hold(() => {
      expect(() =>
        environments.writeDurable((): void => {
          environments.durable.meta.put(Buffer.from("x"), "1");
          return Promise.resolve() as unknown as void;
        }),
      ).toThrow(TypeError);
    });
    expect(await store.read(() => environments.durable.meta.get(Buffer.from("x")))).toBeUndefined();
    await storage.enqueue([[job]]);
  });

  test("is committed before its call is answered", async () => {
    const order: string[] = [];
    const { environments } = store;
    const real = environments.writeDurable.bind(environments);
    vi.spyOn(environments, "writeDurable").mockImplementation((body) => {
      real(body);
      order.push("committed");
    });
    await storage.enqueue([[job]]).then(() => order.push("answered"));
    const jobs = await claim("t1");
    await storage.settle(jobs.map(completed)).then(() => order.push("answered"));
    expect(order).toEqual(["committed", "answered", "committed", "answered"]);
  });

  test("takes at most 550 jobs, so that others come in between; a group is never cut", async () => {
    const sizes: number[] = [];
    const real = store.writeDurable.bind(store);
    vi.spyOn(store, "writeDurable").mockImplementation((now, body) => {
      const before = store.durable.job.rows(Buffer.alloc(1), Buffer.alloc(9, 255), 10_000).length;
      real(now, body);
      sizes.push(store.durable.job.rows(Buffer.alloc(1), Buffer.alloc(9, 255), 10_000).length - before);
    });
    const group = (count: number): NewJob[] => Array.from({ length: count }, () => job);
    await storage.enqueue([group(400), group(200), group(900), group(1)]);
    expect(sizes).toEqual([400, 200, 900, 1]);
  });

  test("that changes nothing costs no commit", async () => {
    await storage.enqueue([[job]]);
    const puts = Object.values(store.durable).map((table) => vi.spyOn(table, "put"));
    expect(await storage.change([1, 99], { kind: "retry" })).toEqual(["unchanged", "missing"]);
    for (const put of puts) expect(put).not.toHaveBeenCalled();
  });
});

test("a batch that was broken off is finished by its repetition, without making any job twice", async () => {
  const groups = Array.from({ length: 4 }, () => Array.from({ length: 300 }, () => job));
  const real = store.writeDurable.bind(store);
  let writes = 0;
  vi.spyOn(store, "writeDurable").mockImplementation((now, body) => {
    if (++writes === 3) throw new Error("No space left on device");
    real(now, body);
  });
  await expect(storage.enqueue(groups, "batch")).rejects.toBeInstanceOf(StorageFullError);
  expect((await storage.count({})).n).toBe(600);
  const answers = await storage.enqueue(groups, "batch");
  expect(answers).toHaveLength(4);
  expect((await storage.count({})).n).toBe(1_200);
  expect(await storage.enqueue(groups, "batch")).toEqual(answers);
  expect((await storage.count({})).n).toBe(1_200);
});
