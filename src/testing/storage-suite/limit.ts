import assert from "node:assert/strict";
import type { JobId } from "../../job/job.ts";
import type { Outcome } from "../../job/lifecycle.ts";
import { limits } from "../../job/limits.ts";
import { checkLimits, enqueueAndPromote, withKey, withLimit } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import {
  assertHas,
  at,
  COMPLETED,
  ERROR,
  failed,
  MARKED,
  newJob,
  RELEASED,
  settlement,
  snoozed,
  type Stage,
} from "./stage.ts";

/** Every way a run can end, and whether its job stands in line again. */
const ENDS: readonly (readonly [string, Outcome, boolean])[] = [
  ["completed", COMPLETED, false],
  ["dead", { state: "dead", error: ERROR }, false],
  ["cancelled", { state: "cancelled", reason: "x" }, false],
  ["a retry now", failed({ delayMs: 0 }), false],
  ["a retry later", failed({ delayMs: 9_000 }), false],
  ["a snooze", snoozed({ delayMs: 0 }), false],
  ["a release", RELEASED, true],
  ["a mark", MARKED, true],
];

const AB = ["a", "b"];

/** The states of jobs, in their order. */
async function states(stage: Stage, ids: readonly JobId[]): Promise<(string | undefined)[]> {
  return (await stage.storage.get(ids)).map((job) => job?.state);
}

/** Four jobs of a key of one at a time: one that runs, and three that are blocked behind it. */
async function behindOne(stage: Stage): Promise<[running: JobId, JobId, JobId, JobId]> {
  await stage.register();
  const ids = await enqueueAndPromote(stage, ...Array.from({ length: 4 }, () => withLimit(1)));
  assert.deepEqual(await states(stage, ids), ["available", "blocked", "blocked", "blocked"]);
  assert.deepEqual(await stage.claimIds(), ids.slice(0, 1));
  return ids as [JobId, JobId, JobId, JobId];
}

const cases: Case[] = [
  {
    name: "schedules a job with a limit for now, and lets in by promotion as many as may run",
    async run(stage) {
      await stage.register();
      const now = stage.clock.now();
      const jobs = Array.from({ length: 5 }, (_, n) => withLimit(2, { payload: `${n}`, trace: "00-t" }));
      const ids = await stage.enqueue(...jobs, withLimit(2, { later: { delayMs: 5 } }));
      assertHas(await stage.get(at(ids, 0)), { state: "scheduled", runAt: now, limit: at(jobs, 0).limit });
      assert.deepEqual(await stage.claimAll(), { known: true, jobs: [], asks: [], nextAt: now });
      assert.deepEqual(await stage.storage.promote(4), { promoted: 4, nextAt: now });
      assert.deepEqual(await stage.storage.promote(4), { promoted: 1, nextAt: now + 5 });
      assert.deepEqual(await stage.listIds({ state: "available" }), ids.slice(0, 2));
      assert.deepEqual(await stage.listIds({ state: "blocked" }), ids.slice(2, 5));
      assert.deepEqual(await stage.listIds({ state: "blocked", queue: "q", name: "a" }, 1), ids.slice(2, 5));
      assert.equal(await stage.count({ state: "blocked", name: "a" }), 3);
      const [lane] = (await stage.storage.lanes()).lanes;
      assertHas(lane?.counts ?? {}, { scheduled: 1, available: 2, blocked: 3 });
      const [first] = await stage.claim();
      assertHas(first ?? {}, { ...newJob(at(jobs, 0)), id: ids[0] ?? 0, generation: 0 });
      assertHas(await stage.get(at(ids, 4)), {
        state: "blocked",
        payload: "4",
        trace: "00-t",
        events: undefined,
      });
      await checkLimits(stage);
      await stage.clock.advance(5);
      assert.deepEqual(await stage.storage.promote(4), { promoted: 1 });
      assert.equal(await stage.state(at(ids, 5)), "blocked");
      await assert.rejects(stage.storage.list({ state: "blocked", limit: 1, after: "x~" }));
    },
  },
  {
    name: "never lets more of a key run than may, with several processes that claim and settle at once",
    async run(stage) {
      const processes = ["p1", "p2", "p3"];
      for (const id of processes) await stage.register(id);
      const jobs = Array.from({ length: 24 }, (_, n) => withLimit(3, { name: at(AB, n % 2) }));
      await stage.enqueue(...jobs, ...jobs.slice(0, 4).map(() => ({})));
      const ended = new Set<JobId>();
      for (let round = 0; ended.size < 28; round++) {
        assert.ok(round < 60, "the jobs do not come to their end");
        const claims = await Promise.all([
          ...processes.map((processId) => stage.claim({ processId, names: AB, room: 2, readAhead: 1 })),
          stage.storage.promote(7).then(() => []),
        ]);
        await checkLimits(stage);
        const ends = claims.map((claimed, n) => {
          const settlements = claimed.map((job) => {
            const isEnd = round > 15 || (job.id + round) % 3 !== 0;
            if (isEnd) ended.add(job.id);
            return settlement(job, isEnd ? COMPLETED : at(ENDS, 3 + ((job.id + round) % 5))[1]);
          });
          return stage.storage.exchange(
            settlements,
            stage.request({ processId: at(processes, n % 3), room: 0 }),
          );
        });
        await Promise.all(ends);
        await stage.clock.advance("9s");
        await checkLimits(stage);
      }
      assert.equal(await stage.count({ state: "completed" }), 28);
    },
  },
  ...ENDS.map(([what, outcome, isInLine]): Case => ({
    name: `gives the slot of a run that ended by ${what} to the next, in its lane and in others`,
    async run(stage) {
      const [running, next] = await behindOne(stage);
      const [other] = await enqueueAndPromote(stage, withLimit(1, { name: "b" }));
      assert.equal(await stage.state(other as number), "blocked");
      await stage.end(stage.leaseFor(running), outcome);
      // Whoever stands in line again is the one that may run next in its lane.
      assert.equal(await stage.state(next), isInLine ? "blocked" : "available");
      assert.equal(await stage.state(other as number), "available");
      await checkLimits(stage);
      const [given] = await stage.claim({ names: AB, room: 5 });
      assert.equal(given?.id, isInLine ? running : next);
      // One runs: what else stood in line was parked.
      assert.equal(await stage.count({ state: "available" }), 0);
      assert.equal(await stage.count({ state: "running" }), 1);
    },
  })),
  {
    name: "takes a lost run's slot for taken until somebody has settled it",
    async run(stage) {
      await stage.register("p2");
      const first = withKey({}, withLimit(1, { trace: "00-t" }));
      const ids = await enqueueAndPromote(stage, first, withLimit(1));
      await stage.claimOne({ processId: "p2" });
      await stage.beat("p2", { leaving: true });
      await stage.register("p1");
      assert.deepEqual(await stage.claimIds(), []);
      const [rescued] = await stage.rescue("p1");
      assertHas(rescued ?? {}, { ...newJob(first), id: ids[0] ?? 0 });
      assert.deepEqual(await states(stage, ids), ["running", "blocked"]);
      await stage.end(rescued ?? { id: 0, generation: 0, token: "" }, MARKED);
      assert.deepEqual(await states(stage, ids), ["available", "blocked"]);
      await stage.end(await stage.claimOne(), COMPLETED);
      assert.deepEqual(await states(stage, ids), ["completed", "available"]);
    },
  },
  {
    name: "lets the next candidate into line when one leaves it without having run",
    async run(stage) {
      for (const [n, leave] of (
        [
          (id) => stage.change(id, { kind: "cancel", reason: "x" }),
          (id) => stage.change(id, { kind: "remove" }),
          (id) => stage.change(id, { kind: "runAt", later: { delayMs: 60_000 } }),
        ] as ((id: JobId) => Promise<unknown>)[]
      ).entries()) {
        const name = `lane ${n}`;
        const ids = await enqueueAndPromote(
          stage,
          ...[1, 2].map(() => withLimit(1, { name }, { key: name })),
        );
        await leave(at(ids, 0));
        assert.deepEqual(await stage.listIds({ state: "available", name }), ids.slice(1));
        // A new place in line is no reason to let another in.
        const [late] = await enqueueAndPromote(stage, withLimit(1, { name }, { key: name }));
        await stage.change(at(ids, 1), { kind: "priority", priority: 9 });
        assert.deepEqual(await states(stage, [at(ids, 1), late as number]), ["available", "blocked"]);
        await checkLimits(stage);
      }
    },
  },
  {
    name: "changes a blocked job like any that waits, and lets the best of those that are left in",
    async run(stage) {
      const [running, first, second, third] = await behindOne(stage);
      const more = await enqueueAndPromote(stage, ...Array.from({ length: 3 }, () => withLimit(1)));
      const [fourth, fifth, sixth] = more as [JobId, JobId, JobId];
      const change = stage.storage.change.bind(stage.storage);
      assert.deepEqual(await change([first], { kind: "cancel", reason: "x" }), ["changed"]);
      assert.deepEqual(await change([second, second], { kind: "remove" }), ["changed", "missing"]);
      assert.deepEqual(await change([third], { kind: "runAt", later: { delayMs: 60_000 } }), ["changed"]);
      assert.deepEqual(await change([fifth], { kind: "runAt", later: { delayMs: 0 } }), ["unchanged"]);
      assert.deepEqual(await change([fifth], { kind: "retry" }), ["unchanged"]);
      assert.deepEqual(await change([sixth, fourth], { kind: "priority", priority: -1 }), [
        "changed",
        "changed",
      ]);
      assertHas(await stage.get(fourth), { state: "blocked", priority: -1 });
      assert.deepEqual(await stage.listIds({ state: "blocked" }), [fourth, fifth, sixth]);
      assert.deepEqual(await states(stage, [first, third]), ["cancelled", "scheduled"]);
      // By priority, then in the order in which they came to it.
      let last = running;
      for (const id of [sixth, fourth, fifth]) {
        await stage.end(stage.leaseFor(last), COMPLETED);
        assert.deepEqual(await stage.claimIds(), [id]);
        last = id;
      }
      await stage.end(stage.leaseFor(last), COMPLETED);
      await stage.clock.advance(60_000);
      await stage.storage.promote(10);
      assert.deepEqual(await stage.claimIds(), [third]);
    },
  },
  {
    name: "keeps the places of blocked and parked jobs, before those that came after them",
    async run(stage) {
      await stage.register();
      // Both lanes of the key have one in line; the claim has room for one and parks the other.
      const [a1, a2, b1, b2] = await enqueueAndPromote(
        stage,
        ...["a", "a", "b", "b"].map((name) => withLimit(1, { name })),
      );
      const [plain, later] = await stage.enqueue({}, { name: "b" });
      assert.deepEqual(await stage.listIds({ state: "available" }), [a1, b1, plain, later]);
      assert.deepEqual(await stage.claimIds({ names: AB, room: 2 }), [a1, plain]);
      assert.deepEqual(await stage.listIds({ state: "blocked" }), [a2, b1, b2]);
      await stage.end(stage.leaseFor(a1 as number), COMPLETED);
      const behind = await stage.enqueueOne();
      assert.deepEqual(await stage.listIds({ state: "available" }), [a2, b1, later, behind]);
      assert.deepEqual(await stage.claimIds({ names: AB, room: 1 }), [a2]);
      assert.deepEqual(await stage.claimIds({ names: AB, room: 0, readAhead: 1 }), [later]);
      await stage.end(stage.leaseFor(a2 as number), failed({ delayMs: 0 }));
      await stage.storage.promote(10);
      assert.deepEqual(await stage.claimIds({ names: AB, room: 5 }), [b1, behind]);
      assert.deepEqual(await states(stage, [a2 as number, b2 as number]), ["blocked", "blocked"]);
      // A job that failed came to a new place; the other lane's are older.
      await stage.end(stage.leaseFor(b1 as number), COMPLETED);
      assert.deepEqual(await stage.claimIds({ names: AB, room: 5 }), [b2]);
    },
  },
  {
    name: "gives as many as there is room for, whatever it parks on the way",
    async run(stage) {
      await stage.register();
      // Each lane of the key has one in line; the first one claimed fills it for all.
      const lanes = ["c", "a", "b", "d"].map((name) => withLimit(1, { name, priority: 1 }));
      const [filling, ...parked] = await enqueueAndPromote(stage, ...lanes);
      await stage.claim({ names: ["c"] });
      const plain = await stage.enqueue(...["a", "b", "a", "e"].map((name, n) => ({ name, priority: n })));
      const names = ["a", "b", "d", "e"];
      assert.deepEqual(await stage.claimIds({ names, room: 1, readAhead: 2 }), plain.slice(0, 3));
      assert.deepEqual(await stage.listIds({ state: "blocked" }), parked);
      assert.deepEqual(await stage.claimIds({ names }), plain.slice(3));
      await stage.end(stage.leaseFor(filling as number), COMPLETED);
      assert.deepEqual(await stage.claimIds({ names }), parked.slice(0, 1));
    },
  },
  {
    name: "holds no slot for a lane that is paused, or that nobody serves",
    async run(stage) {
      await stage.register();
      await stage.storage.configure({ queue: "q", name: "b" }, { paused: true });
      const jobs = ["b", "c", "a", "b", "c", "a"].map((name) => withLimit(1, { name }, { scope: "" }));
      const ids = await enqueueAndPromote(stage, ...jobs);
      for (const id of [at(ids, 2), at(ids, 5)]) {
        assert.deepEqual(await stage.claimIds({ names: AB }), [id]);
        await checkLimits(stage);
        await stage.end(stage.leaseFor(id), COMPLETED);
      }
      assert.deepEqual(await stage.claimIds({ names: AB }), []);
      await stage.storage.configure({ queue: "q", name: "b" }, { paused: false });
      assert.deepEqual(await stage.claimIds({ names: AB }), [at(ids, 0)]);
      await checkLimits(stage);
    },
  },
  {
    name: "counts a key over all names and queues that share it, and keys and scopes apart",
    async run(stage) {
      await stage.register();
      const shared = { scope: "", key: "shared" };
      const jobs = ["a", "b"].flatMap((name) =>
        ["q", "r"].map((queue) => withLimit(2, { name, queue }, shared)),
      );
      const others = [
        { scope: "shared", key: "" },
        { scope: "sha", key: "red" },
        { scope: "__proto__", key: "shared" },
      ];
      const ids = await enqueueAndPromote(stage, ...jobs, ...others.map((key) => withLimit(1, {}, key)));
      const plain = await stage.enqueue({ queue: "r", priority: 3 }, { queue: "r", name: "b", priority: 3 });
      const queues = ["q", "r"].map((queue, n) => ({ queue, names: AB, room: 9 - 7 * n, readAhead: 0 }));
      const given = (await stage.claim({ queues })).map(({ id }) => id);
      // The first queue fills the key; what stands before others in the second one costs them no room.
      assert.deepEqual(given, [at(ids, 0), at(ids, 2), ...ids.slice(4), ...plain]);
      assert.deepEqual(await stage.listIds({ state: "blocked" }), [at(ids, 1), at(ids, 3)]);
      await stage.end(stage.leaseFor(at(ids, 0)), COMPLETED);
      // Each lane that has one in line may show it; the claim gives one.
      assert.deepEqual(await stage.listIds({ state: "available" }), [at(ids, 1), at(ids, 3)]);
      assert.equal((await stage.claim({ queues })).length, 1);
      await checkLimits(stage);
    },
  },
  {
    name: "heeds the concurrency that each job says, when jobs of a key differ",
    async run(stage) {
      await stage.register();
      const ids = await enqueueAndPromote(stage, ...[3, 3, 1, 3, 3].map((n) => withLimit(n)));
      const [a, b, one, c, d] = ids as [JobId, JobId, JobId, JobId, JobId];
      assert.deepEqual(await states(stage, ids), [
        "available",
        "available",
        "blocked",
        "available",
        "blocked",
      ]);
      assert.deepEqual(await stage.claimIds(), [a, b, c]);
      // The first in line waits until nobody runs; others do not pass it while it is the best.
      for (const id of [a, b]) {
        await stage.end(stage.leaseFor(id), COMPLETED);
        assert.deepEqual(await stage.claimIds(), []);
      }
      await stage.end(stage.leaseFor(c), COMPLETED);
      assert.deepEqual(await stage.claimIds(), [one, d]);
    },
  },
  {
    name: "gives in an exchange the slots that its own settlements free, and no others",
    async run(stage) {
      const [running, next, last] = await behindOne(stage);
      const b = await stage.enqueueOne(withLimit(2, { name: "b" }, { key: "other" }));
      await stage.storage.promote(1);
      for (const [ends, given] of [
        [[running], [next, b]],
        [[next], [last]],
        [[], []],
      ] as const) {
        const { settled, claimed } = await stage.storage.exchange(
          ends.map((id) => settlement(stage.leaseFor(id), COMPLETED)),
          stage.request({ names: AB }),
        );
        assert.deepEqual(
          settled,
          ends.map(() => "settled"),
        );
        assert.deepEqual(
          claimed.jobs.map(({ id }) => id),
          given,
        );
        for (const job of claimed.jobs) stage.learn(job);
        await checkLimits(stage);
      }
    },
  },
  {
    name: "holds the slots of jobs that are read ahead from the claim on",
    async run(stage) {
      await stage.register("p1");
      await stage.register("p2");
      const ids = await enqueueAndPromote(stage, ...Array.from({ length: 5 }, () => withLimit(3)));
      assert.deepEqual(await stage.claimIds({ room: 0, readAhead: 2 }), ids.slice(0, 2));
      assert.deepEqual(await stage.claimIds({ processId: "p2" }), ids.slice(2, 3));
      for (const id of ids.slice(0, 3)) await stage.end(stage.leaseFor(id), RELEASED);
      assert.deepEqual(await states(stage, ids.slice(3)), ["blocked", "blocked"]);
      assert.deepEqual(await stage.claimIds({ processId: "p2" }), ids.slice(0, 3));
    },
  },
  {
    name: "sends a finished job that is retried through promotion, and lets an earlier start wait there",
    async run(stage) {
      const [running, next] = await behindOne(stage);
      await stage.end(stage.leaseFor(running), { state: "dead", error: ERROR });
      assert.equal(await stage.change(running, { kind: "retry" }), "changed");
      assertHas(await stage.get(running), { state: "scheduled", runAt: stage.clock.now() });
      assert.equal(await stage.change(running, { kind: "retry" }), "unchanged");
      assert.deepEqual(await stage.claimIds(), [next]);
      assert.equal((await stage.storage.promote(1)).promoted, 1);
      assert.equal(await stage.state(running), "blocked");
      const later = await stage.enqueueOne(withLimit(1, { later: { delayMs: 60_000 } }));
      assert.equal(await stage.change(later, { kind: "runAt", later: { delayMs: 0 } }), "changed");
      assert.equal(await stage.state(later), "scheduled");
    },
  },
  {
    name: "gives other jobs past very many that are blocked, and works them off one after the other",
    async run(stage) {
      await stage.register();
      const n = limits.enqueueJobs / 5;
      const ids = await stage.enqueue(...Array.from({ length: n }, () => withLimit(1, { priority: -1 })));
      while ((await stage.storage.promote(limits.listPage)).promoted > 0);
      const plain = await stage.enqueueOne();
      assert.equal(await stage.count({ state: "blocked" }), n - 1);
      assert.deepEqual(await stage.claimIds(), [at(ids, 0), plain]);
      for (const id of ids.slice(0, 3)) {
        await stage.end(stage.leaseFor(id), COMPLETED);
        await stage.claimOne();
      }
      assert.deepEqual(await stage.listIds({ state: "running", name: "a" }), [at(ids, 3), plain]);
    },
  },
];

export const limitSection: Section = { title: "limit keys", cases };
