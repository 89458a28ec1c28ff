import assert from "node:assert/strict";
import type { Outcome } from "../../job/lifecycle.ts";
import { limits } from "../../job/limits.ts";
import type { StoredJob } from "../../storage/storage.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, at, COMPLETED, ERROR, failed, newJob, settlement, snoozed } from "./stage.ts";

/** Expectations are for a job whose run is the attempt after `spent` failed ones. */
interface OutcomeCase {
  readonly what: string;
  readonly outcome: Outcome;
  readonly expect: (
    spent: number,
    now: number,
  ) => { readonly [K in keyof StoredJob]?: StoredJob[K] | undefined };
  readonly keepsCheckpoint: boolean;
}

const OTHER_ERROR = { name: "TypeError", message: "worse", code: "E_WORSE", cause: ERROR };
const DAY_MS = 86_400_000;

/** Every outcome there is, in each of its forms. */
export const OUTCOMES: readonly OutcomeCase[] = [
  {
    what: "completed with a result",
    outcome: { state: "completed", result: '{"ok":true}' },
    expect: (spent, now) => ({
      ...{
        state: "completed",
        attempt: spent + 1,
        generation: spent,
        failures: spent,
        result: '{"ok":true}',
      },
      ...{ error: undefined, endedAt: now, expiresAt: now + DAY_MS },
    }),
    keepsCheckpoint: false,
  },
  {
    what: "completed without one",
    outcome: { state: "completed" },
    expect: (spent) => ({ state: "completed", attempt: spent + 1, result: undefined, error: undefined }),
    keepsCheckpoint: false,
  },
  {
    what: "dead",
    outcome: { state: "dead", error: OTHER_ERROR },
    expect: (spent, now) => ({
      ...{ state: "dead", attempt: spent + 1, generation: spent, failures: spent + 1, error: OTHER_ERROR },
      ...{ endedAt: now, expiresAt: now + DAY_MS },
    }),
    keepsCheckpoint: true,
  },
  {
    what: "cancelled by the handler",
    outcome: { state: "cancelled", reason: "not needed" },
    expect: (spent, now) => ({
      ...{ state: "cancelled", attempt: spent + 1, generation: spent, failures: spent, reason: "not needed" },
      ...{ endedAt: now, expiresAt: now + DAY_MS },
    }),
    keepsCheckpoint: false,
  },
  {
    what: "cancelled with an error",
    outcome: { state: "cancelled", reason: "asked", error: OTHER_ERROR },
    expect: (spent) => ({ state: "cancelled", failures: spent + 1, error: OTHER_ERROR, attempt: spent + 1 }),
    keepsCheckpoint: false,
  },
  {
    what: "retried later",
    outcome: { state: "scheduled", later: { delayMs: 5_000 }, attempt: "spent", error: OTHER_ERROR },
    expect: (spent, now) => ({
      ...{ state: "scheduled", attempt: spent + 1, generation: spent + 1, failures: spent + 1, snoozes: 0 },
      ...{ runAt: now + 5_000, error: OTHER_ERROR, endedAt: undefined, expiresAt: undefined },
    }),
    keepsCheckpoint: true,
  },
  {
    what: "retried at once",
    outcome: { state: "scheduled", later: { delayMs: 0 }, attempt: "spent", error: OTHER_ERROR },
    expect: (spent, now) => ({ state: "available", attempt: spent + 1, runAt: now, failures: spent + 1 }),
    keepsCheckpoint: true,
  },
  {
    what: "retried as the first of a new series",
    outcome: { state: "scheduled", later: { delayMs: 5_000 }, attempt: "first", error: OTHER_ERROR },
    expect: (spent, now) => ({
      ...{ state: "scheduled", attempt: 1, generation: spent + 1, failures: spent + 1, snoozes: 0 },
      ...{ runAt: now + 5_000, error: OTHER_ERROR, events: undefined },
    }),
    keepsCheckpoint: true,
  },
  {
    what: "snoozed",
    outcome: { state: "scheduled", later: { delayMs: 5_000 }, attempt: "kept" },
    expect: (spent, now) => ({
      ...{ state: "scheduled", attempt: spent, generation: spent + 1, failures: spent, snoozes: 1 },
      runAt: now + 5_000,
    }),
    keepsCheckpoint: true,
  },
  {
    what: "rescheduled with attempts anew",
    outcome: { state: "scheduled", later: { delayMs: 5_000 }, attempt: "reset" },
    expect: (spent) => ({
      state: "scheduled",
      attempt: 0,
      generation: spent + 1,
      failures: spent,
      snoozes: 0,
    }),
    keepsCheckpoint: true,
  },
  {
    what: "released",
    outcome: { state: "available", marked: false },
    expect: (spent) => ({
      ...{ state: "available", attempt: spent, generation: spent + 1, failures: spent, releases: 1 },
      marked: false,
    }),
    keepsCheckpoint: true,
  },
  {
    what: "released with a mark",
    outcome: { state: "available", marked: true },
    expect: (spent) => ({ state: "available", attempt: spent, generation: spent + 1, marked: true }),
    keepsCheckpoint: true,
  },
];

const cases: Case[] = [
  ...OUTCOMES.flatMap(({ what, outcome, expect, keepsCheckpoint }) =>
    [0, 1, 3].map((spent): Case => ({
      name: `applies "${what}" to a job with ${spent} attempts spent`,
      async run(stage) {
        await stage.register();
        const id = await stage.enqueueOne();
        for (let n = 0; n < spent; n++) await stage.end(await stage.claimOne(), failed({ delayMs: 0 }));
        const job = await stage.claimOne();
        assertHas(job, { attempt: spent, generation: spent });
        await stage.storage.note(job, { checkpoint: { at: "7" } });
        await stage.clock.advance(1_000);
        const now = stage.clock.now();
        assert.equal(await stage.settle(job, outcome, { startedAt: now - 300 }), "settled");

        const after = await stage.get(id);
        assertHas(after, expect(spent, now));
        assertHas(after, { processId: undefined, cancelAsked: undefined });
        if (outcome.state !== "available") assertHas(after, { startedAt: now - 300 });
        assert.equal((await stage.storage.attempts(id)).length, after.failures);
        // Whatever became of it, the next claim shows it with its checkpoint, or without.
        if (after.endedAt !== undefined) await stage.change(id, { kind: "retry" });
        if (after.state === "scheduled") await stage.clock.advance(5_000);
        await stage.storage.promote(1);
        const next = await stage.claimOne();
        assert.equal(next.id, id);
        assert.deepEqual(next.checkpoint, keepsCheckpoint ? { at: "7" } : undefined);
      },
    })),
  ),
  {
    name: "schedules at an instant that the outcome names",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const instant = stage.clock.now() + 86_400_000;
      await stage.end(await stage.claimOne(), snoozed({ at: instant }));
      assertHas(await stage.get(id), { state: "scheduled", runAt: instant });
    },
  },
  {
    name: "records a failed attempt with its process, times and error",
    async run(stage) {
      await stage.register("worker 7");
      const id = await stage.enqueueOne();
      const start = stage.clock.now();
      for (const spent of [0, 1]) {
        await stage.clock.advance(1_000);
        const job = await stage.claimOne({ processId: "worker 7" });
        const outcome: Outcome = spent === 0 ? failed({ delayMs: 0 }) : { state: "dead", error: OTHER_ERROR };
        await stage.settle(job, outcome, { startedAt: stage.clock.now() - 5 });
      }
      const common = { processId: "worker 7" };
      assert.deepEqual(await stage.storage.attempts(id), [
        { ...common, number: 1, attempt: 1, startedAt: start + 995, endedAt: start + 1_000, error: ERROR },
        {
          ...common,
          number: 2,
          attempt: 2,
          startedAt: start + 1_995,
          endedAt: start + 2_000,
          error: OTHER_ERROR,
        },
      ]);
    },
  },
  {
    name: "keeps the first and the last failed attempts of very many",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne({ maxRetries: null });
      const many = limits.attemptsFirst + limits.attemptsLast + 15;
      for (let n = 0; n < many; n++) await stage.end(await stage.claimOne(), failed({ delayMs: 0 }));
      const numbers = (await stage.storage.attempts(id)).map(({ number }) => number);
      const expected = Array.from({ length: many }, (_, index) => index + 1).filter(
        (number) => number <= limits.attemptsFirst || number > many - limits.attemptsLast,
      );
      assert.deepEqual(numbers, expected);
      assertHas(await stage.get(id), { attempt: many, failures: many });
    },
  },
  {
    name: "counts attempts anew after a reschedule, and their entries on",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      await stage.end(await stage.claimOne(), failed({ delayMs: 0 }));
      await stage.end(await stage.claimOne(), {
        state: "scheduled",
        later: { delayMs: 0 },
        attempt: "reset",
      });
      await stage.end(await stage.claimOne(), failed({ delayMs: 0 }));
      assert.deepEqual(
        (await stage.storage.attempts(id)).map(({ number, attempt }) => [number, attempt]),
        [
          [1, 1],
          [2, 1],
        ],
      );
    },
  },
  {
    name: "keeps the failed attempts of a job that completes at last, and forgets its error",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      await stage.end(await stage.claimOne(), failed({ delayMs: 0 }));
      assertHas(await stage.get(id), { error: ERROR });
      await stage.end(await stage.claimOne(), COMPLETED);
      assertHas(await stage.get(id), { error: undefined, failures: 1 });
      assert.equal((await stage.storage.attempts(id)).length, 1);
    },
  },
  {
    name: "answers a batch in its order, each job for itself",
    async run(stage) {
      await stage.register();
      const ids = await stage.enqueue({}, {}, {}, {});
      const [a, b, c, d] = await stage.claim();
      assert.ok(a && b && c && d);
      assert.deepEqual(
        await stage.storage.settle([
          settlement(d, COMPLETED),
          settlement({ ...a, token: "another" }, COMPLETED),
          settlement(b, failed({ delayMs: 9 })),
          settlement({ ...c, id: 999_999 }, COMPLETED),
        ]),
        ["settled", "stale", "settled", "stale"],
      );
      const states = (await stage.storage.get(ids)).map((job) => job?.state);
      assert.deepEqual(states, ["running", "scheduled", "running", "completed"]);
    },
  },
  {
    name: "answers nothing to an empty batch",
    async run(stage) {
      assert.deepEqual(await stage.storage.settle([]), []);
    },
  },
  {
    name: "stores the jobs that come with an outcome, behind those that wait",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      const job = await stage.claimOne();
      const waiting = await stage.enqueueOne();
      const enqueue = [newJob({ payload: "1" }), newJob({ payload: "2", later: { delayMs: 50 } })];
      assert.equal(await stage.settle(job, COMPLETED, { enqueue }), "settled");
      const claimed = await stage.claim();
      assert.equal(at(claimed, 0).id, waiting);
      assert.equal(at(claimed, 1).payload, "1");
      assert.equal(await stage.count({ state: "scheduled" }), 1);
    },
  },
  {
    name: "stores the jobs that come with any outcome that is applied",
    async run(stage) {
      await stage.register();
      for (const [index, { outcome }] of OUTCOMES.entries()) {
        const name = `n${index}`;
        await stage.enqueueOne({ name });
        const job = await stage.claimOne({ names: [name] });
        assert.equal(await stage.settle(job, outcome, { enqueue: [newJob({ name: "child" })] }), "settled");
        assert.equal(await stage.count({ name: "child" }), index + 1);
      }
    },
  },
  {
    name: "stores nothing with an outcome that is stale or repeated",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      const job = await stage.claimOne();
      const enqueue = [newJob({ name: "child" })];
      assert.equal(await stage.settle({ ...job, token: "other" }, COMPLETED, { enqueue }), "stale");
      assert.equal(await stage.count({ name: "child" }), 0);
      assert.equal(await stage.settle(job, COMPLETED, { enqueue }), "settled");
      assert.equal(await stage.settle(job, COMPLETED, { enqueue }), "settled");
      assert.equal(await stage.count({ name: "child" }), 1);
    },
  },
  {
    name: "does not store a job of an outcome whose given id exists, and applies the outcome",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne({ name: "child", givenId: "x" });
      const id = await stage.enqueueOne();
      const enqueue = [newJob({ name: "child", givenId: "x" }), newJob({ name: "child", givenId: "y" })];
      assert.equal(await stage.settle(await stage.claimOne(), COMPLETED, { enqueue }), "settled");
      assert.equal(await stage.state(id), "completed");
      assert.equal(await stage.count({ name: "child" }), 2);
    },
  },
  {
    name: "takes a settled job off its process",
    async run(stage) {
      await stage.register();
      await stage.enqueue({}, {});
      const [first] = await stage.claim();
      assert.ok(first);
      await stage.end(first, COMPLETED);
      assert.equal(at(await stage.storage.processes(), 0).running, 1);
      const beat = await stage.beat("p1", { holds: [first] });
      assert.deepEqual(
        beat.lost.map(({ id }) => id),
        [first.id],
      );
    },
  },
];

export const settleSection: Section = { title: "settle", cases };
