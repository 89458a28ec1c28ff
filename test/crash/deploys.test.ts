import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check } from "./history.ts";
import { places } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: workers that are ended in order, in the midst of work and of claims, leave nothing behind: no job has
// to be rescued, none spends an attempt, none is under suspicion.
// Method: three busy workers, one of them ended at a random instant and replaced, again and again.

const LOST_AFTER_MS = 3_000;
const WORKERS = 3;
/** Answers of the storage come this much later, so that most ends come while a claim is under way. */
const ANSWER_MS = 25;

beforeAll(buildChildren);

describe.each(places)(
  "workers that are replaced one after the other, on $label",
  { timeout: TIMEOUT_MS },
  (place) => {
    it("hand everything back themselves", async () => {
      const deploys = size(8, 150);
      const random = randomFrom(seed(`deploys on ${place.label}`));
      await using scene = await Scene.on(place);
      const options = { lostAfterMs: LOST_AFTER_MS, answerMs: ANSWER_MS };
      const workers = Array.from({ length: WORKERS }, () => scene.launch("worker", options));
      const spawner = scene.launch("spawner", {
        seed: Math.floor(random() * 2 ** 31),
        allowed: 200,
        ...options,
      });
      const starts = (): number => scene.count("start");
      const feed = (): void => spawner.send("allow", starts() + 200);
      for (let n = 1; n <= deploys; n += 1) {
        const goal = starts() + Math.ceil(random() * 60);
        await scene.until("more jobs start", () => {
          feed();
          return starts() >= goal;
        });
        await pause(random() * 10);
        const i = Math.floor(random() * WORKERS);
        const ending = workers[i] as Child;
        await scene.ready(ending);
        workers[i] = scene.launch("worker", options);
        await scene.end(ending, random() < 0.5 ? "SIGTERM" : "close");
      }
      await scene.end(spawner);
      await scene.allEnded();
      await Promise.all(workers.map((worker) => scene.end(worker)));
      const stored = await scene.stored();
      figure(
        place,
        `deploys: ${deploys} workers ended in order and replaced, ${stored.length} jobs, none rescued, none spent`,
      );
      expect(check(scene.seen(), stored, { lostAfterMs: LOST_AFTER_MS })).toEqual([]);
      expect(scene.all("rescue")).toEqual([]);
      expect(
        stored.filter(({ attempt, marked, failures }) => attempt !== 1 || marked || failures.length > 0),
      ).toEqual([]);
    });
  },
);
