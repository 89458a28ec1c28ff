import assert from "node:assert/strict";
import type { JobId } from "../../job/job.ts";
import type { Lease } from "../../storage/storage.ts";
import type { Case, Section } from "./section.ts";
import { COMPLETED, ERROR, failed, leaseOf, LOST_AFTER_MS, newJob, RELEASED, type Stage } from "./stage.ts";

/** Ways to hold a lease that does not stand, or stands no longer. */
const STALE: readonly (readonly [string, (stage: Stage, id: JobId) => Promise<Lease>])[] = [
  ["a job that is not there", async (stage) => ({ ...(await stage.claimOne()), id: 9_007_199_254_740_991 })],
  ["a job that waits", async (_stage, id) => ({ id, generation: 0, token: "p1:never" })],
  ["a job that waits, with an empty token", async (_stage, id) => ({ id, generation: 0, token: "" })],
  ["another token", async (stage) => ({ ...(await stage.claimOne()), token: "p1:other" })],
  ["an empty token", async (stage) => ({ ...(await stage.claimOne()), token: "" })],
  [
    "another process's token",
    async (stage) => {
      await stage.enqueueOne();
      await stage.register("p2");
      const job = await stage.claimOne();
      const { token } = await stage.claimOne({ processId: "p2" });
      return { ...job, token };
    },
  ],
  [
    "a later generation",
    async (stage) => {
      const job = await stage.claimOne();
      return { ...job, generation: job.generation + 1 };
    },
  ],
  [
    "an earlier generation",
    async (stage) => {
      await stage.end(await stage.claimOne(), RELEASED);
      const job = await stage.claimOne();
      return { ...job, generation: job.generation - 1 };
    },
  ],
  [
    "a job released and claimed again by another process",
    async (stage) => {
      const first = await stage.claimOne();
      await stage.end(first, RELEASED);
      await stage.register("p2");
      await stage.end(await stage.claimOne({ processId: "p2" }), RELEASED);
      await stage.claimOne({ processId: "p2" });
      return first;
    },
  ],
  [
    "a job retried and claimed again by the same process, twice",
    async (stage) => {
      const first = await stage.claimOne();
      await stage.end(first, failed({ delayMs: 0 }));
      await stage.end(await stage.claimOne(), failed({ delayMs: 0 }));
      await stage.claimOne();
      return first;
    },
  ],
  [
    "a job that others rescued and now hold",
    async (stage) => {
      const job = await stage.claimOne();
      stage.livePast(LOST_AFTER_MS + 1);
      await stage.register("p2");
      assert.equal((await stage.rescue("p2")).length, 1);
      return job;
    },
  ],
  [
    "a job that others rescued while another of the same claim still waits for it",
    async (stage) => {
      await stage.enqueueOne();
      const claimed = await stage.claim({ room: 2 });
      stage.livePast(LOST_AFTER_MS + 1);
      await stage.register("p2");
      const [rescued] = await stage.rescue("p2", 1);
      const job = claimed.find(({ id }) => id === rescued?.id);
      assert.ok(job !== undefined && claimed.length === 2);
      return job;
    },
  ],
  [
    "a job that others rescued and released",
    async (stage) => {
      const job = await stage.claimOne();
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      for (const rescued of await stage.rescue("p2")) await stage.end(rescued, RELEASED);
      return job;
    },
  ],
  [
    "a job that others rescued and completed",
    async (stage) => {
      const job = await stage.claimOne();
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      for (const rescued of await stage.rescue("p2")) await stage.end(rescued, COMPLETED);
      return job;
    },
  ],
  [
    "a finished job, with another token",
    async (stage) => {
      const job = await stage.claimOne();
      await stage.end(job, { state: "dead", error: ERROR });
      return { ...job, token: "p1:other" };
    },
  ],
  [
    "a finished job that was retried, claimed by another and ended",
    async (stage, id) => {
      const job = await stage.claimOne();
      await stage.end(job, { state: "dead", error: ERROR });
      await stage.change(id, { kind: "retry" });
      await stage.end(await stage.claimOne(), RELEASED);
      return job;
    },
  ],
  [
    "a job that is gone",
    async (stage, id) => {
      const job = await stage.claimOne();
      await stage.end(job, RELEASED);
      await stage.change(id, { kind: "remove" });
      return job;
    },
  ],
];

type Look = readonly unknown[];

async function lookAt(stage: Stage, id: JobId): Promise<Look> {
  return [await stage.storage.get([id]), await stage.storage.attempts(id), await stage.storage.lanes()];
}

const cases: Case[] = STALE.flatMap(([what, hold]): Case[] => [
  {
    name: `changes nothing by a settle for ${what}`,
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const lease = leaseOf(await hold(stage, id));
      const before = await lookAt(stage, id);
      const enqueue = [newJob({ name: "child" })];
      for (const outcome of [
        COMPLETED,
        RELEASED,
        failed({ delayMs: 5 }),
        { state: "dead", error: ERROR } as const,
      ]) {
        // Engines end a run that has nothing but its outcome in another way than one that brings jobs along.
        assert.equal(await stage.settle(lease, outcome), "stale");
        assert.equal(await stage.settle(lease, outcome, { enqueue }), "stale");
      }
      assert.deepEqual(await lookAt(stage, id), before);
    },
  },
  {
    name: `saves nothing by a note for ${what}`,
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const lease = leaseOf(await hold(stage, id));
      const before = await lookAt(stage, id);
      assert.equal(await stage.storage.note(lease, { checkpoint: { x: "1" }, result: "2" }), "stale");
      assert.deepEqual(await lookAt(stage, id), before);
    },
  },
  {
    name: `reports ${what} as lost to the one who beats with it, and takes no start from it`,
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const lease = leaseOf(await hold(stage, id));
      const before = await lookAt(stage, id);
      await stage.register("p9");
      const { lost } = await stage.beat("p9", { holds: [lease], starts: [lease] });
      assert.deepEqual(lost.map(leaseOf), [lease]);
      await stage.claimAll({ processId: "p9", queues: [], starts: [lease] });
      assert.deepEqual(await lookAt(stage, id), before);
    },
  },
]);

export const fencingSection: Section = { title: "fencing", cases };
