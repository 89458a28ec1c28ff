import { beforeAll, describe, expect, it } from "vitest";
import { size } from "../support/size.ts";
import { check, type EntryOf } from "./history.ts";
import { places } from "./places.ts";
import { buildChildren, figure, Scene, TIMEOUT_MS, work } from "./scene.ts";

// Goal: a handler that blocks its event loop for longer than the silence limit holds up nobody else; its job
// is done by another, and what it brings in the end is refused.
// Method: one worker whose handler sleeps in Atomics.wait, another that works on; every enqueue and every
// result of the time between is timed.

const LOST_AFTER_MS = 1_000;
const BLOCK_MS = 3_000;

beforeAll(buildChildren);

describe.each(places)("a handler that blocks its event loop, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it("does not stop the others' enqueues and claims, and its late outcome is refused", async () => {
    const rounds = size(1, 5);
    let longestEnqueue = 0;
    let longestResult = 0;
    let between = 0;
    await using scene = await Scene.on(place);
    const options = { lostAfterMs: LOST_AFTER_MS };
    const blocked = scene.launch("worker", options);
    const other = scene.launch("worker", { ...options, paused: true });
    await Promise.all([scene.ready(blocked), scene.ready(other)]);
    await using jobs = await scene.connect();
    for (let round = 1; round <= rounds; round += 1) {
      const [id = ""] = await scene.enqueue(jobs, [
        { payload: { act: "block-for", where: blocked.name, ms: BLOCK_MS } },
      ]);
      const starts = (): EntryOf<"start">[] => scene.all("start").filter((start) => start.id === id);
      await scene.until("it blocks", () => starts().length > 0);
      other.send("resume");
      while (!blocked.tells("stale").includes(id)) {
        const askedAt = performance.now();
        const batch = `between#${(between += 1)}`;
        scene.note("ask", { batch, numbers: [0] });
        const handle = await jobs.enqueue(work, { batch, number: 0 });
        scene.note("ack", { batch, ids: [handle.id] });
        longestEnqueue = Math.max(longestEnqueue, performance.now() - askedAt);
        await handle.result({ timeout: "60s" });
        longestResult = Math.max(longestResult, performance.now() - askedAt);
        scene.check();
      }
      const job = await jobs.get(id);
      // Nobody knew of its start: nothing is spent, and the other one's result stands.
      expect(job).toMatchObject({ state: "completed", attempt: 1 });
      expect(starts().map(({ by }) => by)).toEqual([blocked.name, other.name]);
      expect(job?.result).toMatchObject({ process: starts()[1]?.process });
      const event = blocked.tells("blocked-event").at(-1) as { blockedMs: number } | undefined;
      expect(event?.blockedMs).toBeGreaterThan(1_000);
      other.send("pause");
    }
    figure(
      place,
      `blocked: ${rounds} × ${BLOCK_MS} ms of a blocked event loop; ${between} jobs by others meanwhile, longest ` +
        `enqueue ${longestEnqueue.toFixed(1)} ms, longest enqueue to result ${longestResult.toFixed(1)} ms`,
    );
    expect(longestResult).toBeLessThan(20_000);
    expect(between).toBeGreaterThan(rounds);
    await jobs.close();
    await Promise.all([scene.end(blocked), scene.end(other)]);
    expect(check(scene.seen(), await scene.stored(), { lostAfterMs: LOST_AFTER_MS })).toEqual([]);
  });
});
