import assert from "node:assert/strict";
import { InvalidOptionError } from "../../errors.ts";
import type { JobId, JobState } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import { enqueueAndPromote, withLimit } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, at, COMPLETED, ERROR, newJob, type Stage } from "./stage.ts";

const STATES = ["available", "scheduled", "blocked", "running", "completed", "cancelled", "dead"] as const;

/** `n` jobs in a state, in lanes and at times that differ; in the order in which the listing must have them. */
async function many(stage: Stage, state: JobState, n: number): Promise<JobId[]> {
  await stage.register();
  const names = ["a", "b", "c"];
  if (state === "blocked") {
    await enqueueAndPromote(stage, withLimit(1, { queue: "elsewhere" }));
    await stage.claimOne({ queue: "elsewhere" });
  }
  const ids = await stage.enqueue(
    ...Array.from({ length: n }, (_, index) => ({
      name: at(names, index % 3),
      priority: (index * 7) % 3,
      tags: index % 4 === 0 ? ["fourth"] : [],
      ...(state === "scheduled" ? { later: { delayMs: 1 + ((index * 5) % 7) } } : {}),
      ...(state === "blocked" ? withLimit(1) : {}),
    })),
  );
  if (state === "blocked") await stage.storage.promote(n);
  if (state === "available" || state === "blocked") return ids;
  if (state === "scheduled") {
    const delay = (id: JobId): number => (ids.indexOf(id) * 5) % 7;
    return [...ids].sort((x, y) => delay(x) - delay(y) || x - y);
  }
  const jobs = await stage.claim({ names, room: n });
  if (state === "running") return ids;
  const ended: JobId[] = [];
  for (const job of jobs) {
    if (state === "completed") await stage.end(job, COMPLETED);
    else if (state === "dead") await stage.end(job, { state: "dead", error: ERROR });
    else await stage.end(job, { state: "cancelled", reason: "x" });
    ended.unshift(job.id);
    await stage.clock.advance(1);
  }
  return ended;
}

const cases: Case[] = [
  ...STATES.flatMap((state): Case[] => [
    {
      name: `lists ${state} jobs in order`,
      async run(stage) {
        assert.deepEqual(await stage.listIds({ state }), []);
        const expected = await many(stage, state, 20);
        assert.deepEqual(await stage.listIds({ state }), expected);
      },
    },
    {
      name: `pages through ${state} jobs, each once and in order`,
      async run(stage) {
        const expected = await many(stage, state, 20);
        for (const limit of [1, 3, 19, 20, 21])
          assert.deepEqual(await stage.listIds({ state }, limit), expected);
      },
    },
    {
      name: `filters ${state} jobs by queue, name and tag`,
      async run(stage) {
        const ids = await many(stage, state, 20);
        const infos = new Map((await stage.storage.get(ids)).map((job) => [job?.id, job]));
        const withName = ids.filter((id) => infos.get(id)?.name === "b");
        const withTag = ids.filter((id) => infos.get(id)?.tags.includes("fourth") === true);
        assert.ok(withName.length > 3 && withTag.length > 3);
        for (const limit of [1, 3, 100]) {
          assert.deepEqual(await stage.listIds({ state, queue: "q" }, limit), ids);
          assert.deepEqual(await stage.listIds({ state, name: "b" }, limit), withName);
          assert.deepEqual(await stage.listIds({ state, queue: "q", name: "b" }, limit), withName);
          assert.deepEqual(await stage.listIds({ state, tag: "fourth" }, limit), withTag);
          assert.deepEqual(await stage.listIds({ state, tag: "none" }, limit), []);
          assert.deepEqual(await stage.listIds({ state, queue: "none" }, limit), []);
        }
      },
    },
    {
      name: `goes on behind a page of ${state} jobs whose last job has gone`,
      async run(stage) {
        const ids = await many(stage, state, 9);
        const first = await stage.storage.list({ state, limit: 3 });
        assert.deepEqual(
          first.jobs.map(({ id }) => id),
          ids.slice(0, 3),
        );
        const gone = at(first.jobs, 2);
        if (state === "running") {
          await stage.end(stage.leaseFor(gone.id), COMPLETED);
        } else {
          assert.equal(await stage.change(gone.id, { kind: "remove" }), "changed");
        }
        const rest = await stage.storage.list({ state, limit: 100, after: first.next ?? "" });
        assert.deepEqual(
          rest.jobs.map(({ id }) => id),
          ids.slice(3),
        );
      },
    },
    {
      name: `refuses a cursor that no listing of ${state} jobs has given`,
      async run(stage) {
        for (const after of ["", "x", "1", "~", "available~x~y", '{"a":1}', "\u0000", "🙂", "-1"]) {
          await assert.rejects(stage.storage.list({ state, limit: 10, after }), InvalidOptionError, after);
        }
      },
    },
  ]),
  {
    name: "lists released jobs at their old places",
    async run(stage) {
      const ids = await many(stage, "available", 12);
      const jobs = await stage.claim({ names: ["a", "b", "c"], room: 6 });
      for (const job of [...jobs].reverse())
        await stage.end(job, { state: "available", marked: job.id % 2 === 0 });
      assert.deepEqual(await stage.listIds({ state: "available" }, 4), ids);
    },
  },
  {
    name: "looks at no more than the limit of rows for a filtered page, and goes on from there",
    async run(stage) {
      const rows = limits.listScan + 500;
      const ids = await stage.enqueue(
        ...Array.from({ length: rows }, (_, index) => (index === rows - 1 ? { tags: ["rare"] } : {})),
      );
      const first = await stage.storage.list({ state: "available", tag: "rare", limit: 10 });
      assert.deepEqual(first.jobs, []);
      assert.ok(first.next !== undefined);
      const all = await stage.listIds({ state: "available", tag: "rare" }, 10);
      assert.deepEqual(all, [at(ids, rows - 1)]);
    },
  },
  ...[0, -1, 1.5, Number.NaN, limits.listPage + 1, Number.POSITIVE_INFINITY].map((limit): Case => ({
    name: `refuses a page of ${limit} jobs`,
    async run(stage) {
      await assert.rejects(stage.storage.list({ state: "available", limit }), InvalidOptionError);
    },
  })),
  {
    name: "gives the largest page there is",
    async run(stage) {
      await stage.enqueue(...Array.from({ length: limits.listPage + 1 }, () => ({})));
      const { jobs, next } = await stage.storage.list({ state: "available", limit: limits.listPage });
      assert.equal(jobs.length, limits.listPage);
      assert.ok(next !== undefined);
    },
  },
  {
    name: "gives no next page behind a last page that is just full",
    async run(stage) {
      await stage.enqueue({}, {}, {});
      const { jobs, next } = await stage.storage.list({ state: "available", limit: 3 });
      assert.deepEqual([jobs.length, next], [3, undefined]);
    },
  },
  {
    name: "shows in a listing what get shows",
    async run(stage) {
      const situations = [
        "available",
        "marked",
        "scheduled",
        "retrying",
        "asked",
        "completed",
        "cancelled",
        "dead",
      ];
      for (const situation of situations) {
        const id = await stage.jobIn(situation as "available", { tags: ["t"], givenId: situation });
        const job = await stage.get(id);
        const { jobs } = await stage.storage.list({ state: job.state, name: situation, limit: 10 });
        assert.deepEqual(jobs, [job]);
      }
    },
  },
  {
    name: "gets jobs in the order of the ids, and nothing for ids that are not there",
    async run(stage) {
      const [first, second] = await stage.enqueue({}, {});
      const answer = await stage.storage.get([
        0,
        second as number,
        999_999_999,
        first as number,
        -1,
        second as number,
      ]);
      assert.deepEqual(
        answer.map((job) => job?.id),
        [undefined, second, undefined, first, undefined, second],
      );
      assert.deepEqual(await stage.storage.get([]), []);
    },
  },
  {
    name: "shows what it gave before unchanged when the job changes",
    async run(stage) {
      const id = await stage.jobIn("available", { name: "a" });
      const before = await stage.get(id);
      await stage.end(await stage.claimOne(), COMPLETED);
      assertHas(before, { state: "available", attempt: 0, endedAt: undefined });
    },
  },
  {
    name: "has no attempts of a job that never failed, or is not there",
    async run(stage) {
      assert.deepEqual(await stage.storage.attempts(await stage.enqueueOne()), []);
      assert.deepEqual(await stage.storage.attempts(999_999), []);
    },
  },
  {
    name: "counts by state, queue and name, and each of them alone",
    async run(stage) {
      await stage.enqueue(
        {},
        {},
        { name: "b" },
        { queue: "r" },
        { queue: "r", name: "b", later: { delayMs: 9 } },
      );
      assert.equal(await stage.count(), 5);
      assert.equal(await stage.count({ state: "available" }), 4);
      assert.equal(await stage.count({ queue: "q" }), 3);
      assert.equal(await stage.count({ name: "a" }), 3);
      assert.equal(await stage.count({ name: "b", state: "scheduled" }), 1);
      assert.equal(await stage.count({ queue: "r", state: "scheduled" }), 1);
      assert.equal(await stage.count({ queue: "r", name: "a", state: "available" }), 1);
      assert.equal(await stage.count({ queue: "r", name: "a", state: "scheduled" }), 0);
      assert.equal(await stage.count({ queue: "none" }), 0);
    },
  },
  {
    name: "lists every lane that ever held a job, by queue and name, with its counts",
    async run(stage) {
      await stage.register();
      await stage.enqueue(
        { queue: "z" },
        { queue: "b", name: "y" },
        { queue: "b", name: "x" },
        { queue: "b", name: "y" },
      );
      const gone = await stage.enqueueOne({
        queue: "gone",
        retention: { completedMs: 0, cancelledMs: 0, deadMs: 0 },
      });
      await stage.change(gone, { kind: "remove" });
      await stage.claimOne({ queue: "b", names: ["y"] });
      const { lanes, pausedQueues } = await stage.storage.lanes();
      const zero = {
        scheduled: 0,
        available: 0,
        blocked: 0,
        running: 0,
        completed: 0,
        cancelled: 0,
        dead: 0,
      };
      assert.deepEqual(pausedQueues, []);
      assert.deepEqual(lanes, [
        { queue: "b", name: "x", paused: false, counts: { ...zero, available: 1 } },
        { queue: "b", name: "y", paused: false, counts: { ...zero, available: 1, running: 1 } },
        { queue: "gone", name: "a", paused: false, counts: zero },
        { queue: "z", name: "a", paused: false, counts: { ...zero, available: 1 } },
      ]);
    },
  },
  {
    name: "has no lane of a group that was refused, or of one that was only asked for",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne({ givenId: "x" });
      await stage.storage.enqueue([
        [
          { ...newJob(), queue: "refused" },
          { ...newJob(), givenId: "x", payload: "other" },
        ],
      ]);
      await stage.claim({ queue: "asked" });
      await stage.count({ queue: "counted" });
      assert.deepEqual(
        (await stage.storage.lanes()).lanes.map(({ queue }) => queue),
        ["q"],
      );
    },
  },
  {
    name: "knows nothing in an empty store",
    async run(stage) {
      assert.deepEqual(await stage.storage.lanes(), { lanes: [], pausedQueues: [] });
      assert.deepEqual(await stage.storage.processes(), []);
      assert.equal(await stage.count(), 0);
      assert.ok(stage.storage.label.length > 0);
      assert.equal(stage.storage.clock.now(), stage.clock.now());
    },
  },
];

export const lookSection: Section = { title: "look", cases };
