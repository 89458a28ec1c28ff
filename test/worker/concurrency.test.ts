import { afterEach, describe, expect, it } from "vitest";
import { defineJob, InvalidOptionError } from "../../src/index.ts";
import type { ClaimRequest } from "../../src/storage/storage.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { engines, type StorageKind } from "../support/storages.ts";
import { gate, turns, until, type World, world } from "../support/world.ts";

// Goal: a definition's `concurrency` bounds its runs in a worker exactly, over all its queues, and holds up nobody else.

const memory = engines.find(({ label }) => label === "memory") as StorageKind;

describe("a definition's concurrency", () => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("is never exceeded over all queues, and reached, while other names go on", async () => {
    here = await world(memory);
    const { jobs } = here;
    const open = gate();
    let running = 0;
    let most = 0;
    const capped = defineJob({
      name: "capped",
      concurrency: 3,
      queue: (n: number) => (n % 2 === 0 ? "a" : "b"),
      run: async () => {
        most = Math.max(most, (running += 1));
        await open.promise;
        await turns(2);
        running -= 1;
      },
    });
    let others = 0;
    const other = defineJob({ name: "other", queue: "a", run: () => void (others += 1) });
    await jobs.enqueueMany(
      capped,
      Array.from({ length: 60 }, (_, n) => n),
    );
    const late = await jobs.enqueueMany(
      other,
      Array.from({ length: 200 }, (_, n) => n),
    );
    const worker = jobs.worker([capped, other], { queues: ["a", "b"], concurrency: 5 });
    await worker.start();
    await Promise.all(late.map((handle) => handle.result({ timeout: "1m" })));
    expect([others, running]).toEqual([200, 3]);
    open.open();
    await until(async () => (await jobs.count({ state: "completed", name: "capped" })).n === 60);
    await worker.stop();
    expect(most).toBe(3);
  });

  it("is asked of the storage: no more jobs than may run, none while it is reached", async () => {
    here = await world(memory);
    const { jobs, faults } = here;
    const capped = defineJob({ name: "capped", concurrency: 2, run: () => turns(1) });
    await jobs.enqueueMany(
      capped,
      Array.from({ length: 30 }, (_, n) => n),
    );
    await runUntilIdle(jobs.worker([capped]));
    const asked = [...faults.args("exchange").map(([, request]) => request as ClaimRequest)]
      .flatMap(({ queues }) => queues)
      .filter(({ names }) => names.includes("capped"));
    expect(asked.length).toBeGreaterThan(10);
    for (const { room, readAhead } of asked) expect(room + readAhead).toBeLessThanOrEqual(2);
    expect((await jobs.count({ state: "completed" })).n).toBe(30);
  });

  it("lets the next one in as soon as one has ended, not at the next poll", async () => {
    here = await world(memory);
    const { jobs } = here;
    const one = defineJob({ name: "one", concurrency: 1, run: () => turns(1) });
    const handles = await jobs.enqueueMany(one, [1, 2, 3, 4, 5]);
    const worker = jobs.worker([one], { pollInterval: "1m" });
    await worker.start();
    // The poll would come a minute later, which is longer than this test may take.
    await Promise.all(handles.map((handle) => handle.result({ timeout: "1m" })));
    await worker.stop();
    expect((await jobs.count({ state: "completed" })).n).toBe(5);
  });

  // The others are read ahead all the time, which takes every slot that becomes free.
  it("does not starve beside a backlog of others, and does not starve them", async () => {
    here = await world(memory);
    const { jobs } = here;
    const order: string[] = [];
    const note = (name: string) => async (): Promise<void> => {
      order.push(name);
      await turns(1);
    };
    const many = defineJob({ name: "many", run: note("many") });
    const few = defineJob({ name: "few", concurrency: 1, run: note("few") });
    await jobs.enqueueMany(
      many,
      Array.from({ length: 2_000 }, (_, n) => n),
    );
    await jobs.enqueueMany(
      few,
      Array.from({ length: 50 }, (_, n) => n),
    );
    const worker = jobs.worker([many, few], { concurrency: 2 });
    expect(await runUntilIdle(worker)).toBe(2_050);
    // In the order of their places they would come last.
    expect(order.lastIndexOf("few")).toBeLessThan(1_000);
    expect(order.slice(0, 100).filter((name) => name === "many").length).toBeGreaterThan(30);
  });

  it("is for one definition each", async () => {
    here = await world(memory);
    const { jobs } = here;
    const open = gate();
    const held = (name: string) => defineJob({ name, concurrency: 1, run: () => open.promise });
    const [a, b] = [held("a"), held("b")];
    await jobs.enqueueMany(a, [1, 2]);
    await jobs.enqueueMany(b, [1, 2]);
    const worker = jobs.worker([a, b]);
    await worker.start();
    await until(() => worker.running === 2);
    expect((await jobs.count({ state: "running", name: "a" })).n).toBe(1);
    open.open();
    await until(async () => (await jobs.count({ state: "completed" })).n === 4);
    await worker.stop();
  });

  it("is refused when it makes no sense", () => {
    for (const concurrency of [0, 1.5, 10_001, "2" as unknown as number]) {
      expect(() => defineJob({ name: "odd", concurrency })).toThrow(InvalidOptionError);
    }
  });
});
