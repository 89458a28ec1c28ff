import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check } from "./history.ts";
import { places } from "./places.ts";
import { buildChildren, figure, haveAllEnded, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: one job that kills every process that runs it costs no other job an attempt that had not started, and
// ends dead. A job without retries is never dead without having started.
// Method: workers that read ahead, neighbours of all kinds before and behind the poison, and a new worker
// for each that died.

const POISON_RETRIES = 2;

beforeAll(buildChildren);

describe.each(places)("a poison job, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it.each(["exit", "kill"])("that ends its process by %s spends only its own attempts", async (act) => {
    const rounds = size(1, 10);
    const random = randomFrom(seed(`poison ${act} on ${place.label}`));
    let deaths = 0;
    let unread = 0;
    let spentByOthers = 0;
    let round = 0;
    // On, until something was lost that had been read ahead: only then it has shown anything.
    while (round < rounds || (unread === 0 && round < 10 * rounds)) {
      round += 1;
      await using scene = await Scene.on(place);
      const jobs = await scene.connect();
      const before = 500 + Math.floor(random() * 200);
      const neighbour = (): { payload: object; options: { maxRetries: number } } => ({
        payload: { ms: random() < 0.9 ? 0 : Math.floor(random() * 10) },
        options: { maxRetries: random() < 0.5 ? 0 : 3 },
      });
      const ids = await scene.enqueue(jobs, [
        ...Array.from({ length: before }, neighbour),
        { payload: { act }, options: { maxRetries: POISON_RETRIES } },
        ...Array.from({ length: 600 }, neighbour),
      ]);
      await jobs.close();
      const poison = ids[before] as string;

      // Long turns, so that much is read ahead when it happens.
      const launch = (): ReturnType<Scene["launch"]> => {
        const worker = scene.launch("worker", { lostAfterMs: place.lostAfterMs, concurrency: 3 });
        scene.expectEnd(worker);
        return worker;
      };
      const workers = [launch(), launch()];
      await scene.withStorage((storage) =>
        scene.until("all is done", async () => {
          for (const [i, worker] of workers.entries()) {
            if (!worker.isOver) continue;
            const { code, signal } = await worker.exited;
            expect(act === "exit" ? code : signal).toBe(act === "exit" ? 7 : "SIGKILL");
            deaths += 1;
            workers[i] = launch();
          }
          return haveAllEnded(storage);
        }),
      );
      await Promise.all(workers.map((worker) => scene.end(worker)));

      const stored = await scene.stored();
      const history = scene.seen();
      expect(
        check(history, stored, {
          lostAfterMs: place.lostAfterMs,
          mayDie: ({ failures }) => failures.length > 0,
        }),
      ).toEqual([]);
      const found = stored.find(({ id }) => id === poison);
      expect(found).toMatchObject({ state: "dead", attempt: POISON_RETRIES + 1, marked: true });
      expect(found?.failures.map(({ error }) => error)).toEqual([
        "ProcessLostError",
        "ProcessLostError",
        "ProcessLostError",
      ]);

      const starts = scene.all("start");
      const poisonStarts = starts.filter(({ id }) => id === poison);
      // The first death may come before anybody knew of its start; from then on it comes alone and is counted.
      expect(poisonStarts.length - (POISON_RETRIES + 1)).toBeOneOf([0, 1]);
      for (const job of stored) {
        if (job.id === poison) continue;
        // Whatever was spent was spent by a run that the handler has seen; no exception for marked jobs here.
        for (const failure of job.failures) {
          expect(starts.some(({ id, process }) => id === job.id && process === failure.processId)).toBe(true);
          spentByOthers += 1;
        }
      }
      const once = stored.filter(({ id, failures }) => {
        return failures.length === 0 && starts.filter((start) => start.id === id).length === 1;
      });
      expect(once.length).toBeGreaterThan(900);
      for (const job of once) expect(job).toMatchObject({ state: "completed", attempt: 1 });
      const unstarted = scene
        .all("rescue")
        .flatMap(({ jobs: rescued }) => rescued.filter(([, , started]) => !started));
      unread += unstarted.filter(([id]) => String(id) !== poison).length;
    }
    figure(
      place,
      `poison (${act}): ${round} poison jobs, ${deaths} processes dead, ${unread} neighbours lost unstarted and ` +
        `unspent, ${spentByOthers} runs of neighbours under way at a death`,
    );
    expect(unread).toBeGreaterThan(0);
  });
});
