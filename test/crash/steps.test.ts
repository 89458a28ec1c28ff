import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check } from "./history.ts";
import { type Place, places, type Step } from "./places.ts";
import { buildChildren, type Child, figure, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: a process may die at any step of what it writes, and what it leaves is put right: nothing lost, nothing
// run twice at once, every attempt accounted for.
// Method: a child kills itself at an instant of its n-th write of a kind: before, inside or after one of LMDB's
// two environments, durable and volatile; before a statement or a transaction of PostgreSQL, before its commit,
// when it is sent, and when it is answered. A second worker lives through all of it. Random kills hit these
// instants too rarely to rely on them.

interface Failpoint extends Step {
  readonly script: "worker" | "spawner";
  readonly nth: number;
}

function failpointsOn({ steps }: Place): Failpoint[] {
  return (["worker", "spawner"] as const).flatMap((script) =>
    steps.flatMap((step) => Array.from({ length: step.most }, (_, i) => ({ script, ...step, nth: i + 1 }))),
  );
}

beforeAll(buildChildren);

describe.each(places)("a process that dies at an exact step, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it("leaves nothing lost, nothing twice, and every attempt accounted for", async () => {
    const random = randomFrom(seed(`steps on ${place.label}`));
    const every = failpointsOn(place);
    const points = pick(every, size(Math.ceil(every.length / 20), every.length), random);
    await using scene = await Scene.on(place);
    const options = { lostAfterMs: place.lostAfterMs, pollMs: 200 };
    const survivor = scene.launch("worker", { ...options, concurrency: 20 });
    await scene.ready(survivor);
    const jobs = await scene.connect();
    let reached = 0;
    /** A spawner makes few of some writes: when it has asked for all it may, that step is never come to. */
    let unreached = 0;

    const dieAt = async (failpoint: Failpoint): Promise<void> => {
      const spawns = { seed: Math.floor(random() * 2 ** 31), allowed: 150, refused: 0.5 };
      const child: Child = scene.launch(failpoint.script, { ...options, ...spawns, failpoint });
      scene.expectEnd(child);
      await scene.until(`${child.name} dies at ${JSON.stringify(failpoint)}`, async () => {
        if (child.isOver) return true;
        // Something to do, for a worker that waits for it.
        if (failpoint.script === "worker" && child.tells("ready").length > 0) {
          // One of them fails at first: other ends of runs are written in other ways.
          const more = ["fail-once", "return", "return", "return", "return"];
          await scene.enqueue(
            jobs,
            more.map((act) => ({ payload: { act, ms: Math.floor(random() * 5) } })),
          );
        } else if (child.tells("idle").length > 0) {
          unreached += 1;
          await scene.kill(child);
        }
        return child.isOver;
      });
      expect((await child.exited).signal).toBe("SIGKILL");
      reached += 1;
    };
    // Several at a time: they meet each other's remains.
    const queue = [...points];
    const loop = async (): Promise<void> => {
      for (let point = queue.pop(); point !== undefined; point = queue.pop()) await dieAt(point);
    };
    await Promise.all([loop(), loop(), loop()]);

    await jobs.close();
    await scene.allEnded();
    await scene.end(survivor);
    const stored = await scene.stored();
    const lost = stored.flatMap(({ failures }) =>
      failures.filter(({ error }) => error === "ProcessLostError"),
    );
    figure(
      place,
      `steps: ${reached} deaths at exact steps of writes (${unreached} others elsewhere), ${scene.acknowledged} jobs ` +
        `acknowledged, ${lost.length} attempts lost`,
    );
    expect(check(scene.seen(), stored, { lostAfterMs: place.lostAfterMs })).toEqual([]);
    // Which steps are drawn is chance; most of them are come to.
    expect(reached - unreached).toBeGreaterThan(points.length / 4);
  });
});

/** `n` of the values, none twice. */
function pick<T>(values: readonly T[], n: number, random: () => number): T[] {
  const left = [...values];
  const picked: T[] = [];
  while (picked.length < n && left.length > 0)
    picked.push(...left.splice(Math.floor(random() * left.length), 1));
  return picked;
}
