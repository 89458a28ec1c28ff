import assert from "node:assert/strict";
import type { JobId } from "../../job/job.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, at, COMPLETED, failed, MARKED, RELEASED, snoozed, type Stage } from "./stage.ts";

/** Stores jobs in order, then marks some of them, as a rescue of unstarted jobs would. */
async function line(stage: Stage, pattern: string): Promise<JobId[]> {
  await stage.register();
  const ids = await stage.enqueue(...[...pattern].map(() => ({})));
  const jobs = await stage.claim({ room: ids.length });
  await stage.endAll(jobs.map((job, index) => [job, pattern[index] === "m" ? MARKED : RELEASED]));
  return ids;
}

const cases: Case[] = [
  {
    name: "gives a marked job for a free slot, at its old place",
    async run(stage) {
      const ids = await line(stage, ".m.");
      const jobs = await stage.claim({ room: 3 });
      assert.deepEqual(
        jobs.map(({ id, marked }) => [id, marked]),
        ids.map((id, index) => [id, index === 1]),
      );
    },
  },
  {
    name: "never reads a marked job ahead",
    async run(stage) {
      const ids = await line(stage, "m.");
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 10 }), [at(ids, 1)]);
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 10 }), []);
      assert.deepEqual(await stage.claimIds({ room: 1 }), [at(ids, 0)]);
    },
  },
  {
    name: "gives a marked job only while a free slot is left for it",
    async run(stage) {
      const ids = await line(stage, "..m..");
      // Two slots are taken by the jobs before it; the read-ahead passes over it.
      assert.deepEqual(
        await stage.claimIds({ room: 2, readAhead: 2 }),
        [0, 1, 3, 4].map((n) => at(ids, n)),
      );
      assert.deepEqual(await stage.claimIds({ room: 1 }), [at(ids, 2)]);
    },
  },
  {
    name: "gives at most one marked job a call, and the others around it",
    async run(stage) {
      const ids = await line(stage, "mm.m.");
      assert.deepEqual(
        await stage.claimIds({ room: 10 }),
        [0, 2, 4].map((n) => at(ids, n)),
      );
      assert.deepEqual(await stage.claimIds({ room: 10 }), [at(ids, 1)]);
      assert.deepEqual(await stage.claimIds({ room: 10 }), [at(ids, 3)]);
    },
  },
  {
    name: "gives at most one marked job a call over all its queues",
    async run(stage) {
      await stage.register();
      for (const queue of ["q1", "q2"]) {
        const id = await stage.enqueueOne({ queue });
        await stage.end(await stage.claimOne({ queue }), MARKED);
        assertHas(await stage.get(id), { marked: true });
      }
      const queues = ["q1", "q2"].map((queue) => ({ queue, names: ["a"], room: 5, readAhead: 5 }));
      assert.deepEqual(
        (await stage.claim({ queues })).map(({ queue }) => queue),
        ["q1"],
      );
      assert.deepEqual(
        (await stage.claim({ queues })).map(({ queue }) => queue),
        ["q2"],
      );
    },
  },
  {
    name: "merges marked and other jobs of several names by seq",
    async run(stage) {
      await stage.register();
      const ids = await stage.enqueue({ name: "b" }, { name: "a" }, { name: "b" }, { name: "a" });
      for (const [index, job] of (await stage.claim({ names: ["a", "b"] })).entries()) {
        await stage.end(job, index === 1 ? MARKED : RELEASED);
      }
      assert.deepEqual(await stage.claimIds({ names: ["a", "b"], room: 3 }), ids.slice(0, 3));
    },
  },
  {
    name: "gives a marked job of a better priority before others, and lets worse ones pass when it may not go",
    async run(stage) {
      await stage.register();
      const [marked] = await stage.enqueue({ priority: -1 });
      await stage.end(await stage.claimOne(), MARKED);
      const [first, second] = await stage.enqueue({}, {});
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 1 }), [first]);
      assert.deepEqual(await stage.claimIds({ room: 5 }), [marked, second]);
    },
  },
  {
    name: "passes over very many marked jobs",
    async run(stage) {
      const ids = await line(stage, `${"m".repeat(2_000)}...`);
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 2 }), [at(ids, 2_000), at(ids, 2_001)]);
      assert.deepEqual(await stage.claimIds({ room: 2 }), [at(ids, 0), at(ids, 2_002)]);
      assert.deepEqual(await stage.claimIds({ room: 2 }), [at(ids, 1)]);
    },
  },
  {
    name: "keeps marked jobs of many priorities apart from others that come and go around them",
    async run(stage) {
      await stage.register();
      const priorities = [-3, -2, -1, 0, 1, 2, 3, 4];
      const marked = await stage.enqueue(...priorities.map((priority) => ({ priority })));
      for (const job of await stage.claim()) await stage.end(job, MARKED);
      const others = await stage.enqueue(...priorities.map((priority) => ({ priority })));
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 20 }), others);
      const got: JobId[] = [];
      for (const _ of priorities) got.push(...(await stage.claimIds({ room: 5 })));
      assert.deepEqual(got, marked);
    },
  },
  {
    name: "counts a marked job as started with its claim",
    async run(stage) {
      await line(stage, "m");
      await stage.register("p2");
      await stage.claimOne({ processId: "p2" });
      await stage.beat("p2", { leaving: true });
      const [rescued] = await stage.rescue("p1");
      assertHas(rescued ?? {}, { started: true, lostProcessId: "p2", marked: true });
    },
  },
  {
    name: "keeps the mark through a release and a failed attempt",
    async run(stage) {
      const [id] = await line(stage, "m");
      await stage.end(await stage.claimOne(), RELEASED);
      assertHas(await stage.get(id as number), { marked: true });
      await stage.end(await stage.claimOne(), failed({ delayMs: 0 }));
      assertHas(await stage.get(id as number), { marked: true, state: "available" });
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 5 }), []);
    },
  },
  {
    name: "clears the mark by a snooze: the job has shown that it can run",
    async run(stage) {
      const [id] = await line(stage, "m");
      await stage.end(await stage.claimOne(), snoozed({ delayMs: 0 }));
      assertHas(await stage.get(id as number), { marked: false, state: "available" });
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 5 }), [id]);
    },
  },
  {
    name: "clears the mark when an operator retries the dead job",
    async run(stage) {
      const [id] = await line(stage, "m");
      const job = await stage.claimOne();
      await stage.end(job, { state: "dead", error: { name: "Error", message: "x" } });
      await stage.change(id as number, { kind: "retry" });
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 5 }), [id]);
    },
  },
  {
    name: "completes a marked job like any other",
    async run(stage) {
      const [id] = await line(stage, "m");
      await stage.end(await stage.claimOne(), COMPLETED);
      assert.equal(await stage.state(id as number), "completed");
    },
  },
];

export const markedSection: Section = { title: "marked jobs", cases };
