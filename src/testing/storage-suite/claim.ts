import assert from "node:assert/strict";
import type { Case, Section } from "./section.ts";
import { assertHas, at, COMPLETED, LOST_AFTER_MS, newJob, settlement, snoozed } from "./stage.ts";

/** Free slots, read-ahead, jobs stored → jobs given. */
const ROOMS: readonly (readonly [room: number, readAhead: number, stored: number, given: number])[] = [
  [0, 0, 3, 0],
  [1, 0, 3, 1],
  [3, 0, 3, 3],
  [5, 0, 3, 3],
  [0, 2, 3, 2],
  [1, 1, 3, 2],
  [2, 500, 3, 3],
  [100, 400, 600, 500],
];

const cases: Case[] = [
  ...ROOMS.map(([room, readAhead, stored, given]): Case => ({
    name: `gives ${given} of ${stored} jobs for room ${room} and a read-ahead of ${readAhead}`,
    async run(stage) {
      await stage.register();
      const ids = await stage.enqueue(...Array.from({ length: stored }, () => ({})));
      assert.deepEqual(await stage.claimIds({ room, readAhead }), ids.slice(0, given));
      assert.equal(await stage.count({ state: "running" }), given);
      assert.equal(await stage.count({ state: "available" }), stored - given);
    },
  })),
  {
    name: "gives nothing of an empty store and knows of nothing to come",
    async run(stage) {
      await stage.register();
      assert.deepEqual(await stage.claimAll(), { known: true, jobs: [], asks: [] });
    },
  },
  {
    name: "gives a job with the request's token and its own record",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne({ payload: '{"file":"x"}', priority: -3, tags: ["t"] });
      const job = await stage.claimOne({ token: "p1:77" });
      assertHas(job, { id, token: "p1:77", generation: 0, attempt: 0, marked: false, priority: -3 });
      assertHas(job, { checkpoint: undefined, cancelAsked: undefined });
      assertHas(job, { createdAt: stage.clock.now(), runAt: stage.clock.now(), payload: '{"file":"x"}' });
      assertHas(await stage.get(id), { state: "running", processId: "p1", generation: 0, attempt: 0 });
    },
  },
  {
    name: "gives each job once",
    async run(stage) {
      await stage.register("p1");
      await stage.register("p2");
      const ids = await stage.enqueue(...Array.from({ length: 10 }, () => ({})));
      const got: number[] = [];
      for (const processId of ["p1", "p2", "p1", "p2"])
        got.push(...(await stage.claimIds({ processId, room: 3 })));
      assert.deepEqual(got, ids);
      assert.deepEqual(await stage.claimIds({ processId: "p2" }), []);
    },
  },
  {
    name: "gives each job once when claims overlap",
    async run(stage) {
      const ids = await stage.enqueue(...Array.from({ length: 60 }, () => ({})));
      const processes = Array.from({ length: 6 }, (_, index) => `p${index}`);
      for (const id of processes) await stage.register(id);
      const claims = await Promise.all(processes.map((processId) => stage.claimIds({ processId, room: 10 })));
      assert.deepEqual(
        claims.flat().sort((a, b) => a - b),
        ids,
      );
    },
  },
  {
    name: "gives only names that were asked for, of the queue that was asked for",
    async run(stage) {
      await stage.register();
      const wanted = await stage.enqueueOne();
      await stage.enqueue({ name: "b" }, { queue: "other" }, { queue: "other", name: "b" });
      assert.deepEqual(await stage.claimIds({ names: ["a", "unknown"] }), [wanted]);
      assert.deepEqual(await stage.claimIds({ queue: "unknown" }), []);
      assert.deepEqual(await stage.claimIds({ names: [] }), []);
      assert.equal(await stage.count({ state: "available" }), 3);
    },
  },
  {
    name: "serves a name that is asked for twice once",
    async run(stage) {
      await stage.register();
      const ids = await stage.enqueue({}, { name: "b" }, {}, { name: "b" });
      assert.deepEqual(await stage.claimIds({ names: ["a", "b", "a", "b", "a"] }), ids);
    },
  },
  {
    name: "serves the queues of a request in its order, each with its own room",
    async run(stage) {
      await stage.register();
      await stage.enqueue(...["q1", "q2", "q3", "q1", "q2", "q3"].map((queue) => ({ queue })));
      const queues = [
        { queue: "q3", names: ["a"], room: 1, readAhead: 0 },
        { queue: "none", names: ["a"], room: 9, readAhead: 9 },
        { queue: "q1", names: ["a"], room: 1, readAhead: 1 },
        { queue: "q2", names: ["a"], room: 0, readAhead: 0 },
      ];
      const jobs = await stage.claim({ queues });
      assert.deepEqual(
        jobs.map(({ queue }) => queue),
        ["q3", "q1", "q1"],
      );
      assert.equal(new Set(jobs.map(({ token }) => token)).size, 1);
    },
  },
  {
    name: "does not look at scheduled jobs, due or not, and says when the next one is due",
    async run(stage) {
      await stage.register();
      const now = stage.clock.now();
      await stage.enqueue({ later: { delayMs: 9_000 } }, { later: { delayMs: 4_000 }, queue: "other" });
      assert.deepEqual(await stage.claimAll(), { known: true, jobs: [], asks: [], nextAt: now + 4_000 });
      await stage.clock.advance(10_000);
      assert.deepEqual(await stage.claimAll(), { known: true, jobs: [], asks: [], nextAt: now + 4_000 });
    },
  },
  {
    name: "does not give finished jobs",
    async run(stage) {
      for (const situation of ["completed", "cancelled", "dead"] as const) {
        await stage.jobIn(situation, { name: "a" });
      }
      assert.deepEqual(await stage.claimIds(), []);
    },
  },
  {
    name: "gives nothing to a process that never registered",
    async run(stage) {
      await stage.enqueueOne();
      assertHas(await stage.claimAll({ processId: "stranger" }), { known: false, jobs: [] });
      assert.equal(await stage.count({ state: "available" }), 1);
    },
  },
  {
    name: "gives nothing to a process that counts as lost",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      stage.livePast(LOST_AFTER_MS + 1);
      assertHas(await stage.claimAll(), { known: false, jobs: [] });
    },
  },
  {
    name: "gives nothing to a process that has left",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      await stage.beat("p1", { leaving: true });
      assertHas(await stage.claimAll(), { known: false, jobs: [] });
    },
  },
  {
    name: "does not take a claim for a beat",
    async run(stage) {
      await stage.register();
      stage.livePast(LOST_AFTER_MS - 1);
      assert.equal((await stage.claimAll()).known, true);
      stage.livePast(2);
      assert.equal((await stage.claimAll()).known, false);
    },
  },
  {
    name: "reports who should be cancelled with every claim, until the run ends",
    async run(stage) {
      await stage.register("p1");
      await stage.register("p2");
      const id = await stage.jobIn("running");
      await stage.change(id, { kind: "cancel", reason: "no longer needed" });
      const ask = { id, generation: 0, reason: "no longer needed" };
      const first = await stage.claimAll();
      assert.deepEqual(first.asks, [ask]);
      assert.deepEqual((await stage.claimAll()).asks, [ask]);
      assert.deepEqual((await stage.claimAll({ processId: "p2" })).asks, []);
    },
  },
  {
    name: "settles before it claims in an exchange",
    async run(stage) {
      await stage.register();
      const [first, second] = await stage.enqueue({}, {});
      const claimed = await stage.claimOne();
      assert.equal(claimed.id, first);
      const { settled, claimed: next } = await stage.storage.exchange(
        [settlement(claimed, COMPLETED, { enqueue: [newJob()] })],
        stage.request(),
      );
      assert.deepEqual(settled, ["settled"]);
      assert.equal(next.known, true);
      assert.equal(next.jobs.length, 2);
      assert.equal(at(next.jobs, 0).id, second);
    },
  },
  {
    name: "gives in an exchange what its own settlements made available",
    async run(stage) {
      await stage.register();
      const [first, second] = await stage.enqueue({}, {});
      const [a, b] = await stage.claim();
      assert.ok(a !== undefined && b !== undefined);
      const { claimed } = await stage.storage.exchange(
        [settlement(b, { state: "available", marked: false }), settlement(a, snoozed({ delayMs: 0 }))],
        stage.request(),
      );
      assert.deepEqual(
        claimed.jobs.map(({ id, generation }) => [id, generation]),
        [
          [second, 1],
          [first, 1],
        ],
      );
    },
  },
  {
    name: "settles in an exchange also for a process that is no longer known",
    async run(stage) {
      await stage.register();
      const [id] = await stage.enqueue({}, {});
      const job = await stage.claimOne();
      stage.livePast(LOST_AFTER_MS + 1);
      const answer = await stage.storage.exchange([settlement(job, COMPLETED)], stage.request());
      assert.deepEqual(answer.settled, ["settled"]);
      assertHas(answer.claimed, { known: false, jobs: [] });
      assert.equal(await stage.state(id as number), "completed");
    },
  },
];

export const claimSection: Section = { title: "claim", cases };
