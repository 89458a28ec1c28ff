import { beforeAll, describe, expect, it } from "vitest";
import { limits } from "../../src/job/limits.ts";
import { type JobState, JOB_STATES } from "../../src/job/job.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { isLong, randomFrom, seed, size } from "../support/size.ts";
import { checkHolders, checkScans, type HolderEntry, type HolderJob, type KeyRule } from "./holders.ts";
import { places } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: however many processes enqueue with the same few keys, and whatever becomes of the jobs and of the processes,
// a key never has two holders, an answer names who holds it, and it is free as soon as its job has ended.
// Method: eight processes, each a worker with sixteen callers, on fifty keys; jobs return, fail and run again, give up
// and are cancelled; processes are killed and started anew. holders.ts judges the log; the test looks at the storage.

const PROCESSES = 8;
const CALLERS = 16;
/** Most are held while their job lives, some while it waits, some for a time. */
const KEYS: readonly KeyRule[] = Array.from({ length: 50 }, (_, i) => {
  const key = `key-${i}`;
  if (i < 36) return { key, kind: "live" };
  return i < 43 ? { key, kind: "waiting" } : { key, kind: "for", forMs: 200 };
});
const UNENDED = ["scheduled", "available", "blocked", "running"] as const;
/** Nobody is to be taken for lost only because the machine has much else to do. */
const LOST_AFTER_MS = 3_000;

beforeAll(buildChildren);

describe.each(places)("a storm on unique keys, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it("never gives a key to two, and has it free at once when its job has ended", async () => {
    const runMs = size(1_500, 30_000);
    const kills = size(1, 20);
    const random = randomFrom(seed(`unique on ${place.label}`));
    await using scene = await Scene.on(place);

    const launch = (): Child =>
      scene.launch("uniquer", {
        seed: Math.floor(random() * 2 ** 31),
        keys: KEYS,
        callers: CALLERS,
        // On average half of it between two calls of a caller: less is no more of a storm on a machine that is busy anyway.
        restMs: isLong ? 100 : 250,
        lostAfterMs: LOST_AFTER_MS,
      });
    const callers = Array.from({ length: PROCESSES }, launch);
    for (const child of callers) await scene.ready(child);

    let looks = 0;
    const seenAtOnce: string[] = [];
    await scene.withStorage(async (storage) => {
      const start = performance.now();
      let killed = 0;
      let before = await scan(storage, UNENDED);
      while (performance.now() < start + runMs) {
        await pause(10 + random() * 40);
        const now = await scan(storage, UNENDED);
        seenAtOnce.push(...checkScans(before, now, KEYS));
        looks += 1;
        before = now;
        if (performance.now() < start + (runMs * (killed + random())) / kills) continue;
        const i = Math.floor(random() * PROCESSES);
        // One that has not begun yet holds nothing.
        if (callers[i]?.tells("ready").length === 0) continue;
        await scene.kill(callers[i] as Child);
        callers[i] = launch();
        killed += 1;
      }
    });
    for (const child of callers) await scene.ready(child);
    for (const child of callers) child.send("quiet");
    await scene.until("all callers are quiet", () =>
      callers.every((child) => child.tells("quiet").length > 0),
    );
    await scene.allEnded();
    const stored = await scene.withStorage((storage) => scan(storage, JOB_STATES));
    await Promise.all(callers.map((child) => scene.end(child)));

    const entries = scene.seen() as unknown as readonly HolderEntry[];
    const verdict = checkHolders(entries, stored, KEYS, { lostAfterMs: LOST_AFTER_MS });
    const { probesMs, answersMs } = verdict;
    const { created, existing, replaced, held } = verdict.answers;
    const found = (name: string): number =>
      verdict.violations.filter((text) => text.startsWith(`${name}:`)).length;
    const ended = (state: JobState): number => stored.filter((job) => job.state === state).length;
    figure(
      place,
      `unique: ${PROCESSES} processes with ${CALLERS} callers each on ${KEYS.length} keys for ${runMs / 1_000} s, ` +
        `${scene.count("kill")} kills: ${created} created, ${existing} existing, ${replaced} replaced, ${held} refused; ` +
        `${ended("completed")} completed, ${ended("dead")} dead, ${ended("cancelled")} cancelled; ${looks} looks, ` +
        `two holders ${seenAtOnce.length + found("two")}, not free at its job's end ${found("stale")}; ` +
        `${probesMs.length} keys were asked for as soon as their job had ended, and answered within ${shares(probesMs)} ` +
        `(anything asked: ${shares(answersMs)})`,
    );
    expect(seenAtOnce).toEqual([]);
    expect(verdict.violations).toEqual([]);
    // A run in which nobody was in another one's way would prove nothing.
    for (const n of [created, existing, replaced, held, probesMs.length]) expect(n).toBeGreaterThan(0);
    for (const state of ["completed", "dead", "cancelled"] as const) expect(ended(state)).toBeGreaterThan(0);
    expect(scene.count("kill")).toBeGreaterThan(0);
  });
});

function shares(ascending: readonly number[]): string {
  const at = (share: number): string =>
    (ascending[Math.min(ascending.length - 1, Math.floor(share * ascending.length))] ?? 0).toFixed(0);
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, p100 ${at(1)} ms`;
}

/** All jobs in some states, one state after the other. */
async function scan(storage: Storage, states: readonly JobState[]): Promise<HolderJob[]> {
  const found: HolderJob[] = [];
  for (const state of states) {
    let after: string | undefined;
    do {
      const page = await storage.list({
        state,
        limit: limits.listPage,
        ...(after === undefined ? {} : { after }),
      });
      for (const { id, payload, generation, createdAt } of page.jobs) {
        const { key } = JSON.parse(payload) as { key: string };
        found.push({ id: String(id), key, state, generation, createdAt });
      }
      after = page.next;
    } while (after !== undefined);
  }
  return found;
}
