import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check } from "./history.ts";
import { places } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: when every process dies at once, nothing acknowledged is missing afterwards, and the next ones go on.
// Method: kill -9 of all of them at a random instant, a look at the store while nobody else has it, and anew.

const WORKERS = 3;

beforeAll(buildChildren);

describe.each(places)("kill -9 of all processes at once, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it("leaves every acknowledged job there, and all complete in the end", async () => {
    const times = size(2, 20);
    const random = randomFrom(seed(`restart of everything on ${place.label}`));
    await using scene = await Scene.on(place);
    const options = { lostAfterMs: place.lostAfterMs };
    const starts = (): number => scene.count("start");
    let workers: Child[] = [];
    let spawner: Child | undefined;
    let base = 0;
    const feed = (): void => spawner?.send("allow", starts() + 100 - base);
    const launch = (): void => {
      base = starts();
      workers = Array.from({ length: WORKERS }, () => scene.launch("worker", options));
      spawner = scene.launch("spawner", { seed: Math.floor(random() * 2 ** 31), allowed: 0, ...options });
    };
    let openMs = 0;
    for (let n = 1; n <= times; n += 1) {
      launch();
      const goal = starts() + 10 + Math.ceil(random() * 150);
      await scene.until("more jobs start", () => {
        feed();
        return starts() >= goal;
      });
      await pause(random() * 20);
      await Promise.all([...workers, spawner as Child].map((child) => scene.kill(child)));
      const openAt = performance.now();
      await scene.withStorage(async () => {
        openMs = Math.max(openMs, performance.now() - openAt);
      });
      expect(
        check(scene.seen(), await scene.stored(), { lostAfterMs: place.lostAfterMs, mustEnd: false }),
      ).toEqual([]);
    }
    launch();
    await scene.ready(spawner as Child);
    await scene.end(spawner as Child);
    await scene.allEnded();
    await Promise.all(workers.map((worker) => scene.end(worker)));
    const stored = await scene.stored();
    figure(
      place,
      `restart: ${times} × all ${WORKERS + 1} processes killed at once, ` +
        `${scene.acknowledged} jobs acknowledged, all completed, ` +
        `${stored.reduce((sum, { failures }) => sum + failures.length, 0)} attempts lost; reopened within ${openMs.toFixed(0)} ms`,
    );
    expect(check(scene.seen(), stored, { lostAfterMs: place.lostAfterMs })).toEqual([]);
  });
});
