import assert from "node:assert/strict";
import { limits } from "../../job/limits.ts";
import type { NewJob } from "../../storage/storage.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, at, COMPLETED, newJob, only } from "./stage.ts";

const DEFINITE: readonly (readonly [string, Partial<NewJob>])[] = [
  [
    "an exponential backoff",
    { backoff: { kind: "exponential", firstMs: 2_000, factor: 1.5, maxMs: 3_600_000, jitter: 0.2 } },
  ],
  ["a linear backoff", { backoff: { kind: "linear", stepMs: 5, maxMs: 50, jitter: 0 } }],
  ["endless retries", { maxRetries: null }],
  ["no retries", { maxRetries: 0 }],
  ["a timeout", { timeoutMs: 1_500 }],
  ["retention for ever", { retention: { completedMs: null, cancelledMs: null, deadMs: null } }],
  ["mixed retention", { retention: { completedMs: 0, cancelledMs: 1, deadMs: 123_456_789_012 } }],
  ["twenty tags", { tags: Array.from({ length: 20 }, (_, index) => `tag ${index}, "quoted" 🙂`) }],
  ["the best priority", { priority: limits.priorityMin }],
  ["the worst priority", { priority: limits.priorityMax }],
  ["a given id", { givenId: "order/7:ä" }],
  [
    "a unique key",
    { unique: { scope: "", key: "ä/7", while: null, forMs: null, onConflict: "replace", inherit: true } },
  ],
  ["a trace", { trace: `00-${"a".repeat(32)}-${"b".repeat(16)}-01\nvendor=ä` }],
];

const LATERS: readonly (readonly [
  string,
  (now: number) => NewJob["later"],
  "available" | "scheduled",
  number,
])[] = [
  ["no time is available now", () => undefined, "available", 0],
  ["a delay of 0 is available now", () => ({ delayMs: 0 }), "available", 0],
  ["a delay is scheduled for then", () => ({ delayMs: 1_500 }), "scheduled", 1_500],
  ["an instant to come is scheduled for it", (now) => ({ at: now + 1 }), "scheduled", 1],
  ["this very instant is available", (now) => ({ at: now }), "available", 0],
  ["an instant that has passed is available", (now) => ({ at: now - 5_000 }), "available", -5_000],
];

const cases: Case[] = [
  ...DEFINITE.map(([what, more]): Case => ({
    name: `keeps a job with ${what} as it was handed in`,
    async run(stage) {
      const id = await stage.enqueueOne(more);
      const { priority, ...spec } = newJob(more);
      const job = await stage.get(id);
      assertHas(job, { ...spec, id, priority, state: "available", attempt: 0, generation: 0 });
      await stage.register();
      assertHas(await stage.claimOne(), { ...spec, id, priority, attempt: 0, generation: 0 });
    },
  })),
  ...LATERS.map(([what, later, state, offset]): Case => ({
    name: `stores a job for its time: ${what}`,
    async run(stage) {
      const now = stage.clock.now();
      const when = later(now);
      const id = await stage.enqueueOne(when === undefined ? {} : { later: when });
      assertHas(await stage.get(id), { state, runAt: now + offset, createdAt: now });
    },
  })),
  {
    name: "starts a job's record with nothing spent and nothing ended",
    async run(stage) {
      const job = await stage.get(await stage.enqueueOne());
      assertHas(job, { attempt: 0, generation: 0, failures: 0, snoozes: 0, releases: 0, marked: false });
      assertHas(job, { error: undefined, result: undefined, reason: undefined, cancelAsked: undefined });
      assertHas(job, { endedAt: undefined, expiresAt: undefined, processId: undefined, givenId: undefined });
    },
  },
  {
    name: "cuts an instant beyond the year 9999 to it",
    async run(stage) {
      const id = await stage.enqueueOne({ later: { delayMs: limits.instantMax } });
      assertHas(await stage.get(id), { state: "scheduled", runAt: limits.instantMax });
    },
  },
  {
    name: "gives ids that grow in input order, across groups and calls",
    async run(stage) {
      const job = newJob();
      const groups = [[job, newJob({ later: { delayMs: 5 } })], [job], [job, job, job]];
      const answers = await stage.storage.enqueue(groups);
      const ids = answers.flatMap((group) => (group.ok ? group.jobs.map(({ id }) => id) : []));
      ids.push(await stage.enqueueOne());
      assert.equal(ids.length, 7);
      for (const [index, id] of ids.entries()) {
        assert.ok(Number.isSafeInteger(id) && id > 0);
        if (index > 0) assert.ok(id > at(ids, index - 1), "ids do not grow");
      }
    },
  },
  {
    name: "answers nothing to nothing, and an empty group with no jobs",
    async run(stage) {
      assert.deepEqual(await stage.storage.enqueue([]), []);
      assert.deepEqual(await stage.storage.enqueue([[]]), [{ ok: true, jobs: [] }]);
      assert.equal(await stage.count(), 0);
    },
  },
  {
    name: "stores a group of the largest size whole and in order",
    async run(stage) {
      const jobs = Array.from({ length: limits.enqueueJobs }, (_, n) => ({ payload: `{"n":${n}}` }));
      const ids = await stage.enqueue(...jobs);
      assert.equal(await stage.count({ state: "available" }), limits.enqueueJobs);
      const stored = await stage.storage.get([at(ids, 0), at(ids, 4_999)]);
      assert.deepEqual(
        stored.map((job) => job?.payload),
        ['{"n":0}', '{"n":4999}'],
      );
    },
  },
  {
    name: "stores equal jobs as often as they are handed in",
    async run(stage) {
      await stage.enqueue({}, {});
      await stage.enqueue({});
      assert.equal(await stage.count(), 3);
    },
  },
  {
    name: "answers existing for a given id with the same payload",
    async run(stage) {
      const id = await stage.enqueueOne({ givenId: "x" });
      assert.deepEqual(await stage.enqueueGroup({ givenId: "x", priority: 5 }), [{ status: "existing", id }]);
      assert.equal(await stage.count(), 1);
      assertHas(await stage.get(id), { priority: 0 });
    },
  },
  {
    name: "refuses a whole group for a given id with another payload, and names the job",
    async run(stage) {
      const existing = await stage.enqueueOne({ givenId: "x" });
      const group = [newJob(), newJob({ givenId: "y" }), newJob({ givenId: "x", payload: "2" }), newJob()];
      assert.deepEqual(await stage.storage.enqueue([group]), [
        { ok: false, refusal: { kind: "duplicate-id", existing }, index: 2 },
      ]);
      assert.equal(await stage.count(), 1);
      // Nothing of the refused group stays, its given ids included.
      assert.equal(at(await stage.enqueueGroup({ givenId: "y", payload: "other" }), 0).status, "created");
    },
  },
  {
    name: "lets groups fail alone",
    async run(stage) {
      await stage.enqueueOne({ givenId: "x" });
      const bad = newJob({ givenId: "x", payload: "2" });
      const answers = await stage.storage.enqueue([[newJob()], [newJob(), bad], [newJob(), newJob()]]);
      assert.deepEqual(
        answers.map(({ ok }) => ok),
        [true, false, true],
      );
      assert.equal(await stage.count(), 4);
    },
  },
  {
    name: "stores one job for a given id that stands twice in a group",
    async run(stage) {
      const [first, second] = await stage.enqueueGroup({ givenId: "x" }, { givenId: "x" });
      assert.equal(first?.status, "created");
      assert.deepEqual(second, { status: "existing", id: first?.id });
      assert.equal(await stage.count(), 1);
    },
  },
  {
    name: "refuses a group that has a given id twice with different payloads",
    async run(stage) {
      const group = [newJob({ givenId: "x" }), newJob({ givenId: "x", payload: "2" })];
      const [answer] = await stage.storage.enqueue([group]);
      assert.ok(answer !== undefined && !answer.ok);
      assert.deepEqual([answer.refusal.kind, answer.index], ["duplicate-id", 1]);
      assert.equal(await stage.count(), 0);
    },
  },
  {
    name: "sees the given ids of earlier groups of the same call",
    async run(stage) {
      const same = newJob({ givenId: "x" });
      const answers = await stage.storage.enqueue([[same], [same], [newJob({ givenId: "x", payload: "2" })]]);
      const [first, second, third] = answers;
      assert.ok(first?.ok && second?.ok && third?.ok === false);
      const { id } = only(first.jobs);
      assert.deepEqual(second.jobs, [{ status: "existing", id }]);
      assert.deepEqual(third.refusal, { kind: "duplicate-id", existing: id });
      assert.equal(await stage.count(), 1);
    },
  },
  {
    name: "tells given ids of different job names apart, whatever the queue",
    async run(stage) {
      await stage.enqueue({ givenId: "x" }, { givenId: "x", name: "b", payload: "2" });
      const [other] = await stage.enqueueGroup({ givenId: "x", queue: "elsewhere" });
      assert.equal(other?.status, "existing");
    },
  },
  {
    name: "keeps a given id as long as the finished job is kept",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne({ givenId: "x" });
      await stage.end(await stage.claimOne(), COMPLETED);
      assert.deepEqual(await stage.enqueueGroup({ givenId: "x" }), [{ status: "existing", id }]);
      await stage.clock.advance("1d");
      assert.equal(await stage.storage.prune(10), 1);
      const [again] = await stage.enqueueGroup({ givenId: "x", payload: "2" });
      assert.equal(again?.status, "created");
      assert.notEqual(again?.id, id);
    },
  },
  {
    name: "frees the given id of a removed job",
    async run(stage) {
      const id = await stage.enqueueOne({ givenId: "x" });
      assert.equal(await stage.change(id, { kind: "remove" }), "changed");
      assert.equal(at(await stage.enqueueGroup({ givenId: "x", payload: "2" }), 0).status, "created");
    },
  },
  {
    name: "answers a repeated batch as the first time and stores nothing",
    async run(stage) {
      await stage.enqueueOne({ givenId: "x" });
      const groups = [[newJob(), newJob()], [newJob({ givenId: "x", payload: "2" })], []];
      const answer = await stage.storage.enqueue(groups, "batch 1");
      assert.deepEqual(await stage.storage.enqueue(groups, "batch 1"), answer);
      assert.equal(await stage.count(), 3);
    },
  },
  {
    name: "answers a repeated batch even when its jobs are gone",
    async run(stage) {
      await stage.register();
      const answer = await stage.storage.enqueue([[newJob()]], "batch 1");
      await stage.end(await stage.claimOne(), COMPLETED);
      await stage.change(at(at(answer, 0).ok ? await stage.listIds({ state: "completed" }) : [], 0), {
        kind: "remove",
      });
      assert.deepEqual(await stage.storage.enqueue([[newJob()]], "batch 1"), answer);
      assert.equal(await stage.count(), 0);
    },
  },
  {
    name: "remembers a batch id for its time, whatever is pruned meanwhile",
    async run(stage) {
      const answer = await stage.storage.enqueue([[newJob()]], "batch 1");
      await stage.clock.advance(limits.batchMemoryMs - 1);
      await stage.storage.prune(1_000);
      assert.deepEqual(await stage.storage.enqueue([[newJob()]], "batch 1"), answer);
      assert.equal(await stage.count(), 1);
    },
  },
  {
    name: "tells batch ids apart, and a call without one is always new",
    async run(stage) {
      await stage.storage.enqueue([[newJob()]], "batch");
      await stage.storage.enqueue([[newJob()]], "batch ");
      await stage.storage.enqueue([[newJob()]]);
      await stage.storage.enqueue([[newJob()]]);
      assert.equal(await stage.count(), 4);
    },
  },
];

export const enqueueSection: Section = { title: "enqueue", cases };
