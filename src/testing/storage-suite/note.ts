import assert from "node:assert/strict";
import { InvalidValueError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import type { LogLine, Note } from "../../storage/storage.ts";
import type { Case, Section } from "./section.ts";
import { assertHas, COMPLETED, ERROR, failed, RELEASED, snoozed, type Stage } from "./stage.ts";

/** Makes the notes in one run, then answers the checkpoint that the next run is given. */
async function afterNotes(stage: Stage, ...notes: Note[]): Promise<[string, string][] | undefined> {
  await stage.register();
  await stage.enqueueOne();
  const job = await stage.claimOne();
  for (const note of notes) assert.equal(await stage.storage.note(job, note), "saved");
  await stage.end(job, RELEASED);
  const { checkpoint } = await stage.claimOne();
  return checkpoint === undefined ? undefined : Object.entries(checkpoint).sort();
}

/** Entries of half the limit each, keys included, less a little. */
const HALF = "x".repeat(limits.checkpointBytes / 2 - 100);

const cases: Case[] = [
  {
    name: "gives the next run the checkpoint that the last one saved",
    async run(stage) {
      assert.deepEqual(await afterNotes(stage, { checkpoint: { a: "1", b: '"two"' } }), [
        ["a", "1"],
        ["b", '"two"'],
      ]);
    },
  },
  {
    name: "sets and removes single entries and leaves the others",
    async run(stage) {
      const notes = [
        { checkpoint: { a: "1", b: "2", c: "3" } },
        { checkpoint: { b: null, c: "33", d: "4" } },
      ];
      assert.deepEqual(await afterNotes(stage, ...notes), [
        ["a", "1"],
        ["c", "33"],
        ["d", "4"],
      ]);
    },
  },
  {
    name: "shows no checkpoint when its last entry was removed",
    async run(stage) {
      const notes = [{ checkpoint: { a: "1" } }, { checkpoint: { a: null, never: null } }];
      assert.equal(await afterNotes(stage, ...notes), undefined);
    },
  },
  {
    name: "saves a note of nothing",
    async run(stage) {
      assert.equal(await afterNotes(stage, {}, { checkpoint: {} }), undefined);
    },
  },
  {
    name: "takes a checkpoint key named __proto__ for data",
    async run(stage) {
      const checkpoint: Record<string, string> = Object.fromEntries([
        ["__proto__", "1"],
        ["constructor", "2"],
      ]);
      assert.deepEqual(await afterNotes(stage, { checkpoint }), [
        ["__proto__", "1"],
        ["constructor", "2"],
      ]);
    },
  },
  {
    name: "keeps the checkpoint through failures, snoozes and releases",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      const first = await stage.claimOne();
      await stage.storage.note(first, { checkpoint: { step: "5" } });
      await stage.end(first, failed({ delayMs: 0 }));
      for (const outcome of [snoozed({ delayMs: 0 }), RELEASED]) {
        const job = await stage.claimOne();
        assert.deepEqual(job.checkpoint, { step: "5" });
        await stage.end(job, outcome);
      }
      assert.deepEqual((await stage.claimOne()).checkpoint, { step: "5" });
    },
  },
  {
    name: "drops the checkpoint of a waiting job that is cancelled",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const job = await stage.claimOne();
      await stage.storage.note(job, { checkpoint: { step: "5" } });
      await stage.end(job, RELEASED);
      await stage.change(id, { kind: "cancel", reason: "x" });
      await stage.change(id, { kind: "retry" });
      assertHas(await stage.claimOne(), { id, checkpoint: undefined });
    },
  },
  {
    name: "keeps the checkpoints of jobs apart",
    async run(stage) {
      await stage.register();
      await stage.enqueue({}, {});
      const jobs = await stage.claim();
      for (const job of jobs) await stage.storage.note(job, { checkpoint: { id: `${job.id}` } });
      for (const job of jobs) await stage.end(job, RELEASED);
      for (const job of await stage.claim()) assert.deepEqual(job.checkpoint, { id: `${job.id}` });
    },
  },
  {
    name: "refuses an entry beyond the limit and changes nothing",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const job = await stage.claimOne();
      await stage.storage.note(job, { checkpoint: { a: "1" } });
      const tooLarge = {
        ...{ checkpoint: { a: "2", big: "x".repeat(limits.checkpointBytes + 1) }, result: "3" },
        ...{ progress: "1", log: [{ at: 1, level: "info" as const, text: "x" }] },
      };
      await assert.rejects(stage.storage.note(job, tooLarge), InvalidValueError);
      assertHas(await stage.get(id), { state: "running", result: undefined, progress: undefined });
      assert.deepEqual(await stage.storage.logs(id), []);
      await stage.end(job, RELEASED);
      assert.deepEqual((await stage.claimOne()).checkpoint, { a: "1" });
    },
  },
  {
    name: "counts all entries of a job together, in bytes",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      const job = await stage.claimOne();
      assert.equal(await stage.storage.note(job, { checkpoint: { a: HALF } }), "saved");
      assert.equal(await stage.storage.note(job, { checkpoint: { b: HALF } }), "saved");
      await assert.rejects(
        stage.storage.note(job, { checkpoint: { c: "x".repeat(300) } }),
        InvalidValueError,
      );
      // As many characters as fit, but of two bytes each.
      await assert.rejects(
        stage.storage.note(job, { checkpoint: { b: "ä".repeat(HALF.length) } }),
        InvalidValueError,
      );
      // What is replaced or removed makes room.
      assert.equal(await stage.storage.note(job, { checkpoint: { a: null, c: HALF } }), "saved");
      assert.equal(await stage.storage.note(job, { checkpoint: { b: `${HALF}x` } }), "saved");
    },
  },
  {
    name: "answers stale before it judges the size",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      const job = await stage.claimOne();
      await stage.end(job, COMPLETED);
      const note = { checkpoint: { big: "x".repeat(limits.checkpointBytes + 1) } };
      assert.equal(await stage.storage.note(job, note), "stale");
    },
  },
  {
    name: "keeps the result so far, whatever becomes of the run",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      const job = await stage.claimOne();
      await stage.storage.note(job, { result: '"half"' });
      assertHas(await stage.get(id), { state: "running", result: '"half"' });
      await stage.end(job, failed({ delayMs: 0 }));
      assertHas(await stage.get(id), { result: '"half"' });
      await stage.end(await stage.claimOne(), { state: "dead", error: { name: "Error", message: "x" } });
      assertHas(await stage.get(id), { state: "dead", result: '"half"' });
    },
  },
  {
    name: "lets a returned value replace the result so far, and none keep it",
    async run(stage) {
      await stage.register();
      const ids = await stage.enqueue({}, {});
      for (const [index, job] of (await stage.claim()).entries()) {
        await stage.storage.note(job, { result: '"half"' });
        await stage.end(job, index === 0 ? { state: "completed", result: '"whole"' } : COMPLETED);
      }
      const results = (await stage.storage.get(ids)).map((job) => job?.result);
      assert.deepEqual(results, ['"whole"', '"half"']);
    },
  },
  {
    name: "keeps how far a job said it was through everything but a new life",
    async run(stage) {
      await stage.register();
      const id = await stage.enqueueOne();
      for (const [progress, outcome] of [
        ["0.1", RELEASED],
        ['{"page":2}', failed({ delayMs: 0 })],
        ["null", snoozed({ delayMs: 0 })],
      ] as const) {
        const job = await stage.claimOne();
        assert.equal(await stage.storage.note(job, { progress }), "saved");
        assertHas(await stage.get(id), { state: "running", progress });
        await stage.end(job, outcome);
        assertHas(await stage.get(id), { progress });
      }
      const longest = JSON.stringify("ä".repeat(limits.progressText - 2));
      const last = await stage.claimOne();
      await stage.storage.note(last, { progress: longest, result: "7" });
      await stage.storage.note(last, { checkpoint: { a: "1" } });
      await stage.end(last, COMPLETED);
      assert.equal(await stage.storage.note(last, { progress: "1" }), "stale");
      assertHas(await stage.get(id), { state: "completed", progress: longest, result: "7" });
      await stage.change(id, { kind: "retry" });
      assertHas(await stage.get(id), { progress: undefined, result: undefined });
    },
  },
  {
    name: "appends log lines, numbered through the job's life, each with its attempt, and keeps the last ones",
    async run(stage) {
      await stage.register();
      const [id, other] = (await stage.enqueue({}, { name: "b" })) as [number, number];
      assert.deepEqual(await stage.storage.logs(id), []);
      let written = 0;
      const line = (level: LogLine["level"], text: string = `line ${written + 1}`): LogLine => ({
        ...{ at: stage.clock.now() + written++, level, text },
      });
      const kept: unknown[] = [];
      for (const attempt of [1, 2]) {
        const job = await stage.claimOne();
        const log = [
          line("debug"),
          line("info", "ä🙂\u0001 \ud83d\n".repeat(100)),
          line("warn"),
          line("error"),
        ];
        assert.equal(await stage.storage.note(job, { log, progress: "1" }), "saved");
        assert.equal(await stage.storage.note(job, { log: [] }), "saved");
        for (const one of log) kept.push({ ...one, number: kept.length + 1, attempt });
        assert.deepEqual(await stage.storage.logs(id), kept);
        await stage.end(job, attempt === 1 ? failed({ delayMs: 0 }) : { state: "dead", error: ERROR });
        assert.equal(await stage.storage.note(job, { log }), "stale");
      }
      await stage.change(id, { kind: "retry" });
      const job = await stage.claimOne();
      const many = Array.from({ length: limits.logLines - 3 }, () => line("info"));
      await stage.storage.note(job, { log: many });
      for (const one of many) kept.push({ ...one, number: kept.length + 1, attempt: 1 });
      assert.deepEqual(await stage.storage.logs(id), kept.slice(-limits.logLines));
      const more = Array.from({ length: limits.logLines + 5 }, () => line("info"));
      await stage.storage.note(job, { log: more });
      for (const one of more) kept.push({ ...one, number: kept.length + 1, attempt: 1 });
      assert.deepEqual(await stage.storage.logs(id), kept.slice(-limits.logLines));
      await stage.end(job, COMPLETED);
      assert.deepEqual(await stage.storage.logs(id), kept.slice(-limits.logLines));
      assert.deepEqual(await stage.storage.logs(other), []);
      await stage.change(id, { kind: "remove" });
      for (const gone of [id, 999_999]) assert.deepEqual(await stage.storage.logs(gone), []);
    },
  },
];

export const noteSection: Section = { title: "note", cases };
