// oxlint-disable vitest/no-conditional-expect -- what must hold depends on where it was cut
import { describe, expect, it } from "vitest";
import { StorageUnavailableError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import type { ClaimResult, Lease, SettleResult, Storage } from "../../src/storage/storage.ts";
import { type Direction, TcpProxy } from "../support/postgres/proxy.ts";
import { CuttingProxy } from "./support/cutting-proxy.ts";
import { newJob } from "./support/job.ts";
import { serving } from "./support/serving.ts";

// Goal: wherever a connection ends, each call comes to an answer or a typed error, nothing acknowledged is lost and
// nothing is made twice; the client goes on by itself.
// Method: a session of all kinds of calls is cut after byte k, for k all over both directions; then connections that
// nobody ends, through which nothing comes any more.

const JOBS = 3;
const PROCESS = "p";

/** A session as a spawner and a worker have it. Answers what was acknowledged. */
async function session(client: Storage): Promise<{ enqueued: number[]; settled: number[] }> {
  const process = { id: PROCESS, host: "h", pid: 1, lostAfterMs: 60_000, queues: [], holds: [], starts: [] };
  await client.beat({ ...process, first: true });
  const payloads = Array.from({ length: JOBS }, (_, index) => newJob({ payload: `${index}` }));
  const groups = await Promise.all(payloads.map((job, index) => client.enqueue([[job]], `batch-${index}`)));
  const enqueued = groups.flat().flatMap((group) => (group.ok ? group.jobs.map(({ id }) => id) : []));
  const leases = await claimed(client);
  const settled = await settle(client, leases);
  await fire(client);
  await client.list({ state: "completed", limit: 100 });
  return { enqueued, settled };
}

/** Claim as a worker does: when the answer is lost, it looks which leases the token was given all the same. */
async function claimed(client: Storage): Promise<Lease[]> {
  const request = {
    processId: PROCESS,
    token: "p:1",
    queues: [{ queue: "default", names: ["work"], room: JOBS, readAhead: 0 }],
    starts: [],
  };
  let answer: ClaimResult | undefined;
  for (let attempt = 1; answer === undefined; attempt += 1) {
    try {
      answer = await client.claim({ ...request, token: `p:${attempt}` });
    } catch (error) {
      expect(error).toBeInstanceOf(StorageUnavailableError);
      const { jobs } = await client.list({ state: "running", limit: 100 });
      if (jobs.length > 0)
        return jobs.map(({ id, generation }) => ({ id, generation, token: `p:${attempt}` }));
    }
  }
  return answer.jobs.map(({ id, generation, token }) => ({ id, generation, token }));
}

/** Make a schedule with a job as upkeep does: when the answer is lost, or another one wrote it, it looks again. */
async function fire(client: Storage): Promise<void> {
  const row = { text: "{}", nextAt: null };
  const write = { key: "nightly", expected: 0, row, jobs: [newJob({ name: "tick", payload: "tick" })] };
  for (;;) {
    try {
      const [result] = await client.writeSchedules([write]);
      if (result?.ok === true) return;
    } catch (error) {
      expect(error).toBeInstanceOf(StorageUnavailableError);
    }
    if ((await client.schedules()).length > 0) return;
  }
}

async function settle(client: Storage, leases: readonly Lease[]): Promise<number[]> {
  const results: SettleResult[] = await client.settle(
    leases.map((lease) => ({ lease, outcome: { state: "completed", result: "1" }, startedAt: Date.now() })),
  );
  return leases.filter((_, index) => results[index] === "settled").map(({ id }) => id);
}

interface Cut {
  readonly direction: Direction;
  readonly after: number;
}

/** One session with one cut; answers how many bytes passed before it. */
async function cutSession({ direction, after }: Cut): Promise<Record<Direction, number>> {
  await using stage = await serving();
  await using proxy = await CuttingProxy.start(stage.server.port, direction, after);
  const client = new RemoteStorage({ url: proxy.url, logger: silentLogger });
  try {
    await client.open();
    const { enqueued, settled } = await session(client);
    const what = `cut after byte ${after} of the ${direction}`;
    expect(enqueued, what).toHaveLength(JOBS);
    expect(settled.sort(), what).toEqual(enqueued.sort());
    // What the storage itself holds: each job once, and each completed.
    const { jobs } = await stage.behind.list({ state: "completed", limit: 100 });
    expect(jobs.map(({ payload }) => payload).sort(), what).toEqual(["0", "1", "2"]);
    expect(await stage.behind.count({ name: "tick" }), what).toEqual({ n: 1, exact: true });
    expect(await stage.behind.count({}), what).toEqual({ n: JOBS + 1, exact: true });
    if (after !== Infinity) expect(proxy.taken, what).toBeGreaterThan(1);
    return { ...proxy.passed };
  } finally {
    await client.close();
  }
}

describe("a connection that is cut", () => {
  it("after any byte of a session costs nobody a job, and makes none twice", async () => {
    const whole = await cutSession({ direction: "requests", after: Infinity });
    const cuts: Cut[] = [];
    for (const direction of ["requests", "answers"] as const) {
      // The last bytes of a whole session are its close.
      const length = whole[direction] - 32;
      expect(length).toBeGreaterThan(500);
      for (const after of [1, 2, 3, 5, 8]) cuts.push({ direction, after });
      for (let after = 97; after < length; after += 97) cuts.push({ direction, after });
    }
    const left = [...cuts];
    const work = async (): Promise<void> => {
      for (let cut = left.pop(); cut !== undefined; cut = left.pop()) await cutSession(cut);
    };
    await Promise.all(Array.from({ length: 8 }, work));
    process.stderr.write(`${cuts.length} cuts of a session of ${whole.requests} + ${whole.answers} bytes\n`);
  });

  it("over and over, while many calls are made, loses none of them", async () => {
    await using stage = await serving();
    await using proxy = await TcpProxy.start(stage.server.port);
    const client = await stage.client({ url: proxy.url(stage.server.url) });
    const total = 600;
    let next = 0;
    const run = { isOver: false };
    const spawner = async (): Promise<void> => {
      while (next < total) {
        const payload = `${next}`;
        next += 1;
        await client.enqueue([[newJob({ payload })]]);
      }
    };
    const cutter = async (): Promise<number> => {
      let cuts = 0;
      while (!run.isOver) {
        const { taken } = proxy;
        // Somewhere in the middle of what goes on.
        const before = proxy.connections[0]?.passed("answers") ?? 0;
        while (!run.isOver && (proxy.connections[0]?.passed("answers") ?? 0) < before + 1_500) {
          await new Promise(setImmediate);
        }
        if (run.isOver) break;
        proxy.reset();
        cuts += 1;
        while (!run.isOver && proxy.taken === taken) await new Promise(setImmediate);
      }
      return cuts;
    };
    const cutting = cutter();
    await Promise.all(Array.from({ length: 20 }, spawner));
    run.isOver = true;
    expect(await cutting).toBeGreaterThan(2);
    const found: string[] = [];
    for (let after: string | undefined, first = true; first || after !== undefined; first = false) {
      const { jobs, next: following } = await stage.behind.list({
        state: "available",
        limit: 1_000,
        ...(after === undefined ? {} : { after }),
      });
      found.push(...jobs.map(({ payload }) => payload));
      after = following;
    }
    expect(found.map(Number).sort((a, b) => a - b)).toEqual(
      Array.from({ length: total }, (_, index) => index),
    );
  });
});

describe("a connection through which nothing comes any more", () => {
  it.each(["requests", "answers", undefined] as const)(
    "(%s) is noticed, and calls settle on the next",
    async (direction) => {
      const heartbeatMs = 100;
      await using stage = await serving({ heartbeat: heartbeatMs });
      await using proxy = await TcpProxy.start(stage.server.port);
      const client = await stage.client({ url: proxy.url(stage.server.url) });
      await client.lanes();
      const [connection] = proxy.connections;
      const frozenAt = performance.now();
      connection?.freeze(direction);
      const claim = client.claim({ processId: PROCESS, token: "t", queues: [], starts: [] }).then(
        () => "answered",
        (error: unknown) => error,
      );
      const enqueued = client.enqueue([[newJob()]]);
      // The enqueue is made again on another connection; the claim is its caller's to judge.
      expect(await enqueued).toMatchObject([{ ok: true, jobs: [{ status: "created" }] }]);
      const noticedMs = performance.now() - frozenAt;
      expect(await claim).toBeInstanceOf(StorageUnavailableError);
      expect(proxy.taken).toBe(2);
      expect(await stage.behind.count({})).toEqual({ n: 1, exact: true });
      process.stderr.write(
        `frozen ${direction ?? "both"}: calls answered ${(noticedMs / heartbeatMs).toFixed(1)} heartbeats later\n`,
      );
      // Two to three heartbeats and a new connection; the machine may be busy.
      expect(noticedMs).toBeLessThan(5_000);
      // The server lets go of what it does not hear from, too.
      while ((await connections(stage.server.port)) > 1) await new Promise(setImmediate);
    },
  );
});

async function connections(port: number): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^jobwright_server_connections (\d+)$/m.exec(page)?.[1]);
}
