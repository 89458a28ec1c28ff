import { afterEach, describe, expect, it } from "vitest";
import {
  defineBatchJob,
  defineJob,
  DuplicateJobError,
  InvalidOptionError,
  MissingHandlerError,
  StateError,
} from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { engines, type StorageKind, storages } from "../support/storages.ts";
import { until, type World, world } from "../support/world.ts";

// Goal: a definition that is made known to a running worker is served as if it had been there from the start.

const memory = engines.find(({ label }) => label === "memory") as StorageKind;
const first = defineJob({ name: "first", run: () => "first" });
const second = defineJob({ name: "second", run: () => "second" });

let here: World;
afterEach(() => here?.[Symbol.asyncDispose]());

describe.each(storages)("worker.add, on $label", (kind) => {
  it("serves what waits already and what comes, also in a queue of its own, and lets the fleet know", async () => {
    here = await world(kind, { beatEvery: "10s", lostAfter: "50s" });
    const { jobs } = here;
    const special = defineJob({ name: "special", queue: "special", run: () => "special" });
    const waiting = await jobs.enqueue(second, 0);
    const worker = jobs.worker([first], { pollInterval: "1m" });
    await worker.start();
    worker.add(second);
    worker.add(special);
    expect(await waiting.result({ timeout: "1m" })).toBe("second");
    // Long before the next beat.
    await until(async () => {
      const [process] = await jobs.processes();
      return process?.queues.some(({ queue }) => queue === "special") === true;
    });
    const [process] = await jobs.processes();
    expect(process?.queues.map(({ queue, names }) => [queue, [...names].sort()])).toEqual([
      ["default", ["first", "second", "special"]],
      ["special", ["first", "second", "special"]],
    ]);
    expect(await (await jobs.enqueue(special, 0)).result({ timeout: "1m" })).toBe("special");
    expect(await (await jobs.enqueue(first, 0)).result({ timeout: "1m" })).toBe("first");
    await worker.stop();
  });
});

describe("worker.add", () => {
  it("takes definitions of every kind beside those there are, and their bounds hold", async () => {
    here = await world(memory);
    const { jobs } = here;
    const worker = jobs.worker([first]);
    await runUntilIdle(worker);
    let running = 0;
    let most = 0;
    const capped = defineJob({
      name: "capped",
      concurrency: 1,
      run: async () => {
        most = Math.max(most, (running += 1));
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
      },
    });
    const calls: number[] = [];
    const batch = defineBatchJob({ name: "batch", run: (items) => void calls.push(items.length) });
    worker.add(capped);
    worker.add(batch);
    await jobs.enqueueMany(capped, [1, 2, 3, 4]);
    await jobs.enqueueMany(batch, [1, 2, 3, 4]);
    await jobs.enqueueMany(first, [1, 2, 3, 4]);
    expect(await runUntilIdle(worker)).toBe(12);
    expect([most, calls]).toEqual([1, [4]]);
  });

  it("works before the start, and for every queue there is", async () => {
    here = await world(memory);
    const { jobs } = here;
    await jobs.enqueue(second, 0, { queue: "anywhere" });
    const worker = jobs.worker([first], { queues: "*" });
    worker.add(second);
    expect(await runUntilIdle(worker)).toBe(1);
  });

  it("does not widen the queues that somebody has named", async () => {
    here = await world(memory);
    const { jobs } = here;
    const special = defineJob({ name: "special", queue: "special", run: () => "special" });
    await jobs.enqueue(special, 0);
    const worker = jobs.worker([first], { queues: ["default"] });
    worker.add(special);
    expect(await runUntilIdle(worker)).toBe(0);
  });

  it("refuses a name twice, a definition without a handler, and everything after the stop", async () => {
    here = await world(memory);
    const worker = here.jobs.worker([first]);
    expect(() => worker.add(first)).toThrow(DuplicateJobError);
    expect(() => worker.add(defineJob({ name: "empty" }))).toThrow(MissingHandlerError);
    expect(() => worker.add({} as never)).toThrow(InvalidOptionError);
    await worker.start();
    await worker.stop();
    expect(() => worker.add(second)).toThrow(StateError);
  });
});
