import assert from "node:assert/strict";
import type { Flow } from "../../storage/storage.ts";
import { offer, withKey } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, COMPLETED, ERROR, failed, newJob, RELEASED, snoozed, type Stage } from "./stage.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const GONE_AT_ONCE = { completedMs: 0, cancelledMs: 0, deadMs: 0 };

function flow(enqueued: number, completed: number, cancelled: number, dead: number): Flow {
  return { enqueued, completed, cancelled, dead };
}

async function total(stage: Stage, query: { queue?: string; name?: string } = {}): Promise<Flow> {
  return (await stage.storage.stats(query)).total;
}

/** Enqueued within the last hour, day and month, and ever. */
async function arrivals(stage: Stage): Promise<number[]> {
  const { hour, day, month, total: ever } = await stage.storage.stats({});
  return [hour, day, month, ever].map((one) => one.enqueued);
}

const cases: Case[] = [
  {
    name: "counts a job when it comes and when it ends, by how it ended, and nothing else",
    async run(stage) {
      await stage.register();
      const none = flow(0, 0, 0, 0);
      assert.deepEqual(await stage.storage.stats({}), { hour: none, day: none, month: none, total: none });
      for (const retention of [newJob().retention, GONE_AT_ONCE]) {
        const before = await total(stage);
        const jobs = Array.from({ length: 7 }, (_, n) =>
          withKey({ key: `${n}` }, { retention, tags: [`${n}`] }),
        );
        const [, , , , , waiting] = await stage.enqueue(...jobs);
        for (const onConflict of ["keep", "replace"] as const) {
          assert.notEqual((await offer(stage, withKey({ key: "6", onConflict })))[0], "created");
        }
        const [refused] = await stage.storage.enqueue([
          [newJob(), newJob(withKey({ key: "6", onConflict: "error" }))],
        ]);
        assert.equal(refused?.ok, false);
        const [a, b, c, d] = await stage.claim({ room: 4 });
        assert.ok(a !== undefined && b !== undefined && c !== undefined && d !== undefined);
        assert.equal(await stage.settle(a, COMPLETED, { enqueue: [newJob({ name: "child" })] }), "settled");
        assert.equal(await stage.settle(a, COMPLETED), retention === GONE_AT_ONCE ? "stale" : "settled");
        await stage.end(b, { state: "dead", error: ERROR });
        await stage.end(c, { state: "cancelled", reason: "x" });
        await stage.end(d, failed({ delayMs: 0 }));
        await stage.change(waiting as number, { kind: "cancel", reason: "x" });
        for (const job of await stage.claim()) {
          await stage.end(job, job.attempt === 0 ? RELEASED : snoozed({ delayMs: 60_000 }));
        }
        if (retention !== GONE_AT_ONCE) {
          assert.equal(await stage.change(b.id, { kind: "retry" }), "changed");
          assert.equal(await stage.change(c.id, { kind: "remove" }), "changed");
        }
        const after = await total(stage);
        const came = (kind: keyof Flow): number => after[kind] - before[kind];
        assert.deepEqual(
          [came("enqueued"), came("completed"), came("cancelled"), came("dead")],
          [8, 1, 2, 1],
        );
        for (const state of ["available", "scheduled"] as const) {
          for (const id of await stage.listIds({ state })) await stage.change(id, { kind: "remove" });
        }
      }
      const { hour, total: ever } = await stage.storage.stats({});
      assert.deepEqual([hour, ever], [flow(16, 2, 4, 2), flow(16, 2, 4, 2)]);
    },
  },
  {
    name: "answers for a queue, a name, a lane and all of them",
    async run(stage) {
      await stage.register();
      const lanes = [
        ["q", "a"],
        ["q", "b"],
        ["q", "b"],
        ["r", "a"],
        ["r", "a"],
        ["r", "a"],
      ] as const;
      await stage.enqueue(...lanes.map(([queue, name]) => ({ queue, name })));
      for (const job of await stage.claim({ queue: "r" })) await stage.end(job, COMPLETED);
      assert.deepEqual(await total(stage), flow(6, 3, 0, 0));
      assert.deepEqual(await total(stage, { queue: "q" }), flow(3, 0, 0, 0));
      assert.deepEqual(await total(stage, { name: "a" }), flow(4, 3, 0, 0));
      assert.deepEqual(await total(stage, { queue: "q", name: "b" }), flow(2, 0, 0, 0));
      for (const word of ["none", "__proto__"]) {
        assert.deepEqual(await total(stage, { queue: word }), flow(0, 0, 0, 0));
        assert.deepEqual(await total(stage, { queue: "q", name: word }), flow(0, 0, 0, 0));
      }
      // What is removed has come and ended all the same.
      for (const state of ["completed", "available"] as const) {
        for (const id of await stage.listIds({ state })) await stage.change(id, { kind: "remove" });
      }
      assert.deepEqual(await total(stage), flow(6, 3, 0, 0));
    },
  },
  {
    name: "forgets by minutes within the hour, by hours within the day, by days within the month, and never in total",
    async run(stage) {
      await stage.register();
      // In the middle of a minute, an hour and a day, so that a window that slides is found out.
      const start = Date.UTC(2030, 3, 10, 10, 20, 30);
      await stage.clock.set(start);
      const later = async (at: number): Promise<number[]> => {
        await stage.clock.set(start + at);
        await stage.storage.promote(1);
        await stage.storage.prune(10);
        return arrivals(stage);
      };
      await stage.enqueue({}, {});
      assert.deepEqual(await later(29_999), [2, 2, 2, 2]);
      await stage.enqueue({});
      assert.deepEqual(await later(30_000), [3, 3, 3, 3]);
      await stage.enqueue({});
      const minute = (n: number): number => n * MINUTE_MS + 30_000;
      assert.deepEqual(await later(minute(59) - 1), [4, 4, 4, 4]);
      assert.deepEqual(await later(minute(59)), [1, 4, 4, 4]);
      assert.deepEqual(await later(minute(60)), [0, 4, 4, 4]);
      // The hour that began at 10:00 is one of the last 24 until 10:00 of the next day.
      const hour = 39 * MINUTE_MS + 30_000;
      await later(hour + 20 * MINUTE_MS);
      await stage.enqueue({});
      assert.deepEqual(await later(hour + 22 * HOUR_MS + 60 * MINUTE_MS - 1), [0, 5, 5, 5]);
      assert.deepEqual(await later(hour + 23 * HOUR_MS), [0, 1, 5, 5]);
      assert.deepEqual(await later(hour + 24 * HOUR_MS), [0, 0, 5, 5]);
      const day = 13 * HOUR_MS + hour;
      await later(day);
      await stage.enqueue({});
      assert.deepEqual(await later(day + 29 * DAY_MS - 1), [0, 0, 6, 6]);
      assert.deepEqual(await later(day + 29 * DAY_MS), [0, 0, 1, 6]);
      assert.deepEqual(await later(day + 30 * DAY_MS), [0, 0, 0, 6]);
      const job = await stage.claimOne();
      await stage.end(job, COMPLETED);
      const stats = await stage.storage.stats({ queue: "q", name: "a" });
      assert.deepEqual(stats, {
        ...{ hour: flow(0, 1, 0, 0), day: flow(0, 1, 0, 0), month: flow(0, 1, 0, 0) },
        total: flow(6, 1, 0, 0),
      });
      assertHas(await later(day + 3650 * DAY_MS), [0, 0, 0, 6]);
    },
  },
  {
    name: "loses nothing that comes and ends at once from many sides",
    async run(stage) {
      await stage.register();
      await Promise.all(Array.from({ length: 20 }, () => stage.enqueue({}, {}, { name: "b" })));
      const jobs = await stage.claim();
      await Promise.all(
        jobs.map((job, n) => stage.end(job, n % 2 === 0 ? COMPLETED : { state: "dead", error: ERROR })),
      );
      assert.deepEqual(await total(stage), flow(60, 20, 0, 20));
      assert.deepEqual((await stage.storage.stats({ name: "a" })).hour, flow(40, 20, 0, 20));
    },
  },
];

export const statsSection: Section = { title: "statistics", cases };
