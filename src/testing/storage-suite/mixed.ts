import assert from "node:assert/strict";
import { JOB_STATES } from "../../job/job.ts";
import type { Outcome } from "../../job/lifecycle.ts";
import type { ClaimedJob } from "../../storage/storage.ts";
import { checkLimits, withKey, withLimit } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import { at, COMPLETED, ERROR, failed, MARKED, only, RELEASED, snoozed, type Stage } from "./stage.ts";

const OUTCOMES: readonly Outcome[] = [
  COMPLETED,
  failed({ delayMs: 40 }),
  RELEASED,
  { state: "dead", error: ERROR },
  snoozed({ delayMs: 15 }),
  { state: "cancelled", reason: "x" },
  MARKED,
  failed({ delayMs: 0 }),
];

const CONFLICTS = ["keep", "replace"] as const;

/** Does a bit of everything over and over; what happens follows from `round` alone. */
async function churn(stage: Stage, rounds: number): Promise<void> {
  const names = ["a", "b", "c"];
  const held: ClaimedJob[] = [];
  await stage.register();
  for (let round = 0; round < rounds; round++) {
    await stage.enqueueGroup(
      ...Array.from({ length: 4 }, (_, n) => ({
        name: at(names, (round + n) % 3),
        priority: (round * 5 + n) % 3,
        ...(n === 3 ? { later: { delayMs: (round * 13) % 50 } } : {}),
        ...(n === 1 ? withLimit(1 + (round % 2), {}, { key: `${round % 2}` }) : {}),
        ...(n === 2 ? withKey({ key: `${round % 7}`, onConflict: at(CONFLICTS, round % 2) }) : {}),
        retention: { completedMs: (round % 4) * 20, cancelledMs: 1_000, deadMs: round % 2 === 0 ? null : 30 },
      })),
    );
    held.push(...(await stage.claim({ names, room: 3, readAhead: 2 })));
    while (held.length > 4) {
      const job = held.splice((round * 3) % held.length, 1);
      await stage.end(only(job), at(OUTCOMES, (round + held.length) % OUTCOMES.length));
    }
    const waiting = await stage.listIds({ state: "available" });
    const target = waiting[(round * 7) % Math.max(1, waiting.length)];
    if (target !== undefined) {
      if (round % 5 === 0) await stage.change(target, { kind: "cancel", reason: "x" });
      if (round % 5 === 1) await stage.change(target, { kind: "priority", priority: -1 });
      if (round % 5 === 2) await stage.change(target, { kind: "runAt", later: { delayMs: 25 } });
      if (round % 5 === 3) await stage.change(target, { kind: "remove" });
    }
    const dead = (await stage.listIds({ state: "dead" }))[0];
    if (dead !== undefined && round % 3 === 0) await stage.change(dead, { kind: "retry" });
    await stage.clock.advance(7);
    await stage.storage.promote(3);
    await stage.storage.prune(2);
  }
}

const cases: Case[] = [
  {
    name: "counts exactly in every state after a bit of everything",
    async run(stage) {
      await churn(stage, 60);
      await stage.checkCounts();
      const used = await Promise.all(
        JOB_STATES.map(async (state) => [state, await stage.count({ state })] as const),
      );
      const empty = used.filter(([, n]) => n === 0).map(([state]) => state);
      assert.deepEqual(empty, []);
      await checkLimits(stage);
      const { total } = await stage.storage.stats({});
      assert.ok(total.enqueued >= (await stage.count()) && total.completed > 10 && total.dead > 5);
    },
  },
  {
    name: "pages completely and without duplicates after a bit of everything, three a page",
    async run(stage) {
      await churn(stage, 60);
      for (const state of JOB_STATES) {
        const paged = await stage.listIds({ state }, 3);
        assert.deepEqual(paged, await stage.listIds({ state }));
        for (const name of ["a", "b", "c"]) {
          const jobs = await stage.storage.get(paged);
          const expected = jobs.flatMap((job) => (job?.name === name ? [job.id] : []));
          assert.deepEqual(await stage.listIds({ state, name }, 3), expected);
          assert.equal(await stage.count({ state, name }), expected.length);
        }
      }
    },
  },
  {
    name: "runs every job that is left to its end after a bit of everything",
    async run(stage) {
      await churn(stage, 40);
      await stage.clock.advance("1d");
      await stage.storage.promote(10_000);
      await stage.beat("p1", { leaving: true });
      await stage.register("p2");
      for (const job of await stage.rescue("p2", 10_000)) await stage.end(job, RELEASED);
      const waiting = (await stage.count({ state: "available" })) + (await stage.count({ state: "blocked" }));
      assert.ok(waiting > 20);
      let ended = 0;
      for (;;) {
        const jobs = await stage.claim({ processId: "p2", names: ["a", "b", "c"], room: 10 });
        if (jobs.length === 0) break;
        for (const job of jobs) await stage.end(job, COMPLETED);
        ended += jobs.length;
      }
      assert.equal(ended, waiting);
      for (const state of ["available", "scheduled", "blocked", "running"] as const) {
        assert.equal(await stage.count({ state }), 0);
      }
    },
  },
];

export const mixedSection: Section = { title: "a bit of everything", cases };
