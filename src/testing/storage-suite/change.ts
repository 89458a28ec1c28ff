import assert from "node:assert/strict";
import type { HistoryEntry, JobState } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import type { Change, ChangeResult } from "../../job/change.ts";
import type { Outcome } from "../../job/lifecycle.ts";
import type { Case, Section } from "./section.ts";
import {
  assertHas,
  at,
  COMPLETED,
  ERROR,
  failed,
  only,
  RELEASED,
  SITUATIONS,
  type Situation,
  snoozed,
  STATE_OF,
} from "./stage.ts";

const CHANGES = {
  cancel: { kind: "cancel", reason: "operator" },
  retry: { kind: "retry" },
  remove: { kind: "remove" },
  "run later": { kind: "runAt", later: { delayMs: 3_600_000 } },
  "run now": { kind: "runAt", later: { delayMs: 0 } },
  "change the priority": { kind: "priority", priority: 7 },
  "keep the priority": { kind: "priority", priority: 0 },
} as const satisfies Record<string, Change>;

type Expected = readonly [ChangeResult, JobState | "gone"];

const CHANGED = {
  cancel: ["changed", "cancelled"],
  now: ["changed", "available"],
  later: ["changed", "scheduled"],
  gone: ["changed", "gone"],
} as const satisfies Record<string, Expected>;

/** What each change makes of a job in each situation; a blank says: nothing. */
const TABLE: Readonly<Record<Situation, Partial<Record<keyof typeof CHANGES, Expected>>>> = {
  available: {
    cancel: CHANGED.cancel,
    remove: CHANGED.gone,
    "run later": CHANGED.later,
    "change the priority": CHANGED.now,
  },
  marked: {
    cancel: CHANGED.cancel,
    remove: CHANGED.gone,
    "run later": CHANGED.later,
    "change the priority": CHANGED.now,
  },
  scheduled: {
    cancel: CHANGED.cancel,
    retry: CHANGED.now,
    remove: CHANGED.gone,
    "run later": CHANGED.later,
    "run now": CHANGED.now,
    "change the priority": CHANGED.later,
  },
  retrying: {
    cancel: CHANGED.cancel,
    retry: CHANGED.now,
    remove: CHANGED.gone,
    "run later": CHANGED.later,
    "run now": CHANGED.now,
    "change the priority": CHANGED.later,
  },
  running: { cancel: ["asked", "running"] },
  asked: { cancel: ["asked", "running"] },
  completed: { retry: CHANGED.now, remove: CHANGED.gone },
  cancelled: { retry: CHANGED.now, remove: CHANGED.gone },
  dead: { retry: CHANGED.now, remove: CHANGED.gone },
};

const ASKED = { state: "cancelled", reason: "first reason" };

/** A run that someone asked to end: how its worker, which had not heard, ends it, and what the job becomes. */
const ASKED_ENDS: readonly (readonly [string, Outcome, Record<string, unknown>])[] = [
  ["fails", failed({ delayMs: 0 }), { ...ASKED, attempt: 1, failures: 1, error: ERROR }],
  ["gives up", { state: "dead", error: ERROR }, { ...ASKED, attempt: 1, failures: 1, error: ERROR }],
  ["snoozes", snoozed({ delayMs: 0 }), { ...ASKED, snoozes: 0, error: undefined }],
  ["is given back", RELEASED, { ...ASKED, attempt: 0, releases: 0 }],
  ["completes: the work is done", COMPLETED, { state: "completed", reason: undefined }],
];

const cases: Case[] = [
  ...SITUATIONS.flatMap((situation) =>
    (Object.keys(CHANGES) as (keyof typeof CHANGES)[]).map((what): Case => {
      const [result, state] = TABLE[situation][what] ?? ["unchanged", STATE_OF[situation]];
      return {
        name: `answers "${result}" to ${what} of a job that is ${situation}: it is then ${state}`,
        async run(stage) {
          const id = await stage.jobIn(situation);
          const before = await stage.get(id);
          assert.equal(await stage.change(id, CHANGES[what]), result);
          if (state === "gone") {
            assert.equal(await stage.isThere(id), false);
            assert.deepEqual(await stage.storage.attempts(id), []);
            assert.equal(await stage.count(), 0);
          } else {
            const after = await stage.get(id);
            assert.equal(after.state, state);
            if (result === "unchanged") assert.deepEqual(after, before);
          }
          assert.equal(await stage.count({ name: situation }), state === "gone" ? 0 : 1);
          // Only what is available can be claimed, once.
          const claimable = await stage.claimIds({ names: [situation] });
          assert.deepEqual(claimable, state === "available" ? [id] : []);
          assert.deepEqual(await stage.claimIds({ names: [situation] }), []);
        },
      };
    }),
  ),
  ...Object.entries(CHANGES).map(([what, change]): Case => ({
    name: `answers "missing" to ${what} of a job that is not there`,
    async run(stage) {
      assert.deepEqual(await stage.storage.change([999_999, 0], change), ["missing", "missing"]);
      assert.equal(await stage.count(), 0);
    },
  })),
  {
    name: "changes each job for itself and answers in order",
    async run(stage) {
      const running = await stage.jobIn("running");
      const dead = await stage.jobIn("dead");
      const waiting = await stage.enqueueOne();
      const ids = [dead, 999_999, running, waiting, waiting];
      assert.deepEqual(await stage.storage.change(ids, { kind: "cancel", reason: "x" }), [
        "unchanged",
        "missing",
        "asked",
        "changed",
        "unchanged",
      ]);
      assert.deepEqual(await stage.storage.change([], { kind: "retry" }), []);
    },
  },
  {
    name: "records when and why a waiting job was cancelled, with no attempt spent",
    async run(stage) {
      const id = await stage.jobIn("retrying");
      await stage.clock.advance(500);
      await stage.change(id, { kind: "cancel", reason: "no longer needed" });
      const now = stage.clock.now();
      assertHas(await stage.get(id), {
        state: "cancelled",
        reason: "no longer needed",
        endedAt: now,
        attempt: 1,
      });
      assertHas(await stage.get(id), { expiresAt: now + 86_400_000, error: ERROR });
    },
  },
  {
    name: "keeps the first reason when a running job is asked to cancel twice",
    async run(stage) {
      const id = await stage.jobIn("asked");
      assert.equal(await stage.change(id, { kind: "cancel", reason: "second reason" }), "asked");
      assertHas(await stage.get(id), { state: "running", cancelAsked: "first reason" });
      assert.deepEqual(
        (await stage.beat()).asks.map(({ reason }) => reason),
        ["first reason"],
      );
    },
  },
  ...ASKED_ENDS.map(([what, outcome, expected]): Case => ({
    name: `heeds an ask that the worker had not heard of when its run ${what}`,
    async run(stage) {
      const id = await stage.jobIn("asked");
      await stage.end(stage.leaseFor(id), outcome);
      assertHas(await stage.get(id), { cancelAsked: undefined, ...expected });
      assert.deepEqual((await stage.claimAll()).asks, []);
    },
  })),
  {
    name: "starts a retried dead job anew, with its error and attempts still to be seen",
    async run(stage) {
      const id = await stage.jobIn("dead");
      await stage.clock.advance(500);
      await stage.change(id, { kind: "retry" });
      assertHas(await stage.get(id), {
        ...{ state: "available", attempt: 0, generation: 1, runAt: stage.clock.now(), failures: 1 },
        ...{ endedAt: undefined, expiresAt: undefined, error: ERROR },
      });
      assert.equal((await stage.storage.attempts(id)).length, 1);
      await stage.end(await stage.claimOne({ names: ["dead"] }), failed({ delayMs: 0 }));
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
    name: "forgets the result and the reason of a finished job that is retried",
    async run(stage) {
      for (const situation of ["completed", "cancelled"] as const) {
        const id = await stage.jobIn(situation);
        await stage.change(id, { kind: "retry" });
        assertHas(await stage.get(id), { state: "available", result: undefined, reason: undefined });
      }
    },
  },
  {
    name: "fences the lease of the ended run off a job that is retried and running again",
    async run(stage) {
      const id = await stage.jobIn("dead");
      const old = stage.leaseFor(id);
      await stage.change(id, { kind: "retry" });
      await stage.claimOne({ names: ["dead"] });
      assert.equal(await stage.storage.note(old, { result: "1" }), "stale");
      assert.deepEqual((await stage.beat("p1", { holds: [old] })).lost, [old]);
    },
  },
  {
    name: "keeps attempts and checkpoint of a retry that is told to start now",
    async run(stage) {
      const id = await stage.jobIn("retrying");
      await stage.change(id, { kind: "retry" });
      assertHas(await stage.claimOne({ names: ["retrying"] }), { id, attempt: 1 });
    },
  },
  {
    name: "remembers what was done to a job beside its runs, the first entries and the last",
    async run(stage) {
      await stage.register();
      const start = stage.clock.now();
      const id = await stage.enqueueOne();
      await stage.end(await stage.claimOne(), RELEASED);
      await stage.change(id, { kind: "priority", priority: 3 });
      await stage.clock.advance(1);
      await stage.end(await stage.claimOne(), snoozed({ delayMs: 100 }));
      await stage.change(id, { kind: "runAt", later: { delayMs: 50 } });
      await stage.change(id, { kind: "retry" });
      const again: Outcome = { state: "scheduled", later: { delayMs: 0 }, attempt: "reset" };
      await stage.end(await stage.claimOne(), again);
      await stage.end(await stage.claimOne(), failed({ delayMs: 0 }));
      const job = await stage.claimOne();
      await stage.change(id, { kind: "cancel", reason: "enough" });
      const now = start + 1;
      const events: HistoryEntry[] = [
        { at: start, kind: "released" },
        { at: start, kind: "reprioritised" },
        { at: now, kind: "snoozed", runAt: now + 100 },
        { at: now, kind: "rescheduled-by-hand", runAt: now + 50 },
        { at: now, kind: "retried" },
        { at: now, kind: "rescheduled", runAt: now },
        { at: now, kind: "cancel-asked", reason: "enough" },
      ];
      assertHas(await stage.get(id), { events });
      // A success drops what explained why there was none before, and keeps what happened.
      await stage.end(job, COMPLETED);
      assertHas(await stage.get(id), { state: "completed", events, error: undefined });
      assertHas(only((await stage.storage.list({ state: "completed", limit: 5 })).jobs), { events });
      const many = limits.historyFirst + limits.historyLast + 5;
      const kept: HistoryEntry[] = [...events, { at: now, kind: "retried" }];
      await stage.change(id, { kind: "retry" });
      for (let n = 0; n < many; n++) {
        await stage.change(id, { kind: "priority", priority: 100 + n });
        kept.push({ at: now, kind: "reprioritised" });
      }
      assertHas(await stage.get(id), {
        events: [...kept.slice(0, limits.historyFirst), ...kept.slice(-limits.historyLast)],
      });
    },
  },
  {
    name: "moves the time of a job there and back",
    async run(stage) {
      const now = stage.clock.now();
      const id = await stage.enqueueOne({ later: { delayMs: 100 } });
      const other = await stage.enqueueOne({ later: { delayMs: 200 } });
      await stage.change(id, { kind: "runAt", later: { at: now + 300 } });
      assert.deepEqual(await stage.listIds({ state: "scheduled" }), [other, id]);
      assertHas(await stage.get(id), { runAt: now + 300 });
      await stage.change(id, { kind: "runAt", later: { delayMs: 50 } });
      assert.deepEqual(await stage.listIds({ state: "scheduled" }), [id, other]);
      assert.equal((await stage.storage.promote(10)).nextAt, now + 50);
    },
  },
  {
    name: "sets a job that waits in line to a later time, with its mark",
    async run(stage) {
      const id = await stage.jobIn("marked");
      await stage.change(id, { kind: "runAt", later: { delayMs: 100 } });
      await stage.clock.advance(100);
      assert.equal((await stage.storage.promote(10)).promoted, 1);
      const names = ["marked"];
      assert.deepEqual(await stage.claimIds({ names, room: 0, readAhead: 5 }), []);
      assertHas(only(await stage.claim({ names })), { id, marked: true });
    },
  },
  {
    name: "keeps a new priority through promotion and claims",
    async run(stage) {
      await stage.register();
      const [first, second] = await stage.enqueue({ later: { delayMs: 10 } }, { later: { delayMs: 10 } });
      await stage.change(second as number, { kind: "priority", priority: -4 });
      await stage.clock.advance(10);
      await stage.storage.promote(10);
      const jobs = await stage.claim();
      assert.deepEqual(
        jobs.map(({ id, priority }) => [id, priority]),
        [
          [second, -4],
          [first, 0],
        ],
      );
      await stage.end(at(jobs, 0), failed({ delayMs: 0 }));
      assertHas(await stage.get(second as number), { priority: -4 });
    },
  },
];

export const changeSection: Section = { title: "change", cases };
