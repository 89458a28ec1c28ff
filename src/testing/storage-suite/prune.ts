import assert from "node:assert/strict";
import type { Retention } from "../../job/job.ts";
import type { Outcome } from "../../job/lifecycle.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, at, COMPLETED, ERROR, type Stage } from "./stage.ts";

const ENDS: readonly (readonly [keyof Retention, Outcome])[] = [
  ["completedMs", { state: "completed", result: "1" }],
  ["cancelledMs", { state: "cancelled", reason: "x" }],
  ["deadMs", { state: "dead", error: ERROR }],
];

const FOREVER: Retention = { completedMs: null, cancelledMs: null, deadMs: null };

async function ended(stage: Stage, retention: Retention, outcome: Outcome): Promise<number> {
  const id = await stage.enqueueOne({ retention });
  await stage.end(await stage.claimOne(), outcome);
  return id;
}

const cases: Case[] = [
  ...ENDS.flatMap(([key, outcome]): Case[] => [
    {
      name: `keeps a ${outcome.state} job for its retention and not longer`,
      async run(stage) {
        await stage.register();
        const id = await ended(stage, { ...FOREVER, [key]: 60_000 }, outcome);
        assertHas(await stage.get(id), { expiresAt: stage.clock.now() + 60_000 });
        await stage.clock.advance(59_999);
        assert.equal(await stage.storage.prune(100), 0);
        assert.equal(await stage.isThere(id), true);
        await stage.clock.advance(1);
        assert.equal(await stage.storage.prune(100), 1);
        assert.equal(await stage.isThere(id), false);
        assert.equal(await stage.count(), 0);
        assert.deepEqual(await stage.storage.attempts(id), []);
      },
    },
    {
      name: `keeps a ${outcome.state} job for ever when it has no retention`,
      async run(stage) {
        await stage.register();
        const id = await ended(stage, { completedMs: 0, cancelledMs: 0, deadMs: 0, [key]: null }, outcome);
        assertHas(await stage.get(id), { expiresAt: undefined });
        await stage.clock.advance("3650d");
        assert.equal(await stage.storage.prune(100), 0);
        assert.equal(await stage.isThere(id), true);
      },
    },
    {
      name: `removes a ${outcome.state} job with retention 0 at once`,
      async run(stage) {
        await stage.register();
        const id = await ended(stage, { ...FOREVER, [key]: 0 }, outcome);
        assert.equal(await stage.isThere(id), false);
        assert.equal(await stage.count(), 0);
        assert.deepEqual(await stage.storage.attempts(id), []);
      },
    },
  ]),
  {
    name: "removes a waiting job that is cancelled with retention 0 at once",
    async run(stage) {
      const id = await stage.enqueueOne({ retention: { ...FOREVER, cancelledMs: 0 } });
      assert.equal(await stage.change(id, { kind: "cancel", reason: "x" }), "changed");
      assert.equal(await stage.isThere(id), false);
    },
  },
  {
    name: "keeps a job with retention 0 for a minute while someone waits for its end",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne({ retention: { ...FOREVER, completedMs: 0 } });
      const unwatch = stage.storage.watch({ finished: [id] }, () => {});
      await stage.end(await stage.claimOne(), { state: "completed", result: '"here"' });
      unwatch();
      assertHas(await stage.get(id), { state: "completed", result: '"here"' });
      await stage.clock.advance(59_000);
      await stage.storage.prune(100);
      assert.equal(await stage.isThere(id), true);
      await stage.clock.advance(2_000);
      assert.equal(await stage.storage.prune(100), 1);
      assert.equal(await stage.isThere(id), false);
    },
  },
  {
    name: "does not keep a job with retention 0 for someone who has stopped waiting, or waits for another",
    async run(stage) {
      await stage.register();
      const [id, other] = await stage.enqueue({ retention: { ...FOREVER, completedMs: 0 } }, { name: "b" });
      stage.storage.watch({ finished: [id as number] }, () => {})();
      const unwatch = stage.storage.watch({ finished: [other as number] }, () => {});
      await stage.end(await stage.claimOne(), COMPLETED);
      assert.equal(await stage.isThere(id as number), false);
      unwatch();
    },
  },
  {
    name: "prunes no more than the limit a call",
    async run(stage) {
      await stage.register();
      for (let n = 0; n < 5; n++) await ended(stage, { ...FOREVER, completedMs: 10 }, COMPLETED);
      await stage.clock.advance(10);
      const pruned: number[] = [];
      for (let n = 0; n < 4; n++) pruned.push(await stage.storage.prune(2));
      assert.deepEqual(pruned, [2, 2, 1, 0]);
    },
  },
  {
    name: "prunes by expiry, whatever the order and the way of the ends",
    async run(stage) {
      await stage.register();
      const left = new Map<number, number>();
      for (const [index, keepMs] of [5_000, 50, 500, 5, 50_000, 55, 5, 505].entries()) {
        const retention = { completedMs: keepMs, cancelledMs: keepMs, deadMs: keepMs };
        const [, outcome] = at(ENDS, index % 3);
        left.set(await ended(stage, retention, outcome), keepMs);
      }
      let passed = 0;
      for (const span of [5, 50, 445, 4_500, 45_000]) {
        await stage.clock.advance(span);
        passed += span;
        const due = [...left].filter(([, keepMs]) => keepMs <= passed);
        assert.equal(await stage.storage.prune(100), due.length);
        for (const [id] of due) left.delete(id);
        for (const id of left.keys()) assert.equal(await stage.isThere(id), true);
        assert.equal(await stage.count(), left.size);
      }
      assert.equal(left.size, 0);
    },
  },
  {
    name: "does not prune a finished job that was retried",
    async run(stage) {
      await stage.register();
      const id = await ended(stage, { ...FOREVER, deadMs: 10 }, { state: "dead", error: ERROR });
      await stage.change(id, { kind: "retry" });
      await stage.clock.advance(1_000);
      assert.equal(await stage.storage.prune(100), 0);
      assert.equal(await stage.state(id), "available");
    },
  },
  {
    name: "leaves all jobs that are not finished alone",
    async run(stage) {
      const retention = { completedMs: 0, cancelledMs: 0, deadMs: 0 };
      for (const situation of ["available", "marked", "scheduled", "retrying", "running"] as const) {
        await stage.jobIn(situation, { retention });
      }
      await stage.clock.advance("3650d");
      assert.equal(await stage.storage.prune(100), 0);
      assert.equal(await stage.count(), 5);
    },
  },
];

export const pruneSection: Section = { title: "prune and retention", cases };
