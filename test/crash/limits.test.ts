import { beforeAll, describe, expect, it } from "vitest";
import { defineJob } from "../../src/job/definition.ts";
import { fixed } from "../../src/job/backoff.ts";
import { item } from "../../src/item.ts";
import { limits } from "../../src/job/limits.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { isLong, randomFrom, seed, size } from "../support/size.ts";
import { places } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";
import { checkSlots, type SlotEntry, StandstillWatch } from "./slots.ts";

// Goal: of a limit key never more jobs run than may, and never fewer for long while others wait, whoever is killed.
// Method: four workers of two definitions and two queues whose jobs share the keys; one of them is killed at random
// and started anew. Jobs return, snooze, fail and run again, and give up. slots.ts judges the log: handlers that ran at
// once, and leases that stood at once (a job read ahead holds its slot, and so does one that waits to be rescued).

const WORKERS = 4;
const LIMITS: Readonly<Record<string, number>> = { k1: 1, l1: 1, k2: 2, l2: 2, k3: 3, l3: 3 };
const KEYS = Object.keys(LIMITS);
/** Jobs of each key that wait or run while the storm goes on. */
const DEPTH = 12;
const LOST_AFTER_MS = 3_000;
/** Beyond the silence limit. */
const STANDSTILL_MS_MAX = LOST_AFTER_MS + 5_000;

const definitions = ["a", "b"].map((name) =>
  defineJob({ name, backoff: fixed(10), maxRetries: Number.POSITIVE_INFINITY }),
);

beforeAll(buildChildren);

describe.each(places)("limit keys under kills, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it("never runs more of a key than may, and never stands still below that", async () => {
    const runMs = size(1_500, 30_000);
    const kills = size(2, 40);
    const random = randomFrom(seed(`limits on ${place.label}`));
    await using scene = await Scene.on(place);
    const jobs = await scene.connect();

    /** Every job that was stored, and its key. */
    const keyOf = new Map<string, string>();
    const feed = async (keys: readonly string[]): Promise<void> => {
      if (keys.length === 0) return;
      const handles = await jobs.enqueueMany(keys.map((key) => oneOf(key, random)));
      for (const [i, { id }] of handles.entries()) keyOf.set(id, keys[i] as string);
    };
    const launch = (): Child => scene.launch("limiter", { lostAfterMs: LOST_AFTER_MS });
    const workers = Array.from({ length: WORKERS }, launch);
    for (const worker of workers) await scene.ready(worker);

    const watch = new StandstillWatch();
    const starts = new Starts(scene);
    let looks = 0;
    await scene.withStorage(async (storage) => {
      const start = performance.now();
      let killed = 0;
      while (killed < kills || performance.now() < start + runMs) {
        if (watch.longestMs > STANDSTILL_MS_MAX) break;
        const seen = await look(storage);
        looks += 1;
        const wanted: string[] = [];
        for (const key of KEYS) {
          const { running = 0, waiting = 0 } = seen.get(key) ?? {};
          watch.look(key, LIMITS[key] as number, starts.last(key), { at: microseconds(), running, waiting });
          if (running + waiting < DEPTH) wanted.push(...Array.from({ length: DEPTH }, () => key));
        }
        await feed(wanted);
        await pause(10 + random() * 40);
        if (performance.now() < start + (runMs * (killed + random())) / kills) continue;
        const i = Math.floor(random() * WORKERS);
        const victim = workers[i] as Child;
        // One that runs nothing holds nothing.
        if (scene.count("start", victim) === scene.count("end", victim)) continue;
        await scene.kill(victim);
        workers[i] = launch();
        killed += 1;
      }
    });
    expect(watch.longestMs).toBeLessThan(STANDSTILL_MS_MAX);
    await scene.allEnded();
    await Promise.all(workers.map((worker) => scene.ready(worker)));
    await Promise.all(workers.map((worker) => scene.end(worker)));
    await jobs.close();

    const entries = scene.seen() as unknown as readonly SlotEntry[];
    const { violations, ran, held } = checkSlots(entries, keyOf, LIMITS, { lostAfterMs: LOST_AFTER_MS });
    const cut = scene.count("start") - scene.count("end");
    figure(
      place,
      `limits: ${WORKERS} workers, ${KEYS.length} keys of 1 to 3 for ${runMs / 1_000} s, ${scene.count("kill")} kills: ` +
        `${keyOf.size} jobs, ${scene.count("start")} runs, ${cut} of them cut off; most at once ` +
        `${KEYS.map((key) => `${key} ${ran[key]} (slots ${held[key]})`).join(", ")}; longest standstill below the ` +
        `limit ${Math.round(watch.longestMs)} ms, in ${looks} looks`,
    );
    expect(violations).toEqual([]);
    expect(await unfinished(scene, [...keyOf.keys()])).toEqual([]);
    // A run that never came to its limits would prove nothing.
    expect(ran).toEqual(LIMITS);
    expect(held).toEqual(LIMITS);
    // A few kills may all come between two runs.
    expect(cut).toBeGreaterThanOrEqual(isLong ? 1 : 0);
  });
});

function oneOf(key: string, random: () => number): ReturnType<typeof item> {
  const dice = random();
  const act = dice < 0.7 ? "return" : dice < 0.8 ? "snooze" : dice < 0.9 ? "fail" : "die";
  const definition = definitions[Math.floor(random() * 2)] as (typeof definitions)[number];
  return item(
    definition,
    { key, act, ms: Math.floor(random() * 100) },
    {
      queue: random() < 0.5 ? "one" : "two",
      priority: Math.floor(random() * 3),
      limit: { key, concurrency: LIMITS[key] as number, scope: "all" },
    },
  );
}

/** By key, what runs and what waits for nothing but a slot. */
async function look(storage: Storage): Promise<Map<string, { running: number; waiting: number }>> {
  const found = new Map<string, { running: number; waiting: number }>();
  for (const state of ["blocked", "available", "running"] as const) {
    const { jobs } = await storage.list({ state, limit: limits.listPage });
    for (const { payload } of jobs) {
      const { key } = JSON.parse(payload) as { key: string };
      const counts = found.get(key) ?? { running: 0, waiting: 0 };
      counts[state === "running" ? "running" : "waiting"] += 1;
      found.set(key, counts);
    }
  }
  return found;
}

/** When a run of each key started last, by the log. */
class Starts {
  readonly #scene: Scene;
  readonly #last = new Map<string, number>();
  #read = 0;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  last(key: string): number {
    const entries = this.#scene.seen() as unknown as readonly SlotEntry[];
    for (; this.#read < entries.length; this.#read++) {
      const entry = entries[this.#read];
      if (entry?.what === "start") this.#last.set(entry.key, entry.at);
    }
    return this.#last.get(key) ?? 0;
  }
}

/** Every job that was acknowledged, as it stands; those that did not end as they were to. */
function unfinished(scene: Scene, ids: readonly string[]): Promise<string[]> {
  return scene.withStorage(async (storage) => {
    const wrong: string[] = [];
    for (let from = 0; from < ids.length; from += limits.listPage) {
      const some = ids.slice(from, from + limits.listPage);
      for (const [i, job] of (await storage.get(some.map(Number))).entries()) {
        const { act } = JSON.parse(job?.payload ?? "{}") as { act?: string };
        if (job?.state !== (act === "die" ? "dead" : "completed"))
          wrong.push(`job ${some[i]} was to ${act} and is ${job?.state ?? "gone"}`);
      }
    }
    return wrong;
  });
}

function microseconds(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}
