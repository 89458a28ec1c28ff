import assert from "node:assert/strict";
import { StorageFullError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import type { NewJob, ScheduleWrite, ScheduleWriteResult, StoredSchedule } from "../../storage/storage.ts";
import { withKey, withLimit } from "./keyed.ts";
import type { Case, Section } from "./section.ts";
import { at, COMPLETED, failed, newJob, only, type Stage } from "./stage.ts";

type Written = Extract<ScheduleWriteResult, { ok: true }>;

/** A write that must count. */
async function write(stage: Stage, one: ScheduleWrite): Promise<Written> {
  const result = only(await stage.storage.writeSchedules([one]));
  assert.ok(result.ok, `the write of ${one.key} was refused`);
  return result;
}

function row(nextAt: number | null, text: string = "{}"): NonNullable<ScheduleWrite["row"]> {
  return { text, nextAt };
}

async function byKey(stage: Stage): Promise<StoredSchedule[]> {
  return (await stage.storage.schedules()).toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

const cases: Case[] = [
  {
    name: "creates, changes and removes a schedule, each time with a revision that never comes again",
    async run(stage) {
      assert.deepEqual(await stage.storage.schedules(), []);
      const text = JSON.stringify({ cron: "* * * * *", payload: "ä🙂\ud83d\u0001".repeat(4_000) });
      const created = await write(stage, { key: "k", expected: 0, row: row(7, text) });
      assert.deepEqual(created.jobs, []);
      const revisions = [created.revision];
      assert.deepEqual(await stage.storage.schedules(), [
        { key: "k", text, nextAt: 7, revision: created.revision },
      ]);
      for (const nextAt of [null, limits.instantMax, 0]) {
        const { revision } = await write(stage, { key: "k", expected: at(revisions, 0), row: row(nextAt) });
        revisions.unshift(revision);
        assert.deepEqual(await stage.storage.schedules(), [{ key: "k", text: "{}", nextAt, revision }]);
      }
      const removed = await write(stage, { key: "k", expected: at(revisions, 0) });
      assert.deepEqual([removed.revision, removed.jobs], [0, []]);
      assert.deepEqual(await stage.storage.schedules(), []);
      for (const key of ["k", "other"]) {
        revisions.push((await write(stage, { key, expected: 0, row: row(1) })).revision);
      }
      assert.equal(new Set(revisions).size, 6);
      for (const revision of revisions) assert.ok(Number.isSafeInteger(revision) && revision > 0);
    },
  },
  {
    name: "writes only over what the writer has seen, each write of a call for itself",
    async run(stage) {
      const first = await write(stage, { key: "a", expected: 0, row: row(1) });
      const second = await write(stage, { key: "a", expected: first.revision, row: row(2) });
      const before = await stage.storage.schedules();
      const jobs = [newJob()];
      const stale = [0, first.revision, second.revision + 1].flatMap((expected): ScheduleWrite[] => [
        { key: "a", expected, row: row(3), jobs },
        { key: "a", expected },
      ]);
      const missing: ScheduleWrite[] = [
        { key: "b", expected: second.revision, row: row(3), jobs },
        { key: "b", expected: first.revision },
      ];
      const refused = await stage.storage.writeSchedules([...stale, ...missing]);
      for (const result of refused) assert.deepEqual(result, { ok: false });
      assert.deepEqual(await stage.storage.schedules(), before);
      assert.equal(await stage.count(), 0);
      const results = await stage.storage.writeSchedules([
        { key: "b", expected: 0, row: row(5), jobs },
        { key: "a", expected: first.revision, row: row(6), jobs },
        { key: "b", expected: 0, row: row(7), jobs },
        { key: "a", expected: second.revision },
      ]);
      assert.deepEqual(
        results.map(({ ok }) => ok),
        [true, false, false, true],
      );
      const [left] = await byKey(stage);
      assert.deepEqual([left?.key, left?.nextAt], ["b", 5]);
      assert.equal(await stage.count(), 1);
      assert.deepEqual(await stage.storage.writeSchedules([]), []);
    },
  },
  {
    name: "lets one of many racing writers win, and stores its jobs alone",
    async run(stage) {
      let revision = 0;
      for (let round = 1; round <= 3; round++) {
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, n) =>
            stage.storage.writeSchedules([
              { key: `own ${round} ${n}`, expected: 0, row: row(null) },
              { key: "k", expected: revision, row: row(n), jobs: [newJob({ payload: `"${round} ${n}"` })] },
            ]),
          ),
        );
        const winners = answers.flatMap(([own, result], n) => {
          assert.equal(own?.ok, true);
          return result?.ok === true ? [{ ...result, n }] : [];
        });
        const winner = only(winners);
        revision = winner.revision;
        const { id } = only(winner.jobs);
        assert.equal((await stage.get(id)).payload, `"${round} ${winner.n}"`);
        assert.equal(await stage.count(), round);
        const stored = (await stage.storage.schedules()).find(({ key }) => key === "k");
        assert.deepEqual(stored, { key: "k", text: "{}", nextAt: winner.n, revision, lastId: id });
      }
      assert.equal((await stage.storage.schedules()).length, 31);
    },
  },
  {
    name: "hands out what is due, the longest due first and then by key, and says when the next one is",
    async run(stage) {
      const now = stage.clock.now();
      assert.deepEqual(await stage.storage.dueSchedules(10), { now, due: [] });
      const times: [string, number | null][] = [
        ["c", now],
        ["b", now - 5],
        ["never", null],
        ["a", now],
        ["later", now + 60],
        ["sooner", now + 50],
        ["\uffff", now - 5],
        ["B", now - 5],
      ];
      for (const [key, nextAt] of times)
        await write(stage, { key, expected: 0, row: row(nextAt, `"${key}"`) });
      const keys = async (limit: number): Promise<unknown> => {
        const { due, nextAt, now: then } = await stage.storage.dueSchedules(limit);
        for (const { key, text } of due) assert.equal(text, `"${key}"`);
        return [due.map(({ key }) => key), nextAt === undefined ? undefined : nextAt - now, then - now];
      };
      assert.deepEqual(await keys(9), [["B", "b", "\uffff", "a", "c"], 50, 0]);
      assert.deepEqual(await keys(5), [["B", "b", "\uffff", "a", "c"], 50, 0]);
      assert.deepEqual(await keys(2), [["B", "b"], -5, 0]);
      assert.deepEqual(await keys(3), [["B", "b", "\uffff"], 0, 0]);
      await stage.clock.advance(60);
      assert.deepEqual(await keys(100), [["B", "b", "\uffff", "a", "c", "sooner", "later"], undefined, 60]);
      // Handing out is no writing: whoever asks next sees the same.
      assert.deepEqual(await keys(1), [["B"], -5, 60]);
      for (const schedule of await stage.storage.schedules()) {
        const nextAt = schedule.key === "later" ? now + 90 : null;
        await write(stage, { key: schedule.key, expected: schedule.revision, row: row(nextAt, '"later"') });
      }
      assert.deepEqual(await keys(9), [[], 90, 60]);
    },
  },
  {
    name: "says with a claim and a promotion when the first schedule is due",
    async run(stage) {
      await stage.register();
      const now = stage.clock.now();
      const nexts = async (): Promise<unknown> => {
        const { nextAt } = await stage.claimAll();
        const promoted = await stage.storage.promote(0);
        return [nextAt, promoted.nextAt, promoted.tickAt].map((time) =>
          time === undefined ? time : time - now,
        );
      };
      const { revision } = await write(stage, { key: "a", expected: 0, row: row(now + 50) });
      await write(stage, { key: "b", expected: 0, row: row(null) });
      assert.deepEqual(await nexts(), [50, undefined, 50]);
      await stage.enqueue({ later: { at: now + 70 } });
      assert.deepEqual(await nexts(), [50, 70, 50]);
      await stage.enqueue({ later: { at: now + 30 } });
      assert.deepEqual(await nexts(), [30, 30, 50]);
      await stage.clock.advance(60);
      const fired = await write(stage, { key: "a", expected: revision, row: row(now + 55) });
      assert.deepEqual(await nexts(), [30, 30, 55]);
      await write(stage, { key: "a", expected: fired.revision });
      assert.deepEqual(await nexts(), [30, 30, undefined]);
    },
  },
  {
    name: "stores the jobs of a write as an enqueue does, each alone, and remembers the last",
    async run(stage) {
      await stage.register();
      const holder = await stage.enqueueOne(withKey());
      const jobs = [
        newJob({ payload: "1", later: { delayMs: 500 } }),
        newJob(withKey({ onConflict: "error" })),
        newJob(withLimit(1)),
        newJob({ givenId: "tick 1" }),
        newJob({ givenId: "tick 1", payload: "other" }),
        newJob(withKey()),
      ];
      const first = await write(stage, { key: "k", expected: 0, row: row(1), jobs });
      const results = first.jobs.map(({ status }) => status);
      assert.deepEqual(results, ["created", "created", "created", "existing"]);
      const [later, limited] = first.jobs.map(({ id }) => id) as [number, number];
      assert.deepEqual([await stage.state(later), await stage.state(limited)], ["scheduled", "scheduled"]);
      const lastId = async (): Promise<unknown> => only(await stage.storage.schedules()).lastId;
      assert.equal(await lastId(), holder);
      // A write that stores nothing leaves the last job the last.
      const none: NewJob[][] = [[], [newJob(withKey({ onConflict: "error" }))]];
      let { revision } = first;
      for (const jobsOfOne of [undefined, ...none]) {
        const jobsGiven = jobsOfOne === undefined ? {} : { jobs: jobsOfOne };
        const next = await write(stage, { key: "k", expected: revision, row: row(1), ...jobsGiven });
        assert.deepEqual(next.jobs, []);
        assert.equal(await lastId(), holder);
        revision = next.revision;
      }
      await write(stage, { key: "k", expected: revision, jobs: [newJob({ payload: '"farewell"' })] });
      assert.equal(await stage.count(), 5);
      // Whoever comes after it under the same key has no past.
      await write(stage, { key: "k", expected: 0, row: row(1) });
      assert.equal(await lastId(), undefined);
    },
  },
  {
    name: "stores no jobs while the last one lives, if the write says so, and counts all the same",
    async run(stage) {
      await stage.register();
      const tick = {
        key: "k",
        jobs: [newJob({ retention: { completedMs: 50, cancelledMs: 0, deadMs: 0 } })],
      };
      let { revision, jobs } = await write(stage, { ...tick, expected: 0, row: row(0), unlessLive: true });
      const again = async (): Promise<number> => {
        const next = await write(stage, { ...tick, expected: revision, row: row(1), unlessLive: true });
        const { lastId } = only(await stage.storage.schedules());
        ({ revision } = next);
        jobs = next.jobs;
        if (jobs.length > 0) assert.equal(lastId, at(jobs, 0).id);
        return jobs.length;
      };
      const waiting = only(jobs).id;
      assert.equal(await again(), 0);
      await stage.end(await stage.claimOne(), failed({ delayMs: 10 }));
      assert.equal(await again(), 0);
      await stage.clock.advance(10);
      await stage.storage.promote(1);
      const run = await stage.claimOne();
      assert.equal(run.id, waiting);
      assert.equal(await again(), 0);
      await stage.end(run, COMPLETED);
      assert.equal(await again(), 1);
      // Gone at once with its cancel, or pruned after its time: nobody lives.
      await stage.change(only(jobs).id, { kind: "cancel", reason: "x" });
      assert.equal(await again(), 1);
      await stage.end(await stage.claimOne(), COMPLETED);
      await stage.clock.advance(50);
      assert.equal(await stage.storage.prune(10), 2);
      assert.equal(await again(), 1);
      // Whoever does not say so stores whatever lives.
      await write(stage, { ...tick, expected: revision, row: row(2) });
      assert.equal(await stage.count({ state: "available" }), 2);
    },
  },
  {
    name: "keeps so many schedules and not one more, refuses a call before it wrote anything, and takes any key",
    async run(stage) {
      const odd = ["__proto__", "", "a/b", "🙂", "\ud83d", "'; drop table schedule; --", "k".repeat(200)];
      const keys = [...odd, ...Array.from({ length: limits.schedules - odd.length }, (_, n) => `key ${n}`)];
      const answers = await stage.storage.writeSchedules(
        keys.map((key): ScheduleWrite => ({ key, expected: 0, row: row(null, JSON.stringify(key)) })),
      );
      assert.ok(answers.every(({ ok }) => ok));
      const stored = await stage.storage.schedules();
      assert.equal(stored.length, limits.schedules);
      const texts = new Map(stored.map(({ key, text }) => [key, text]));
      for (const key of keys) assert.equal(texts.get(key), JSON.stringify(key));
      const revision = at(
        answers.map((answer) => (answer.ok ? answer.revision : 0)),
        0,
      );
      const change: ScheduleWrite = { key: at(keys, 0), expected: revision, row: row(5) };
      const more: ScheduleWrite = { key: "more", expected: 0, row: row(5), jobs: [newJob()] };
      await assert.rejects(stage.storage.writeSchedules([change, more]), StorageFullError);
      assert.equal(await stage.count(), 0);
      assert.deepEqual(await stage.storage.dueSchedules(1), { now: stage.clock.now(), due: [] });
      // What is there already can be written, and what was removed makes room.
      const written = await write(stage, change);
      await write(stage, { key: change.key, expected: written.revision });
      await write(stage, more);
      assert.equal((await stage.storage.schedules()).length, limits.schedules);
    },
  },
];

export const schedulesSection: Section = { title: "schedules", cases };
