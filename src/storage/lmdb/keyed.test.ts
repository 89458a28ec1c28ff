// Goal: keys of jobs hold through what only this engine goes through: two writes of which the second may be missing,
// data that are thrown away at a boot, and a format that older code does not know. And who has no key pays nothing.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { StorageFullError } from "../../errors.ts";
import type { JobId, JobState } from "../../job/job.ts";
import type { Outcome } from "../../job/lifecycle.ts";
import type { ClaimedJob, NewJob, SettleResult } from "../storage.ts";
import { type KeptJob, readJob } from "./job.ts";
import { HIGHEST_KEY, LOWEST_KEY } from "./keys.ts";
import { LmdbStorage } from "./lmdb-storage.ts";
import { joinStore } from "./shared.ts";
import type { Store } from "./store.ts";
import { Table } from "./table.ts";

let folder: string;
let storage: LmdbStorage;
let store: Store;
let leave: () => Promise<void>;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "jobwright-keyed-"));
  await open();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await close();
  rmSync(folder, { recursive: true });
});

async function open(): Promise<void> {
  storage = new LmdbStorage({ path: folder });
  await storage.open();
  ({ store, leave } = await joinStore(folder, "lmdb:test", undefined));
}

async function close(): Promise<void> {
  await leave();
  await storage.close();
}

const plain: NewJob = {
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
/** One at a time, across all names. */
const single = (name: string = "a", key: string = "k"): NewJob => ({
  ...plain,
  name,
  limit: { scope: "", key, concurrency: 1 },
});
const sole = (more: Partial<NonNullable<NewJob["unique"]>> = {}): NewJob => ({
  ...plain,
  unique: { scope: "a", key: "k", while: "live", onConflict: "keep", ...more },
});

/** Store jobs and let in what may come in. */
async function enqueue(...jobs: NewJob[]): Promise<JobId[]> {
  const [answer] = await storage.enqueue([jobs]);
  await storage.promote(5_000);
  if (answer?.ok !== true) throw new Error("refused");
  return answer.jobs.map(({ id }) => id);
}

let tokens = 0;

async function claim(room: number = 10, ...names: string[]): Promise<readonly ClaimedJob[]> {
  const beat = { id: "p", host: "h", pid: 0, lostAfterMs: 60_000, queues: [], holds: [], starts: [] };
  await storage.beat({ ...beat, first: true });
  const queues = [{ queue: "q", names: names.length === 0 ? ["a"] : names, room, readAhead: 0 }];
  return (await storage.claim({ processId: "p", token: `t${++tokens}`, queues, starts: [] })).jobs;
}

const settle = (
  { id, generation, token }: ClaimedJob,
  outcome: Outcome = { state: "completed" },
): Promise<SettleResult[]> => storage.settle([{ lease: { id, generation, token }, outcome, startedAt: 1 }]);

async function states(...ids: JobId[]): Promise<(JobState | undefined)[]> {
  return (await storage.get(ids)).map((job) => job?.state);
}

const idsOf = (jobs: readonly ClaimedJob[]): JobId[] => jobs.map(({ id }) => id);

/** Fail the next write of an environment, inside its transaction. */
function failOnce(which: "writeDurable" | "writeVolatile"): void {
  const { environments } = store;
  const real = environments[which].bind(environments);
  vi.spyOn(environments, which).mockImplementationOnce((body) =>
    real(() => {
      body();
      throw new Error("No space left on device");
    }),
  );
}

/** A blocked job that stands before places that were passed long ago, and the one that runs instead of it. */
async function blockedBehindCursor(): Promise<{ running: ClaimedJob; blocked: JobId }> {
  const [, blocked] = await enqueue(single(), single());
  const [running] = await claim();
  const later = await enqueue(plain);
  expect(idsOf(await claim())).toEqual(later);
  return { running: running as ClaimedJob, blocked: blocked as JobId };
}

describe("between the durable write and the volatile one", () => {
  test("of a settle, the blocked job that it let in is not lost, though its place was passed", async () => {
    const { running, blocked } = await blockedBehindCursor();
    failOnce("writeVolatile");
    await expect(settle(running)).rejects.toBeInstanceOf(StorageFullError);
    expect(await states(running.id, blocked)).toEqual(["completed", "available"]);
    expect(idsOf(await claim())).toEqual([blocked]);
    expect(await settle(running)).toEqual(["settled"]);
    expect(await claim()).toEqual([]);
  });

  test("of a cancel, which no lease tells of: the same", async () => {
    const [first, second, third] = await enqueue(single(), single(), single());
    // The second is let in at its old place, behind which another one was given.
    const [running] = await claim();
    expect(running?.id).toBe(first);
    await enqueue(plain);
    await claim();
    await settle(running as ClaimedJob);
    failOnce("writeVolatile");
    await expect(storage.change([second as JobId], { kind: "cancel", reason: "r" })).rejects.toBeInstanceOf(
      StorageFullError,
    );
    expect(await states(second as JobId, third as JobId)).toEqual(["cancelled", "available"]);
    expect(idsOf(await claim())).toEqual([third]);
  });

  test("its journal is not believed by a later repair", async () => {
    const { running, blocked } = await blockedBehindCursor();
    await settle(running);
    const [next] = await claim();
    expect(next?.id).toBe(blocked);
    // Given out, and still in line: a journal that is too old would have it given twice.
    const [other] = await enqueue(plain);
    const [last] = await claim();
    failOnce("writeVolatile");
    await expect(settle(last as ClaimedJob)).rejects.toBeInstanceOf(StorageFullError);
    expect(await states(other as JobId, blocked)).toEqual(["completed", "running"]);
    const fresh = await enqueue(plain);
    expect(idsOf(await claim())).toEqual(fresh);
    expect(await states(blocked)).toEqual(["running"]);
  });
});

describe("a claim that meets more of a key than may run", () => {
  test("gives leases first: when the rest cannot be parked, no more run, and none is lost or stuck", async () => {
    const [first, second] = await enqueue(single("a"), single("b"));
    const [free] = await enqueue({ ...plain, name: "b" });
    failOnce("writeDurable");
    const given = await claim(10, "a", "b");
    expect(idsOf(given)).toEqual([first, free]);
    expect(await states(first as JobId, second as JobId)).toEqual(["running", "available"]);
    expect((await storage.list({ state: "available", limit: 10 })).jobs.map(({ id }) => id)).toEqual([
      second,
    ]);
    expect(await claim(10, "a", "b")).toEqual([]);
    expect(await states(second as JobId)).toEqual(["blocked"]);
    await settle(given[0] as ClaimedJob);
    expect(idsOf(await claim(10, "a", "b"))).toEqual([second]);
  });

  test("passes over any number of them, in holds of the usual size", async () => {
    const keys = Array.from({ length: 700 }, (_, i) => `k${i}`);
    await enqueue(...keys.map((key) => single("a", key)), ...keys.map((key) => single("b", key)), {
      ...plain,
      priority: 5,
    });
    expect(await claim(700)).toHaveLength(700);
    const holds = vi.spyOn(store, "hold");
    expect(await claim(1, "b", "a")).toHaveLength(1);
    // One for the beat.
    expect(holds).toHaveBeenCalledTimes(3);
    expect((await storage.count({ state: "blocked", name: "b" })).n).toBe(700);
  });
});

describe("close and open again", () => {
  test("changes nothing about keys, blocked jobs and schedules", async () => {
    const { running, blocked } = await blockedBehindCursor();
    const [holder] = await enqueue(sole());
    const tick = { key: "s", expected: 0, row: { text: "{}", nextAt: 1 } };
    const [written] = await storage.writeSchedules([tick]);
    await close();
    await open();
    expect(await states(running.id, blocked)).toEqual(["running", "blocked"]);
    expect((await storage.list({ state: "blocked", limit: 10 })).jobs.map(({ id }) => id)).toEqual([blocked]);
    expect(await enqueue(sole())).toEqual([holder]);
    expect((await storage.keys({ scope: "a", limit: 10 })).keys).toEqual([{ key: "k", id: holder }]);
    expect((await storage.promote(1)).tickAt).toBe(1);
    expect(await storage.writeSchedules([tick])).toEqual([{ ok: false }]);
    expect(written).toMatchObject({ ok: true });
    await settle(running);
    expect(idsOf(await claim())).toEqual([blocked, holder]);
  });

  test("after a boot: what ran stands in line again, and nobody waits for a run that is no more", async () => {
    const [first, second] = await enqueue(single("a"), single("a"));
    await claim(10, "a");
    const [other, next] = await enqueue(single("b"), single("b"));
    expect(await states(first as JobId, second as JobId, other as JobId)).toEqual([
      "running",
      "blocked",
      "blocked",
    ]);
    await close();
    writeFileSync(join(folder, "boot"), "another boot");
    await open();
    await storage.promote(1);
    const ids = [first, second, other, next] as JobId[];
    expect(await states(...ids)).toEqual(["available", "blocked", "available", "blocked"]);
    // The lane of the first one may be served by nobody.
    expect(idsOf(await claim(10, "b"))).toEqual([other]);
    expect(await claim(10, "a")).toEqual([]);
    expect(await states(...ids)).toEqual(["blocked", "blocked", "running", "blocked"]);
  });
});

test("a backup in place of newer data: what ran by those does not keep others of its key from running", async () => {
  const ids = await enqueue(single(), single());
  expect(await claim()).toHaveLength(1);
  // As if the durable data were older than the volatile ones.
  await store.hold(() =>
    store.writeVolatile((leases) => leases.tables.meta.put(Buffer.from("changes"), "1000")),
  );
  await storage.promote(1);
  expect(idsOf(await claim())).toEqual(ids.slice(0, 1));
});

test("a job that was replaced is given, judged and let go of by what it says now", async () => {
  const before = { ...sole({ onConflict: "replace" }), retention: { ...plain.retention, completedMs: 0 } };
  const [id] = await enqueue(before);
  const [given] = await claim();
  const remembered = await store.read(() => readJob(store.durable, store.lanes, id as JobId));
  await settle(given as ClaimedJob, { state: "scheduled", later: { delayMs: 0 }, attempt: "kept" });
  const after: NewJob = {
    ...sole({ onConflict: "replace" }),
    payload: "2",
    tags: ["t"],
    limit: single().limit as never,
  };
  expect(await storage.enqueue([[after]])).toEqual([{ ok: true, jobs: [{ status: "replaced", id }] }]);
  await storage.promote(1);
  const [again] = await claim();
  expect(again).toMatchObject({ id, payload: "2", tags: ["t"], limit: after.limit, generation: 1 });
  // A process remembers what it gave out, also when another one has ended that run and given the next.
  store.remember(remembered as KeptJob);
  await settle(again as ClaimedJob);
  expect(await states(id as JobId)).toEqual(["completed"]);
  expect((await storage.keys({ scope: "a", limit: 1 })).keys).toEqual([]);
  expect(await store.read(() => store.durable.key.first(LOWEST_KEY, HIGHEST_KEY))).toBeUndefined();
});

describe("what keys cost", () => {
  /** Calls of a table's methods, by table, while something is done. */
  async function callsOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
    const calls: Record<string, number> = {};
    const tables = Object.entries({ ...store.volatile, ...store.durable });
    const count = (table: unknown, method: string): void => {
      const name = `${tables.find(([, one]) => one === table)?.[0] ?? "volatile"}.${method}`;
      calls[name] = (calls[name] ?? 0) + 1;
    };
    for (const method of ["get", "put", "putSame", "remove", "rows"] as const) {
      const real = Table.prototype[method];
      vi.spyOn(Table.prototype, method).mockImplementation(function (this: Table, ...args: never[]) {
        count(this, method);
        return (real as (...given: never[]) => never).apply(this, args);
      } as never);
    }
    await work();
    vi.restoreAllMocks();
    return calls;
  }

  const KEYED = /^(key|keyEnd|blocked|blockedId|inLine|limit|schedule|scheduleAt|flow|log)\./;

  test("jobs without them touch nothing that is there for keys", async () => {
    await enqueue(plain, single(), sole());
    await settle((await claim(1))[0] as ClaimedJob);
    const calls = await callsOf(async () => {
      await storage.enqueue([[plain]]);
      const given = await claim(10);
      await settle(
        given.find(({ limit, unique }) => limit === undefined && unique === undefined) as ClaimedJob,
      );
    });
    // The claim gave the keyed ones too.
    const plainCalls = await callsOf(async () => {
      await storage.enqueue([[plain]]);
      await settle((await claim(1))[0] as ClaimedJob);
    });
    expect(Object.keys(calls).filter((name) => KEYED.test(name))).not.toEqual([]);
    expect(Object.keys(plainCalls).filter((name) => KEYED.test(name))).toEqual([]);
    const puts = Object.entries(plainCalls).filter(([name]) =>
      /^(job|head|ready|counts|ended)\.(put|putSame)$/.test(name),
    );
    expect(Object.fromEntries(puts)).toEqual({
      ...{ "job.put": 1, "ready.putSame": 1, "counts.put": 4, "head.put": 1, "ended.put": 1 },
    });
  });

  test("a claim beside blocked jobs reads as much as beside none", async () => {
    await enqueue(single(), plain);
    expect(await claim(2)).toHaveLength(2);
    await enqueue(plain);
    const few = await callsOf(() => claim(1));
    await enqueue(plain, ...Array.from({ length: 600 }, () => single()));
    expect((await storage.count({ state: "blocked" })).n).toBe(600);
    expect(await callsOf(() => claim(1))).toEqual(few);
  });
});
