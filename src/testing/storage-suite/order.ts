import assert from "node:assert/strict";
import type { ClaimedJob } from "../../storage/storage.ts";
import type { Case, Section } from "./section.ts";
import { at, failed, RELEASED, snoozed, type Stage } from "./stage.ts";

/** Stores `n` jobs and claims the first `claimed` of them. */
async function some(
  stage: Stage,
  n: number,
  claimed: number,
): Promise<{ ids: number[]; jobs: readonly ClaimedJob[] }> {
  await stage.register();
  const ids = await stage.enqueue(...Array.from({ length: n }, () => ({})));
  const jobs = claimed === 0 ? [] : await stage.claim({ room: claimed });
  assert.equal(jobs.length, claimed);
  return { ids, jobs };
}

function pick(ids: readonly number[], ...indexes: number[]): number[] {
  return indexes.map((index) => at(ids, index));
}

const cases: Case[] = [
  {
    name: "gives the jobs of one lane in the order of their coming, over many claims",
    async run(stage) {
      const { ids } = await some(stage, 300, 0);
      const got: number[] = [];
      while (got.length < 300) got.push(...(await stage.claimIds({ room: 7 })));
      assert.deepEqual(got, ids);
    },
  },
  {
    name: "merges the names of a queue by priority, then by seq",
    async run(stage) {
      await stage.register();
      const jobs = Array.from({ length: 60 }, (_, n) => ({
        name: `n${(n * 7) % 5}`,
        priority: ((n * 11) % 7) - 3,
      }));
      const ids = await stage.enqueue(...jobs);
      const expected = jobs
        .map(({ priority }, index) => ({ priority, id: at(ids, index) }))
        .sort((a, b) => a.priority - b.priority || a.id - b.id)
        .map(({ id }) => id);
      const names = ["n3", "n0", "n4", "n1", "n2"];
      const got: number[] = [];
      for (const room of [1, 2, 13, 30, 100]) got.push(...(await stage.claimIds({ names, room })));
      assert.deepEqual(got, expected);
    },
  },
  {
    name: "runs a lower priority number first, also when it comes later",
    async run(stage) {
      await stage.register();
      const [worst, middle, best] = await stage.enqueue(
        { priority: 1000 },
        { priority: 0 },
        { priority: -1000 },
      );
      assert.deepEqual(await stage.claimIds(), [best, middle, worst]);
    },
  },
  {
    name: "gives a released job back its old place",
    async run(stage) {
      const { ids, jobs } = await some(stage, 4, 2);
      await stage.end(at(jobs, 1), RELEASED);
      assert.deepEqual(await stage.claimIds(), pick(ids, 1, 2, 3));
    },
  },
  {
    name: "gives jobs released in any order their old places back",
    async run(stage) {
      const { ids, jobs } = await some(stage, 8, 6);
      for (const index of [4, 0, 5, 2, 1, 3]) await stage.end(at(jobs, index), RELEASED);
      assert.deepEqual(await stage.claimIds(), ids);
    },
  },
  {
    name: "gives a job its old place as often as it is released",
    async run(stage) {
      const { ids } = await some(stage, 3, 0);
      for (let round = 0; round < 5; round++) {
        const jobs = await stage.claim({ room: 2 });
        assert.deepEqual(
          jobs.map(({ id, generation }) => [id, generation]),
          pick(ids, 0, 1).map((id) => [id, round]),
        );
        for (const job of [...jobs].reverse()) await stage.end(job, RELEASED);
      }
      assert.deepEqual(await stage.claimIds(), ids);
    },
  },
  {
    name: "merges released jobs by their places across names and priorities",
    async run(stage) {
      await stage.register();
      const ids = await stage.enqueue(
        { name: "b", priority: 1 },
        { name: "a" },
        { name: "b" },
        { name: "a", priority: 1 },
        { name: "a" },
      );
      const names = ["a", "b"];
      for (const job of [...(await stage.claim({ names, room: 4 }))].reverse())
        await stage.end(job, RELEASED);
      assert.deepEqual(await stage.claimIds({ names }), pick(ids, 1, 2, 4, 0, 3));
    },
  },
  {
    name: "gives many released jobs back in order between many that wait",
    async run(stage) {
      const { ids, jobs } = await some(stage, 1_500, 1_000);
      const shuffled = jobs.map((_, index) => at(jobs, (index * 387) % 1_000));
      // Some alone and most together, in calls that lie all over each other.
      for (const job of shuffled.splice(0, 100)) await stage.end(job, RELEASED);
      await stage.endAll(shuffled.map((job) => [job, RELEASED]));
      assert.deepEqual(await stage.claimIds({ room: 2_000 }), ids);
    },
  },
  {
    name: "gives a job that is retried at once a new place",
    async run(stage) {
      const { ids, jobs } = await some(stage, 3, 1);
      await stage.end(at(jobs, 0), failed({ delayMs: 0 }));
      assert.deepEqual(await stage.claimIds(), pick(ids, 1, 2, 0));
    },
  },
  {
    name: "gives a job that is snoozed to the past a new place",
    async run(stage) {
      const { ids, jobs } = await some(stage, 3, 1);
      await stage.end(at(jobs, 0), snoozed({ at: stage.clock.now() - 60_000 }));
      assert.deepEqual(await stage.claimIds(), pick(ids, 1, 2, 0));
    },
  },
  {
    name: "keeps the new place of a retried job when it is released later",
    async run(stage) {
      const { ids, jobs } = await some(stage, 3, 1);
      await stage.end(at(jobs, 0), failed({ delayMs: 0 }));
      const late = await stage.enqueueOne();
      for (const job of await stage.claim({ room: 3 })) await stage.end(job, RELEASED);
      assert.deepEqual(await stage.claimIds(), [...pick(ids, 1, 2, 0), late]);
    },
  },
  {
    name: "lines promoted jobs up by runAt, then id, behind those that wait already",
    async run(stage) {
      await stage.register();
      const delays = [300, 100, 200, 100, 300];
      const ids = await stage.enqueue(...delays.map((delayMs) => ({ later: { delayMs } })));
      const waiting = await stage.enqueueOne();
      await stage.clock.advance(300);
      assert.equal((await stage.storage.promote(100)).promoted, 5);
      const late = await stage.enqueueOne();
      assert.deepEqual(await stage.claimIds(), [waiting, ...pick(ids, 1, 3, 2, 0, 4), late]);
    },
  },
  {
    name: "gives a job whose priority changes the last place of its new priority",
    async run(stage) {
      const { ids } = await some(stage, 4, 0);
      await stage.storage.change(pick(ids, 2, 1), { kind: "priority", priority: -5 });
      await stage.storage.change(pick(ids, 0), { kind: "priority", priority: 5 });
      assert.deepEqual(await stage.claimIds(), pick(ids, 2, 1, 3, 0));
    },
  },
  {
    name: "does not give a job its old place back with its old priority",
    async run(stage) {
      const { ids } = await some(stage, 3, 0);
      await stage.change(at(ids, 0), { kind: "priority", priority: 9 });
      await stage.change(at(ids, 0), { kind: "priority", priority: 0 });
      assert.deepEqual(await stage.claimIds(), pick(ids, 1, 2, 0));
    },
  },
  {
    name: "keeps the place of a job whose priority is set to what it is",
    async run(stage) {
      const { ids } = await some(stage, 2, 0);
      assert.equal(await stage.change(at(ids, 0), { kind: "priority", priority: 0 }), "unchanged");
      assert.deepEqual(await stage.claimIds(), ids);
    },
  },
  {
    name: "keeps the place of an available job that is told to start now",
    async run(stage) {
      const { ids } = await some(stage, 2, 0);
      assert.equal(await stage.change(at(ids, 0), { kind: "runAt", later: { delayMs: 0 } }), "unchanged");
      assert.deepEqual(await stage.claimIds(), ids);
    },
  },
  {
    name: "gives a scheduled job that is told to start now a new place, with its priority",
    async run(stage) {
      await stage.register();
      const [scheduled, better] = await stage.enqueue(
        { later: { delayMs: 5_000 } },
        { later: { delayMs: 5_000 }, priority: -1 },
      );
      const waiting = await stage.enqueueOne();
      await stage.change(scheduled as number, { kind: "runAt", later: { delayMs: 0 } });
      await stage.change(better as number, { kind: "retry" });
      assert.deepEqual(await stage.claimIds(), [better, waiting, scheduled]);
    },
  },
  {
    name: "gives a finished job that is retried a new place",
    async run(stage) {
      const { ids, jobs } = await some(stage, 3, 1);
      await stage.end(at(jobs, 0), { state: "completed" });
      await stage.change(at(ids, 0), { kind: "retry" });
      assert.deepEqual(await stage.claimIds(), pick(ids, 1, 2, 0));
    },
  },
  {
    name: "keeps to the order of places when the clock is set back",
    async run(stage) {
      await stage.register();
      const first = await stage.enqueueOne();
      await stage.clock.set(stage.clock.now() - 3_600_000);
      const second = await stage.enqueueOne();
      assert.deepEqual(await stage.claimIds(), [first, second]);
    },
  },
];

export const orderSection: Section = { title: "order", cases };
