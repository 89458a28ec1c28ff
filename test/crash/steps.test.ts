import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check } from "./history.ts";
import { buildChildren, type Child, figure, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: a process may die at any step between the two environments of a store, durable and volatile, and what
// it leaves is put right: nothing lost, nothing run twice at once, every attempt accounted for.
// Method: a child kills itself before, inside or after the n-th write of one of the environments; a second
// worker lives through all of it. Random kills hit these instants too rarely to rely on them.

const LOST_AFTER_MS = 3_000;
/** Writes that a worker makes from its start until it has done some jobs, and an enqueuer until it has stored some. */
const NTH_MAX = 15;
const WRITES = ["writeDurable", "writeVolatile"] as const;
const WHENS = ["before", "inside", "after"] as const;

interface Failpoint {
  readonly script: "worker" | "spawner";
  readonly write: (typeof WRITES)[number];
  readonly when: (typeof WHENS)[number];
  readonly nth: number;
}

const every: readonly Failpoint[] = (["worker", "spawner"] as const).flatMap((script) =>
  WRITES.flatMap((write) =>
    WHENS.flatMap((when) => Array.from({ length: NTH_MAX }, (_, i) => ({ script, write, when, nth: i + 1 }))),
  ),
);

beforeAll(buildChildren);

describe("a process that dies at an exact step", { timeout: TIMEOUT_MS }, () => {
  it("leaves nothing lost, nothing twice, and every attempt accounted for", async () => {
    const random = randomFrom(seed("steps"));
    const points = pick(every, size(16, every.length), random);
    await using scene = new Scene();
    const options = { lostAfterMs: LOST_AFTER_MS, pollMs: 200 };
    const survivor = scene.launch("worker", { ...options, concurrency: 20 });
    await scene.ready(survivor);
    const jobs = await scene.connect();
    let reached = 0;
    /** A spawner writes little that is volatile: when it stands still, that step is never come to. */
    let unreached = 0;

    const dieAt = async (failpoint: Failpoint): Promise<void> => {
      const spawns = { seed: Math.floor(random() * 2 ** 31), allowed: 150 };
      const child: Child = scene.launch(failpoint.script, { ...options, ...spawns, failpoint });
      scene.expectEnd(child);
      let rounds = 0;
      let acks = 0;
      await scene.until(`${child.name} dies at ${JSON.stringify(failpoint)}`, async () => {
        if (child.isOver) return true;
        // Something to do, for a worker that waits for it.
        if (failpoint.script === "worker") {
          await scene.enqueue(
            jobs,
            Array.from({ length: 5 }, () => ({ payload: { ms: Math.floor(random() * 5) } })),
          );
        } else if (child.tells("ready").length > 0 && scene.count("ack", child) === acks) {
          if ((rounds += 1) > 40) {
            unreached += 1;
            await scene.kill(child);
          }
        } else {
          rounds = 0;
          acks = scene.count("ack", child);
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
    figure(
      `steps: ${reached} deaths at exact steps of writes (${unreached} others elsewhere), ${scene.acknowledged} jobs ` +
        `acknowledged, ${stored.reduce((sum, { failures }) => sum + failures.length, 0)} attempts lost`,
    );
    expect(check(scene.seen(), stored, { lostAfterMs: LOST_AFTER_MS })).toEqual([]);
    expect(reached - unreached).toBeGreaterThan(points.length / 2);
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
