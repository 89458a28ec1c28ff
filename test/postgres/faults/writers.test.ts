import { beforeAll, describe, expect, it } from "vitest";
import { JOB_STATES } from "../../../src/job/job.ts";
import { startServer } from "../../support/postgres/server.ts";
import { randomFrom, seed, size } from "../../support/size.ts";
import { buildMembers, figure, Fleet, type MemberOptions, TIMEOUT_MS } from "./fleet.ts";
import { type Allowed, problemsIn } from "./server-log.ts";

// Goal: writers that do everything at once to the same jobs never wait for each other in a circle, and the
// storage's counts are those of its rows afterwards.
// Method: 32 writers in four processes, two of which run the jobs as well. The server looks for deadlocks after
// 20 ms, so that none is missed because one of its parties gave up first.

const PROCESSES = 4;
const WRITERS = 8;

const MOVED: Allowed = {
  text: /ERROR: {2}a job was retried while it was looked for/,
  why: "an operator's change looks again at a job that has moved meanwhile",
};

beforeAll(buildMembers);

describe("32 writers at once", { timeout: TIMEOUT_MS }, () => {
  it("enqueue, cancel, retry, remove, pause and run the same jobs without a deadlock", async () => {
    const calls = size(1_500, 30_000);
    const random = randomFrom(seed("32 writers"));
    await using server = await startServer({ fsync: true, settings: { deadlock_timeout: "20ms" } });
    await using fleet = new Fleet(server);
    const mixers = await fleet.launchAll(
      ...Array.from({ length: PROCESSES }, (_, n): [string, MemberOptions] => [
        "mixer",
        {
          ...{ seed: Math.floor(random() * 2 ** 31), writers: WRITERS, ids: 60, works: n % 2 === 0 },
          storage: { maxConnections: WRITERS },
        },
      ]),
    );
    const made = (): number =>
      mixers.reduce((sum, mixer) => sum + ((mixer.tells("calls").at(-1) as number | undefined) ?? 0), 0);
    await fleet.until("enough calls are made", () => made() >= calls, TIMEOUT_MS / 2);
    await Promise.all(mixers.map((mixer) => fleet.end(mixer)));

    expect(problemsIn(fleet.log(), [MOVED])).toEqual([]);
    const counts = await fleet.withStorage(async (storage) => {
      const found: { state: string; counted: number; listed: number }[] = [];
      for (const state of JOB_STATES) {
        const { n } = await storage.count({ state });
        const { jobs } = await storage.list({ state, limit: 1_000 });
        found.push({ state, counted: n, listed: jobs.length });
      }
      return found;
    });
    for (const { state, counted, listed } of counts) expect(counted, state).toBe(listed);
    const total = counts.reduce((sum, { counted }) => sum + counted, 0);
    expect(total).toBeGreaterThan(0);
    expect(total).toBeLessThanOrEqual(60);
    figure(`32 writers: ${made()} calls on 60 jobs in ${PROCESSES} processes, no deadlock, counts agree`);
  });
});
