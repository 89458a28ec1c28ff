import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StorageUnavailableError } from "../../../src/errors.ts";
import type { JobId, JobState } from "../../../src/job/job.ts";
import { silentLogger } from "../../../src/logger.ts";
import { PostgresStorage } from "../../../src/storage/postgres/index.ts";
import type { Lease } from "../../../src/storage/storage.ts";
import { type LocalServer, startServer } from "../../support/postgres/server.ts";
import { beat, completed, dead, enqueue, job, request } from "./direct.ts";
import { figure, TIMEOUT_MS } from "./fleet.ts";
import { OUTAGES, problemsIn } from "./server-log.ts";

// Goal: a claim does not wait for the disk, so a crash of the server can take it back; then its job is given out
// again, and nothing that the former holder still does has an effect. What was acknowledged stays.
// Method: a server that writes on its own account only every ten seconds is killed right after a claim, so that
// the claim is lost for certain.

const N = 5;

let server: LocalServer;

beforeAll(async () => {
  server = await startServer({
    fsync: true,
    settings: { wal_writer_delay: "10s", autovacuum: false, bgwriter_delay: "10s", checkpoint_timeout: "1h" },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

/** A storage as another process would have it. */
async function open(schema: string): Promise<PostgresStorage> {
  const storage = new PostgresStorage({ url: server.url, schema, logger: silentLogger });
  await storage.open();
  return storage;
}

describe("a crash of the server takes a claim back", { timeout: TIMEOUT_MS }, () => {
  it("whose jobs are given out again, and whose holder changes nothing any more", async () => {
    const former = await open("taken_back");
    await former.beat(beat("former", true));
    const second = await open("taken_back");
    await second.beat(beat("second", true));
    // Its commit waits for the disk, and takes with it what was committed before without waiting.
    const ids = await enqueue(former, ...Array.from({ length: N }, (_, n) => job(n)));
    const before = await former.claim(request("former", 1, N));
    expect(before.jobs.map(({ id }) => id)).toEqual(ids);
    await crash(former, second);

    const again = await second.claim(request("second", 1, N));
    expect(again.known).toBe(true);
    // The same runs, in the hands of another.
    expect(runs(again.jobs)).toEqual(runs(before.jobs));

    const allStale = before.jobs.map(() => "stale");
    expect(await former.settle(before.jobs.map(completed))).toEqual(allStale);
    expect(await former.settle(before.jobs.map(dead))).toEqual(allStale);
    expect(await former.note(before.jobs[0] as Lease, { checkpoint: { at: "1" } })).toBe("stale");
    const next = await former.exchange(before.jobs.map(completed), request("former", 2, N));
    expect([next.settled, next.claimed.jobs]).toEqual([allStale, []]);
    // It hears of it with its next beat.
    const { lost } = await former.beat({ ...beat("former", false), holds: before.jobs });
    expect(lost).toHaveLength(N);

    expect(await second.settle(again.jobs.map(completed))).toEqual(again.jobs.map(() => "settled"));
    // Also when it tries once more, on jobs that are over by now.
    expect(await former.settle(before.jobs.map(completed))).toEqual(allStale);
    const ends = await second.get(ids);
    expect(ends.map((end) => [end?.state, end?.result, end?.attempt])).toEqual(
      ids.map(() => ["completed", '"second.1"', 1]),
    );
    figure(`crash: ${N} claims taken back and given out again, 4 × ${N} settles under the old ones refused`);
    await former.close();
    await second.close();
  });

  it("but never what was acknowledged: jobs, ends of runs, changes", async () => {
    const storage = await open("acknowledged");
    const n = async (state: JobState): Promise<number> => (await storage.count({ state })).n;
    await storage.beat(beat("one", true));
    await enqueue(storage, job(0), job(1));
    const first = await storage.claim(request("one", 1, 1));
    expect(await storage.settle(first.jobs.map(completed))).toEqual(["settled"]);
    await crash(storage);
    expect([await n("completed"), await n("available")]).toEqual([1, 1]);

    const { jobs } = await storage.claim(request("one", 2, 1));
    const both = await storage.exchange(jobs.map(completed), request("one", 3, 1));
    expect(both.settled).toEqual(["settled"]);
    await crash(storage);
    expect([await n("completed"), await n("available")]).toEqual([2, 0]);

    const [id] = await enqueue(storage, job(2));
    await crash(storage);
    expect(await n("available")).toBe(1);

    expect(await storage.change([id as JobId], { kind: "cancel", reason: "enough" })).toEqual(["changed"]);
    await crash(storage);
    expect([await n("completed"), await n("cancelled"), await n("available")]).toEqual([2, 1, 0]);
    await storage.close();
    expect(problemsIn(server.log(), OUTAGES)).toEqual([]);
  });
});

/** Kill every process of the server, start it, and wait until all have noticed. */
async function crash(...storages: PostgresStorage[]): Promise<void> {
  await server.kill();
  await server.start();
  for (const storage of storages) await known(storage);
}

/** Calls fail until the broken connections are replaced: repeating is what the contract asks for. */
async function known(storage: PostgresStorage): Promise<void> {
  for (const look of [() => storage.processes(), () => storage.claim(request("nobody", 1, 0))]) {
    for (;;) {
      try {
        await look();
        break;
      } catch (error) {
        if (!(error instanceof StorageUnavailableError)) throw error;
      }
    }
  }
}

function runs(leases: readonly Lease[]): unknown {
  return leases.map(({ id, generation }) => [id, generation]);
}
