import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check, recoveries } from "./history.ts";
import { places } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: whoever is killed at whatever instant, nothing acknowledged is lost, no job runs twice at once while
// its first process lives, attempts are exact, and what a dead process held is soon in other hands.
// Method: four workers and a spawner in processes of their own, one of them killed with SIGKILL after a random
// number of starts and a random pause, and started anew at once. All write down what they are answered; the
// checker of history.ts judges.

const WORKERS = 4;
/** Beyond the silence limit, and far beyond the goal of 2 s, which is a figure: a slow machine must not fail this. */
const RECOVERY_MS_MAX = 20_000;

beforeAll(buildChildren);

describe.each(places)(
  "kill -9 of workers and spawner at random, on $label",
  { timeout: TIMEOUT_MS },
  (place) => {
    it("loses nothing, runs nothing twice at once, counts attempts exactly, and recovers soon", async () => {
      const kills = size(10, 200);
      const jobs = size(500, 10_000);
      const random = randomFrom(seed(`kills on ${place.label}`));
      await using scene = await Scene.on(place);

      const options = { lostAfterMs: place.lostAfterMs };
      const workers = Array.from({ length: WORKERS }, () => scene.launch("worker", options));
      const starts = (): number => scene.count("start");
      /** Always a little more than what was started, so that it is busy until the end. */
      const launchSpawner = (): Child =>
        scene.launch("spawner", { seed: Math.floor(random() * 2 ** 31), allowed: 0, ...options });
      let spawner = launchSpawner();
      let base = 0;
      const feed = (): void => spawner.send("allow", starts() + 150 - base);

      let killed = 0;
      while (killed < kills) {
        const goal = starts() + Math.ceil(random() * 2 * (jobs / kills));
        await scene.until("more jobs start", () => {
          feed();
          return starts() >= goal;
        });
        await pause(random() * 20);
        killed += 1;
        if (random() < 0.2) {
          await scene.kill(spawner);
          base = starts();
          spawner = launchSpawner();
        } else {
          const i = Math.floor(random() * WORKERS);
          await scene.kill(workers[i] as Child);
          workers[i] = scene.launch("worker", options);
        }
      }
      await scene.until("enough jobs are acknowledged", () => {
        feed();
        return scene.acknowledged >= jobs;
      });
      await scene.end(spawner);
      await scene.allEnded();
      await Promise.all(workers.map((worker) => scene.end(worker)));

      const history = scene.seen();
      const stored = await scene.stored();
      const recovered = recoveries(history);
      const slowest = Math.max(0, ...recovered);
      const lostRuns = stored.reduce((n, { failures }) => n + failures.length, 0);
      figure(
        place,
        `kills: ${killed} kills of ${WORKERS} workers and a spawner, ${scene.acknowledged} jobs acknowledged, ` +
          `${starts()} runs, ${lostRuns} attempts lost with their process, ${stored.filter((job) => job.marked).length} ` +
          `jobs marked; ${recovered.length} runs cut off, in other hands after at most ${Math.round(slowest)} ms ` +
          `(silence limit ${place.lostAfterMs} ms)`,
      );
      expect(check(history, stored, { lostAfterMs: place.lostAfterMs })).toEqual([]);
      expect(slowest).toBeLessThan(place.lostAfterMs + RECOVERY_MS_MAX);
      // A run in which nobody was ever caught at work would prove nothing.
      expect(recovered.length).toBeGreaterThan(kills / 4);
      expect(lostRuns).toBeGreaterThan(0);
    });
  },
);
