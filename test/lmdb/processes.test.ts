// Goal: processes that share a folder see each other's acknowledged writes at once, wake each other, and
// survive each other's death at the worst moments, with nothing lost and nothing done by halves.
// Method: real processes that import what is built; the bad moments are reached from within, not by chance.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type {
  ClaimedJob,
  EnqueueResult,
  RescuedJob,
  Settlement,
  StoredJob,
} from "../../src/storage/storage.ts";
import type { Outcome } from "../../src/job/lifecycle.ts";
import { LmdbStorage } from "../../src/storage/lmdb/index.ts";
import { built } from "../support/built.ts";
import { size } from "../support/size.ts";
import { Child } from "./child.ts";

beforeAll(built);

let folder: string;
const children: Child[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "jobwright-processes-"));
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<Child> {
  const child = await Child.start(folder);
  children.push(child);
  await child.do("open");
  return child;
}

const settlement = ({ id, generation, token }: ClaimedJob, outcome: Outcome): Settlement => ({
  lease: { id, generation, token },
  outcome,
  startedAt: 1,
});

describe("two processes on one folder", () => {
  test("see at once what the other was answered for", async () => {
    const [a, b] = [await start(), await start()];
    await a.do("register", "a");
    await b.do("register", "b");
    for (let round = 0; round < 20; round++) {
      const [id] = await a.do<number[]>("enqueue", 1);
      const [stored] = await b.do<StoredJob[]>("get", [id]);
      expect(stored?.state).toBe("available");
      const [claimed] = await b.do<ClaimedJob[]>("claim", { processId: "b", room: 1 });
      expect(claimed?.id).toBe(id);
      expect(await a.do("claim", { processId: "a", room: 1 })).toEqual([]);
      expect((await a.do<StoredJob[]>("get", [id]))[0]).toMatchObject({ state: "running", processId: "b" });
      expect(await b.do("settle", [settlement(claimed as ClaimedJob, { state: "completed" })])).toEqual([
        "settled",
      ]);
      expect((await a.do<StoredJob[]>("get", [id]))[0]?.state).toBe("completed");
      expect(await a.do("count", { state: "completed" })).toBe(round + 1);
    }
  });

  test("share the jobs without giving any twice", async () => {
    const workers = [await start(), await start(), await start()];
    await Promise.all(workers.map((worker, i) => worker.do("register", `p${i}`)));
    const ids = await (workers[0] as Child).do<number[]>("enqueue", 600);
    const drain = async (worker: Child, processId: string): Promise<number[]> => {
      const mine: number[] = [];
      for (;;) {
        const jobs = await worker.do<ClaimedJob[]>("claim", { processId, room: 7 });
        if (jobs.length === 0) return mine;
        mine.push(...jobs.map(({ id }) => id));
        await worker.do(
          "settle",
          jobs.map((job) => settlement(job, { state: "completed" })),
        );
      }
    };
    const shares = await Promise.all(workers.map((worker, i) => drain(worker, `p${i}`)));
    expect(shares.flat().sort((x, y) => x - y)).toEqual(ids);
    expect(await (workers[0] as Child).do("count", { state: "completed" })).toBe(600);
  });

  test("share keys: what one holds, the other meets, and what one lets go of, the other may have", async () => {
    const [a, b] = [await start(), await start()];
    await a.do("register", "a");
    await b.do("register", "b");
    const unique = { scope: "a", key: "u", while: "live", onConflict: "keep" };
    const [held] = await a.do<EnqueueResult[]>("enqueueJobs", [{ unique }]);
    expect(await b.do("enqueueJobs", [{ unique }])).toEqual([{ status: "existing", id: held?.id }]);
    const limit = { scope: "a", key: "l", concurrency: 2 };
    await a.do("enqueueJobs", [{ limit }, { limit }, { limit }]);
    await b.do("enqueueJobs", [{ limit }, { limit }]);
    const mine = await a.do<ClaimedJob[]>("claim", { processId: "a", room: 2 });
    const yours = await b.do<ClaimedJob[]>("claim", { processId: "b", room: 9 });
    // The unique one and two of five.
    expect([mine.length, yours.length]).toEqual([2, 1]);
    expect(await b.do("count", { state: "blocked" })).toBe(3);
    await a.do(
      "settle",
      mine.map((job) => settlement(job, { state: "completed" })),
    );
    expect(await b.do<ClaimedJob[]>("claim", { processId: "b", room: 9 })).toHaveLength(1);
    expect(await b.do("enqueueJobs", [{ unique }])).toMatchObject([{ status: "created" }]);
  });

  test("wake each other: for new jobs, for finished ones, for requests to cancel", async () => {
    const [a, b] = [await start(), await start()];
    await a.do("register", "a");
    await b.do("watch", { available: [{ queue: "q", names: ["a"] }] });
    // The announcement travels after `watch` has returned; another answered call is behind it in line.
    await b.do("register", "b");
    const [id] = await a.do<number[]>("enqueue", 1);
    await b.woken();
    const [job] = await b.do<ClaimedJob[]>("claim", { processId: "b", room: 1 });
    await a.do("watch", { finished: [id] });
    await b.do("watch", { asked: "b" });
    await a.do("register", "a2");
    await b.do("register", "b2");
    expect(await a.do("change", { ids: [id], change: { kind: "cancel", reason: "enough" } })).toEqual([
      "asked",
    ]);
    await b.woken();
    await b.do("settle", [settlement(job as ClaimedJob, { state: "completed" })]);
    await a.woken();
  });
});

describe("a process that is killed", () => {
  test("inside a transaction leaves nothing of it, and the others go on", async () => {
    const [a, b] = [await start(), await start()];
    const kept = await a.do<number[]>("enqueue", 3);
    await expect(a.do("dieEnqueuing", 20)).rejects.toThrow("SIGKILL");
    expect(await b.do("count", {})).toBe(3);
    await b.do("enqueue", 1);
    const stored = await b.do<StoredJob[]>("get", kept);
    expect(stored.map(({ state }) => state)).toEqual(["available", "available", "available"]);
    expect(await b.do("count", {})).toBe(4);
  });

  test("between the durable write and the volatile one has settled, and nothing is stuck", async () => {
    const [a, b] = [await start(), await start()];
    await a.do("register", "a");
    await b.do("register", "b");
    const ids = await a.do<number[]>("enqueue", 4);
    const [done, released, snoozed, running] = await a.do<ClaimedJob[]>("claim", { processId: "a", room: 4 });
    const settlements = [
      settlement(done as ClaimedJob, { state: "completed" }),
      settlement(released as ClaimedJob, { state: "available", marked: false }),
      settlement(snoozed as ClaimedJob, { state: "scheduled", later: { delayMs: 0 }, attempt: "kept" }),
    ];
    await expect(a.do("dieSettling", settlements)).rejects.toThrow("SIGKILL");
    const states = (await b.do<StoredJob[]>("get", ids)).map(({ state }) => state);
    expect(states).toEqual(["completed", "available", "available", "running"]);
    expect(await b.do("count", { state: "running" })).toBe(1);
    expect(await b.do("count", { state: "available" })).toBe(2);
    const again = await b.do<ClaimedJob[]>("claim", { processId: "b", room: 10 });
    expect(again.map(({ id }) => id)).toEqual([released?.id, snoozed?.id]);
    expect(await b.do("settle", settlements)).toEqual(["settled", "settled", "settled"]);
    const rescued = await b.do<RescuedJob[]>("rescue", "b");
    expect(rescued.map(({ id }) => id)).toEqual([running?.id]);
  });

  test("between the two writes has let in the next of its key, though its place was passed", async () => {
    const [a, b] = [await start(), await start()];
    await a.do("register", "a");
    await b.do("register", "b");
    const limit = { scope: "a", key: "l", concurrency: 1 };
    const [first, next] = await a.do<EnqueueResult[]>("enqueueJobs", [{ limit }, { limit }]);
    const [running] = await a.do<ClaimedJob[]>("claim", { processId: "a", room: 5 });
    expect(running?.id).toBe(first?.id);
    await a.do("enqueue", 1);
    expect(await b.do("claim", { processId: "b", room: 5 })).toHaveLength(1);
    const settlements = [settlement(running as ClaimedJob, { state: "completed" })];
    await expect(a.do("dieSettling", settlements)).rejects.toThrow("SIGKILL");
    expect(await b.do("claim", { processId: "b", room: 5 })).toMatchObject([{ id: next?.id }]);
    expect(await b.do("settle", settlements)).toEqual(["settled"]);
    expect(await b.do("claim", { processId: "b", room: 5 })).toEqual([]);
  });

  test("with jobs in its hands is lost at once, however long its silence might be", async () => {
    const [a, b] = [await start(), await start()];
    await a.do("register", "a");
    await b.do("register", "b");
    await a.do("enqueue", 3);
    await a.do("claim", { processId: "a", room: 2 });
    expect(await b.do("rescue", "b")).toEqual([]);
    await a.kill();
    const rescued = await b.do<RescuedJob[]>("rescue", "b");
    expect(rescued.map(({ lostProcessId }) => lostProcessId)).toEqual(["a", "a"]);
    expect(await b.do("count", { state: "running" })).toBe(2);
    expect(
      await b.do(
        "settle",
        rescued.map((job) => settlement(job, { state: "completed" })),
      ),
    ).toEqual(["settled", "settled"]);
  });
});

describe("the end of a process", () => {
  test("is not delayed by an open storage that someone watches", async () => {
    const a = await start();
    await a.do("register", "a");
    await a.do("watch", { available: [{ queue: "q" }], asked: "a" });
    await a.do("enqueue", 1);
    await a.do("hush").catch(() => {});
    expect(await a.exited).toEqual({ code: 0, signal: null });
  });

  test("by process.exit without close harms nobody", async () => {
    const b = await start();
    for (let round = 0; round < 5; round++) {
      const a = await start();
      const ids = await a.do<number[]>("enqueue", 2);
      a.do("exit").catch(() => {});
      expect(await a.exited).toEqual({ code: 0, signal: null });
      expect((await b.do<StoredJob[]>("get", ids)).every((job) => job !== null)).toBe(true);
      await b.do("enqueue", 1);
    }
    expect(await b.do("count", {})).toBe(15);
  });
});

test("nothing acknowledged is lost while others open and close the store", async () => {
  const storage = new LmdbStorage({ path: folder });
  await storage.open();
  const openers = [await start(), await start()];
  const over = new AbortController();
  const acknowledged: number[] = [];
  const write = async (): Promise<void> => {
    const job = {
      ...{ name: "a", queue: "q", payload: "1", maxRetries: 0, timeoutMs: null, tags: [], priority: 0 },
      backoff: { kind: "fixed", delayMs: 1 } as const,
      retention: { completedMs: null, cancelledMs: null, deadMs: null },
    };
    while (!over.signal.aborted) {
      const [answer] = await storage.enqueue([[job, job]]);
      if (answer?.ok !== true) throw new Error("refused");
      const ids = answer.jobs.map(({ id }) => id);
      expect((await storage.get(ids)).every((stored) => stored !== undefined)).toBe(true);
      acknowledged.push(...ids);
    }
  };
  const writing = write();
  await Promise.all(
    openers.map(async (first) => {
      await first.do("close");
      await first.kill();
      for (let round = 0; round < size(5, 100); round++) {
        const child = await start();
        await child.do("enqueue", 1);
        await (round % 2 === 0 ? child.do("close") : child.kill());
        await child.kill();
      }
    }),
  );
  over.abort();
  await writing;
  for (let i = 0; i < acknowledged.length; i += 500) {
    const stored = await storage.get(acknowledged.slice(i, i + 500));
    expect(stored.every((job) => job !== undefined)).toBe(true);
  }
  expect((await storage.count({})).n).toBe(acknowledged.length + 2 * size(5, 100));
  await storage.close();
});
