import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check } from "./history.ts";
import { lmdb } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: a process that dies or stands still inside a write leaves the store whole. After a death the others go
// on; behind one that stands still their writes may wait, but never their event loops.
// Method: heavy writing by all; one of them is killed or stopped at random instants. The others measure their
// longest wait, and their longest stall with a timer of 10 ms.

const VICTIMS = 2;
const SURVIVORS = 2;
/** What no slow machine may reach; the measured times are figures. */
const STALL_MS_MAX = 5_000;
const WAIT_MS_MAX = 20_000;

beforeAll(buildChildren);

describe("a process that dies or stands still inside a write", { timeout: TIMEOUT_MS }, () => {
  it("leaves the store whole, and nobody else's event loop stalls", async () => {
    const kills = size(10, 200);
    const stops = size(10, 200);
    const random = randomFrom(seed("inside a write"));
    await using scene = await Scene.on(lmdb);
    const launch = (paceMs: number): Child =>
      scene.launch("writer", { seed: Math.floor(random() * 2 ** 31), readBack: false, paceMs });
    const survivors = Array.from({ length: SURVIVORS }, () => launch(1));
    const victims = Array.from({ length: VICTIMS }, () => launch(0));
    await Promise.all([...survivors, ...victims].map((child) => scene.ready(child)));
    const acks = (): number => survivors.reduce((sum, child) => sum + scene.count("ack", child), 0);

    let killed = 0;
    let stopped = 0;
    let inside = 0;
    // On, until one was certainly inside: only then it has shown anything.
    while (killed < kills || stopped < stops || (inside === 0 && stopped < 20 * stops)) {
      const i = Math.floor(random() * VICTIMS);
      const victim = victims[i] as Child;
      await pause(random() * 15);
      const doKill = killed < kills && random() < 0.5;
      if (!doKill) {
        stopped += 1;
        victim.process.kill("SIGSTOP");
        // What was past the gate when it stopped is through by now; after that only acks tell.
        await pause(20);
        const before = acks();
        await pause(20 + random() * 60);
        if (acks() === before) inside += 1;
        if (random() < 0.7) {
          victim.process.kill("SIGCONT");
          continue;
        }
      } else {
        killed += 1;
      }
      await scene.kill(victim);
      const before = acks();
      await scene.until("the others go on", () => acks() > before);
      const next = launch(0);
      victims[i] = next;
      await scene.ready(next);
    }
    await Promise.all([...survivors, ...victims].map((child) => scene.end(child)));

    const names = new Set(survivors.map(({ name }) => name));
    const ofOthers = scene.all("measure").filter(({ by }) => names.has(by));
    const longest = (name: string): number =>
      Math.max(...ofOthers.filter((measure) => measure.name === name).map(({ value }) => value));
    const stored = await scene.stored();
    figure(
      lmdb,
      `inside a write: ${killed} kills and ${stopped} stops of heavy writers (${inside} stops held up the others), ` +
        `${stored.length} jobs stored, none lost; the others' longest wait ${longest("longest wait").toFixed(0)} ms, ` +
        `longest stall of an event loop ${longest("longest stall").toFixed(0)} ms`,
    );
    expect(check(scene.seen(), stored, { lostAfterMs: 3_000, mustEnd: false })).toEqual([]);
    expect(inside).toBeGreaterThan(0);
    expect(longest("longest wait")).toBeLessThan(WAIT_MS_MAX);
    expect(longest("longest stall")).toBeLessThan(STALL_MS_MAX);
  });
});
