import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check } from "./history.ts";
import { type Place, places } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: processes that come and go, however they go, cost nobody else an acknowledged job or more than a moment.
// Method: a writer that reads back every job it was promised, beside processes that open and close, and
// processes that end while they enqueue: killed, by exit, by throwing, in order. This is how the LMDB that is
// bundled with its package loses writes when it is shared plainly: opening it undoes a commit beside it.

const ENDINGS = ["kill", "exit", "throw", "close"] as const;
const AT_ONCE = 3;
/** Each process opens and closes so often. */
const EACH = 52;
type Sizes = Record<"comers" | "ends", readonly [small: number, long: number]>;
/**
 * How many processes come and how many end in each way: small and long size. It is LMDB that opening endangers;
 * on PostgreSQL each is a few connections more.
 */
const SIZES: Readonly<Record<Place["label"], Sizes>> = {
  lmdb: { comers: [5, 100], ends: [15, 300] },
  postgres: { comers: [2, 40], ends: [6, 120] },
};
/** The goal is 2 s, and is a figure; this is what no slow machine may reach. */
const WAIT_MS_MAX = 20_000;

beforeAll(buildChildren);

describe.each(places)("processes that come and go, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it("lose nothing that was acknowledged, and hold up nobody, when they open and close", async () => {
    const opens = size(...SIZES[place.label].comers) * EACH;
    await using scene = await Scene.on(place);
    const writer = await launchWriter(scene);
    let opened = 0;
    await inTurns(opens / EACH, async () => {
      const comer = scene.launch("comer", { opens: EACH });
      const { code, signal } = await scene.ended(comer);
      expect({ code, signal, stderr: comer.stderr }).toEqual({ code: 0, signal: null, stderr: "" });
      opened += comer.tells("open").length;
    });
    expect(opened).toBe(opens);
    await judge(scene, writer, `${opens} opens and closes`);
  });

  it("lose nothing that was acknowledged, and hold up nobody, when they end while they enqueue", async () => {
    const ends = size(...SIZES[place.label].ends);
    const random = randomFrom(seed(`ends on ${place.label}`));
    await using scene = await Scene.on(place);
    const writer = await launchWriter(scene);
    let longestEnd = 0;
    const queue = Array.from({ length: ends }, () => ENDINGS).flat();
    await inTurns(queue.length, async (n) => {
      const how = queue[n] as (typeof ENDINGS)[number];
      const ender = scene.launch("ender", { how, seed: Math.floor(random() * 2 ** 31) });
      scene.expectEnd(ender);
      await scene.until(`${ender.name} is ready`, () => ender.isOver || ender.tells("ready").length > 0);
      const readyAt = performance.now();
      if (how === "kill") {
        await pause(random() * 30);
        await scene.kill(ender);
      }
      const { code, signal } = await scene.ended(ender);
      longestEnd = Math.max(longestEnd, performance.now() - readyAt);
      const thrown = ender.stderr.includes("Error: thrown on purpose");
      expect({ how, code, signal, thrown, stderr: thrown ? "" : ender.stderr }).toEqual({
        how,
        code: { kill: null, exit: 0, throw: 1, close: 0 }[how],
        signal: how === "kill" ? "SIGKILL" : null,
        thrown: how === "throw",
        stderr: "",
      });
    });
    await judge(
      scene,
      writer,
      `4 × ${ends} ends (${ENDINGS.join(", ")}), gone within ${longestEnd.toFixed(0)} ms`,
    );
  });
});

async function launchWriter(scene: Scene): Promise<Child> {
  const writer = scene.launch("writer", { seed: 1, readBack: true, paceMs: 1 });
  await scene.ready(writer);
  return writer;
}

/** Some at a time, until `total` are done. */
async function inTurns(total: number, one: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next < total) await one(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, loop));
}

async function judge(scene: Scene, writer: Child, what: string): Promise<void> {
  // An operation that fails ends the writer, and that fails the test.
  await scene.end(writer);
  const own = scene.count("ack", writer);
  const longest = scene.all("measure").find(({ name }) => name === "longest wait");
  figure(
    scene.place,
    `coming and going: ${what} beside a writer: ${scene.acknowledged} jobs acknowledged (${own} groups by the writer, ` +
      `read back at once), none lost; the writer's longest wait ${longest?.value.toFixed(1)} ms, 0 operations failed`,
  );
  const stored = await scene.stored();
  expect(check(scene.seen(), stored, { lostAfterMs: 3_000, mustEnd: false })).toEqual([]);
  expect(own).toBeGreaterThan(50);
  expect(longest?.value).toBeLessThan(WAIT_MS_MAX);
}
