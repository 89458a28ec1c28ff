import { beforeAll, describe, expect, it } from "vitest";
import { limits } from "../../src/job/limits.ts";
import { JOB_STATES } from "../../src/job/job.ts";
import { randomFrom, seed, size } from "../support/size.ts";
import { places } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";
import { checkTicks, type Grid, type TickEntry, type TickJob } from "./ticks.ts";

// Goal: every tick of a schedule makes one job, whoever is killed or stopped at whatever instant and whatever clock
// a machine has; and none is missing that a process was there for.
// Method: three processes with the same four schedules and clocks up to five minutes apart, killed (-9), stopped
// (SIGTERM) and started anew, sometimes all of them and with another clock. On LMDB each of them hands in its own
// time; PostgreSQL's own is the one that counts. Ticks that nobody was there for are made up for ("all").

const PROCESSES = 3;
const CLOCKS_MS = [-150_000, 0, 150_000] as const;
const GRIDS: Readonly<Record<string, Grid>> = {
  "every-1": { stepMs: 1_000, isWhole: false },
  "every-2": { stepMs: 2_000, isWhole: false },
  "cron-1": { stepMs: 1_000, isWhole: true },
  "cron-2": { stepMs: 2_000, isWhole: true },
};

beforeAll(buildChildren);

describe.each(places)("schedules under kills and stops, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it("fires every tick exactly once, with clocks apart by five minutes", async () => {
    const runMs = size(6_000, 120_000);
    const random = randomFrom(seed(`cron on ${place.label}`));
    await using scene = await Scene.on(place);

    const launch = (clockMs: number): Child =>
      scene.launch("ticker", { clockMs, lostAfterMs: place.lostAfterMs });
    const tickers = new Set<Child>();
    // The slowest clock first: what the others' clocks are ahead is made up for.
    for (const clockMs of CLOCKS_MS) {
      const ticker = launch(clockMs);
      tickers.add(ticker);
      await scene.ready(ticker);
    }
    const done = { kill: 0, stop: 0 };
    const take = async (child: Child): Promise<void> => {
      tickers.delete(child);
      const how = random() < 0.5 ? "kill" : "stop";
      done[how] += 1;
      if (how === "kill") return scene.kill(child);
      // Before it has begun, nothing in it heeds a signal.
      await scene.ready(child);
      await scene.end(child, "SIGTERM");
    };

    const end = performance.now() + runMs;
    while (performance.now() < end) {
      await pause(400 + random() * 1_600);
      const present = [...tickers];
      const isAll = random() < 0.15;
      const victims = isAll ? present : present.slice(Math.floor(random() * present.length)).slice(0, 1);
      await Promise.all(victims.map(take));
      // For a while nobody is there, now and then for so long that ticks are no longer on time.
      if (isAll) await pause(random() < 0.3 ? runMs / 10 : random() * 1_000);
      while (tickers.size < PROCESSES)
        tickers.add(launch(CLOCKS_MS[Math.floor(random() * CLOCKS_MS.length)] ?? 0));
      // One that is taken before it has begun proves nothing: most are let begin.
      if (random() < 0.7) for (const child of tickers) await scene.ready(child);
    }
    // What the fastest clock has put off is only due by its time.
    const last = launch(Math.max(...CLOCKS_MS));
    tickers.add(last);
    await scene.ready(last);
    const jobs = await scene.connect();
    const removed = { at: Number(process.hrtime.bigint() / 1_000n), by: "test", what: "removed" } as const;
    for (const key of Object.keys(GRIDS)) expect(await jobs.schedules.remove(key)).toBe(true);
    await jobs.close();
    await scene.allEnded();
    await Promise.all([...tickers].map((child) => scene.end(child, "SIGTERM")));

    const verdict = checkTicks(
      [...(scene.seen() as unknown as readonly TickEntry[]), removed],
      await stored(scene),
      GRIDS,
    );
    figure(
      place,
      `cron: ${verdict.ticks} ticks of ${Object.keys(GRIDS).length} schedules in ${runMs / 1_000} s, ` +
        `${PROCESSES} processes with clocks ${(2 * Math.max(...CLOCKS_MS)) / 60_000} min apart, ${done.kill} kills, ` +
        `${done.stop} stops; twice ${verdict.twice}, missed ${verdict.missed}; fired by ${verdict.firing} ` +
        `processes, ${verdict.lost} writes came second; at most ${Math.round(verdict.latestMs)} ms late`,
    );
    expect(verdict.violations).toEqual([]);
    expect(done.kill + done.stop).toBeGreaterThanOrEqual(2);
    // A run in which one process did everything would prove nothing.
    expect(verdict.firing).toBeGreaterThan(1);
  });
});

/** Every job that a tick made. */
function stored(scene: Scene): Promise<TickJob[]> {
  return scene.withStorage(async (storage) => {
    const found: TickJob[] = [];
    for (const state of JOB_STATES) {
      let after: string | undefined;
      do {
        const page = await storage.list({
          state,
          limit: limits.listPage,
          ...(after === undefined ? {} : { after }),
        });
        for (const { id, payload } of page.jobs)
          found.push({ id: String(id), key: (JSON.parse(payload) as { key: string }).key, state });
        after = page.next;
      } while (after !== undefined);
    }
    return found;
  });
}
