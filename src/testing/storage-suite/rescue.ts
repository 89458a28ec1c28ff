import assert from "node:assert/strict";
import type { ClaimedJob } from "../../storage/storage.ts";
import type { Case, Section } from "./section.ts";
import {
  assertHas,
  at,
  COMPLETED,
  ERROR,
  failed,
  leaseOf,
  LOST_AFTER_MS,
  only,
  RELEASED,
  type Stage,
} from "./stage.ts";

/** `p1` claims all of `n` jobs and is lost; `p2` lives. */
async function lostWith(stage: Stage, n: number, starts: number = 0): Promise<readonly ClaimedJob[]> {
  await stage.register("p1");
  await stage.enqueue(...Array.from({ length: n }, () => ({})));
  const jobs = await stage.claim();
  assert.equal(jobs.length, n);
  await stage.clock.advance(1_000);
  if (starts > 0) await stage.claimAll({ queues: [], starts: jobs.slice(0, starts).map(leaseOf) });
  await stage.clock.advance(1_000);
  stage.livePast(LOST_AFTER_MS + 1);
  await stage.register("p2");
  return jobs;
}

const cases: Case[] = [
  {
    name: "takes nothing from processes that live",
    async run(stage) {
      await stage.register("p1");
      await stage.register("p2");
      await stage.enqueueOne();
      const job = await stage.claimOne();
      stage.livePast(LOST_AFTER_MS - 1);
      await stage.beat("p2");
      assert.deepEqual(await stage.rescue("p2"), []);
      await stage.end(job, COMPLETED);
    },
  },
  {
    name: "moves the leases of a silent process to the caller's token",
    async run(stage) {
      const [job] = await lostWith(stage, 1);
      assert.ok(job);
      const rescued = only(await stage.storage.rescue({ processId: "p2", token: "p2:rescue", limit: 10 }));
      assertHas(rescued, { id: job.id, token: "p2:rescue", lostProcessId: "p1", generation: 0, attempt: 0 });
      assertHas(rescued, {
        payload: job.payload,
        queue: "q",
        name: "a",
        maxRetries: 3,
        backoff: job.backoff,
      });
      assertHas(await stage.get(job.id), { state: "running", processId: "p2" });
      assert.equal(await stage.settle(job, COMPLETED), "stale");
      await stage.end(rescued, failed({ delayMs: 0 }));
      assertHas(await stage.get(job.id), { state: "available", attempt: 1 });
    },
  },
  {
    name: "tells jobs that were started from jobs that were only claimed",
    async run(stage) {
      const claimedAt = stage.clock.now();
      const jobs = await lostWith(stage, 3, 2);
      const rescued = await stage.rescue("p2");
      assert.deepEqual(
        rescued.map(({ id, started }) => [id, started]).sort(),
        jobs.map(({ id }, index) => [id, index < 2]),
      );
      for (const { startedAt } of rescued) {
        assert.ok(startedAt >= claimedAt && startedAt <= claimedAt + 1_000, "a start that cannot be");
      }
    },
  },
  {
    name: "knows starts that were reported with a beat",
    async run(stage) {
      await stage.register("p1");
      await stage.enqueue({}, {});
      const [first, second] = await stage.claim();
      assert.ok(first && second);
      await stage.beat("p1", { starts: [second], holds: [first, second] });
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      const started = new Map((await stage.rescue("p2")).map((job) => [job.id, job.started]));
      assert.deepEqual([started.get(first.id), started.get(second.id)], [false, true]);
    },
  },
  {
    name: "keeps to the first report of a start",
    async run(stage) {
      await stage.register("p1");
      await stage.enqueueOne();
      const job = await stage.claimOne();
      await stage.beat("p1", { starts: [job] });
      const reportedAt = stage.clock.now();
      await stage.clock.advance(5_000);
      await stage.beat("p1", { starts: [job] });
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      assertHas(only(await stage.rescue("p2")), { started: true, startedAt: reportedAt });
    },
  },
  {
    name: "knows starts that were reported with an exchange",
    async run(stage) {
      await stage.register("p1");
      await stage.enqueueOne();
      const job = await stage.claimOne();
      await stage.storage.exchange([], stage.request({ starts: [job] }));
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      assertHas(only(await stage.rescue("p2")), { id: job.id, started: true });
    },
  },
  {
    name: "does not know a start from an earlier run of the job",
    async run(stage) {
      await stage.register("p1");
      await stage.enqueueOne();
      const first = await stage.claimOne();
      await stage.claimAll({ queues: [], starts: [first] });
      await stage.end(first, RELEASED);
      await stage.claimOne();
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      assertHas(only(await stage.rescue("p2")), { started: false });
    },
  },
  {
    name: "takes the jobs of a process that left at once, without waiting for silence",
    async run(stage) {
      await stage.register("p1");
      await stage.register("p2");
      await stage.enqueue({}, {});
      await stage.claim();
      await stage.beat("p1", { leaving: true });
      assert.equal((await stage.rescue("p2")).length, 2);
    },
  },
  {
    name: "moves no more than the limit, and the rest with the next calls",
    async run(stage) {
      const jobs = await lostWith(stage, 5);
      const ids: number[] = [];
      for (const expected of [2, 2, 1, 0]) {
        const rescued = await stage.rescue("p2", 2);
        assert.equal(rescued.length, expected);
        ids.push(...rescued.map(({ id }) => id));
      }
      assert.deepEqual(
        ids.sort((a, b) => a - b),
        jobs.map(({ id }) => id),
      );
    },
  },
  {
    name: "gives each lease to one rescuer",
    async run(stage) {
      await lostWith(stage, 20);
      await stage.register("p3");
      const [a, b] = await Promise.all([stage.rescue("p2", 20), stage.rescue("p3", 20)]);
      assert.equal(new Set([...a, ...b].map(({ id }) => id)).size, 20);
      assert.equal(a.length + b.length, 20);
    },
  },
  {
    name: "forgets a lost process when nothing is left of it",
    async run(stage) {
      await lostWith(stage, 3);
      await stage.rescue("p2", 2);
      const isKnown = async (): Promise<boolean> =>
        (await stage.storage.processes()).some(({ id, lost }) => id === "p1" && lost);
      assert.equal(await isKnown(), true);
      await stage.rescue("p2", 2);
      // It may go with the call that takes the last of it, or with the next.
      await stage.rescue("p2", 2);
      assert.equal(await isKnown(), false);
      assert.equal((await stage.beat("p1")).known, false);
    },
  },
  {
    name: "forgets a silent process that held nothing",
    async run(stage) {
      await stage.register("p1");
      stage.livePast(LOST_AFTER_MS + 1);
      await stage.register("p2");
      assert.deepEqual(await stage.rescue("p2"), []);
      assert.deepEqual(
        (await stage.storage.processes()).map(({ id }) => id),
        ["p2"],
      );
    },
  },
  {
    name: "gives nothing to a caller that is unknown",
    async run(stage) {
      await lostWith(stage, 1);
      assert.deepEqual(await stage.rescue("stranger"), []);
      assert.equal((await stage.rescue("p2")).length, 1);
    },
  },
  {
    name: "gives nothing to a caller that is lost itself",
    async run(stage) {
      await lostWith(stage, 1);
      stage.livePast(LOST_AFTER_MS + 1);
      assert.deepEqual(await stage.rescue("p2"), []);
      await stage.register("p3");
      assert.equal((await stage.rescue("p3")).length, 1);
    },
  },
  {
    name: "rescues again what a lost rescuer held, with the start still known",
    async run(stage) {
      const [job] = await lostWith(stage, 1, 1);
      const first = only(await stage.rescue("p2"));
      stage.livePast(LOST_AFTER_MS + 1);
      await stage.register("p3");
      const second = only(await stage.rescue("p3"));
      assertHas(second, { id: job?.id, started: true, startedAt: first.startedAt });
      assert.equal(await stage.settle(first, COMPLETED), "stale");
      await stage.end(second, failed({ delayMs: 0 }));
    },
  },
  {
    name: "records the lost attempt for the process that ran it",
    async run(stage) {
      const [job] = await lostWith(stage, 1, 1);
      const rescued = only(await stage.rescue("p2"));
      await stage.settle(rescued, failed({ delayMs: 0 }), { startedAt: rescued.startedAt });
      assertHas(only(await stage.storage.attempts(job?.id ?? 0)), {
        ...{ number: 1, attempt: 1, processId: "p1", startedAt: rescued.startedAt, error: ERROR },
      });
    },
  },
  {
    name: "hands the checkpoint and the result so far on",
    async run(stage) {
      await stage.register("p1");
      const id = await stage.enqueueOne();
      const job = await stage.claimOne();
      await stage.storage.note(job, { checkpoint: { page: "3" }, result: '"so far"' });
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      const rescued = only(await stage.rescue("p2"));
      assert.deepEqual(rescued.checkpoint, { page: "3" });
      await stage.end(rescued, failed({ delayMs: 0 }));
      assert.deepEqual((await stage.claimOne({ processId: "p2" })).checkpoint, { page: "3" });
      assertHas(await stage.get(id), { result: '"so far"' });
    },
  },
  {
    name: "hands on that someone asked to cancel the run",
    async run(stage) {
      const id = await stage.jobIn("asked");
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      const rescued = only(await stage.rescue("p2"));
      assertHas(rescued, { id, cancelAsked: "first reason" });
      assert.deepEqual((await stage.beat("p2")).asks, [{ id, generation: 0, reason: "first reason" }]);
      await stage.end(rescued, { state: "cancelled", reason: "first reason" });
      assertHas(await stage.get(id), { state: "cancelled", reason: "first reason", cancelAsked: undefined });
    },
  },
  {
    name: "gives jobs that go back marked their old places",
    async run(stage) {
      const jobs = await lostWith(stage, 3);
      const late = await stage.enqueueOne();
      for (const rescued of await stage.rescue("p2"))
        await stage.end(rescued, { state: "available", marked: true });
      const got: number[] = [];
      for (let n = 0; n < 4; n++) got.push(...(await stage.claimIds({ processId: "p2", room: 1 })));
      assert.deepEqual(got, [...jobs.map(({ id }) => id), late]);
    },
  },
  {
    name: "lets a lost process still settle what nobody has rescued yet",
    async run(stage) {
      const [job] = await lostWith(stage, 2);
      assert.ok(job);
      await stage.end(job, COMPLETED);
      const rescued = await stage.rescue("p2");
      assert.equal(rescued.length, 1);
      assert.notEqual(at(rescued, 0).id, job.id);
    },
  },
];

export const rescueSection: Section = { title: "rescue", cases };
