import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { NewJob, ScheduleWrite, ScheduleWriteResult } from "../../../src/storage/storage.ts";
import { compareKeys, same } from "../compare.ts";
import type { Pair } from "../pair.ts";
import { type Kind, kind } from "./command.ts";
import { job, later, name, queue, SCOPES, sometimes } from "./draft.ts";

interface WriteDraft {
  readonly key: string;
  readonly expected: "current" | "before" | "none" | "another's";
  readonly row: { text: string; nextAt: { at: number } | { delayMs: number } | null } | undefined;
  readonly jobs: readonly NewJob[] | undefined;
  readonly unlessLive: boolean;
}

const writeDraft: fc.Arbitrary<WriteDraft> = fc.record({
  key: fc.constantFrom("s1", "s1", "s2", "s3"),
  expected: fc.oneof(
    { weight: 9, arbitrary: fc.constant("current" as const) },
    { weight: 2, arbitrary: fc.constantFrom("before" as const, "none" as const, "another's" as const) },
  ),
  row: sometimes(
    8,
    fc.record({
      text: fc.constantFrom('"t"', '{"every":5}'),
      nextAt: fc.oneof(later, later, fc.constant(null)),
    }),
  ),
  jobs: sometimes(7, fc.array(job, { minLength: 1, maxLength: 3 })),
  unlessLive: fc.boolean(),
});

export const scheduleKinds: readonly Kind[] = [
  kind(
    "writeSchedules",
    24,
    fc.array(writeDraft, { minLength: 1, maxLength: 4, size: "max" }),
    async (pair, drafts) => {
      // A revision is known once its write is answered: one write of a key a call, and one more that must fail.
      const writes = drafts.map((draft) => toWrite(pair, draft));
      await write(pair, writes);
    },
  ),
  kind(
    "dueSchedules",
    12,
    fc.record({ limit: fc.constantFrom(1, 2, 1_000, 1_000), late: fc.subarray(["s3", "s1", "s2"]) }),
    async (pair, { limit, late }) => {
      const { schedules, now } = pair.model;
      const writes = late.map((key, n) => ({
        ...{ key, expected: schedules.find(key)?.revision ?? 0 },
        row: { text: '"late"', nextAt: now - 10 * (n % 2) },
      }));
      if (writes.length > 0) await write(pair, writes);
      const expected = schedules.due(limit);
      const { due, ...rest } = await pair.storage.dueSchedules(limit);
      same(
        { ...rest, due: due.map((one) => pair.fromRealSchedule(one)) },
        expected,
        "answer to dueSchedules()",
      );
      pair.coverage.see("schedule: several due", expected.due.length > 1);
    },
  ),
  kind(
    "keys",
    6,
    fc.record({ scope: fc.constantFrom(...SCOPES), limit: fc.constantFrom(1, 2) }),
    (pair, drawn) => compareKeys(pair, drawn.scope, drawn.limit),
  ),
  kind(
    "stats",
    4,
    fc.record({ queue: sometimes(5, queue), name: sometimes(5, name) }),
    async (pair, drawn) => {
      const query = Object.fromEntries(Object.entries(drawn).filter(([, value]) => value !== undefined));
      same(
        await pair.storage.stats(query),
        pair.model.tally.stats(query),
        `stats of ${JSON.stringify(query)}`,
      );
    },
  ),
];

function toWrite(pair: Pair, { key, expected, row, jobs, unlessLive }: WriteDraft): ScheduleWrite {
  const { schedules } = pair.model;
  const current = schedules.find(key)?.revision ?? 0;
  const others = schedules.rows.find((one) => one.key !== key)?.revision ?? 8_888;
  const revisions = { current, before: current - 1, none: 0, "another's": others };
  // A schedule that is not there can only be created.
  const made = row ?? (current === 0 ? { text: "{}", nextAt: null } : undefined);
  return {
    key,
    expected: current === 0 && expected === "before" ? 7_777 : revisions[expected],
    ...(made === undefined ? {} : { row: { text: made.text, nextAt: instant(pair, made.nextAt) } }),
    ...(jobs === undefined ? {} : { jobs }),
    ...(unlessLive ? { unlessLive } : {}),
  };
}

function instant({ model }: Pair, when: { at: number } | { delayMs: number } | null): number | null {
  return when === null ? null : "at" in when ? when.at : model.now + when.delayMs;
}

async function write(pair: Pair, writes: readonly ScheduleWrite[]): Promise<void> {
  const { model, coverage } = pair;
  const real = writes.map((one) => ({ ...one, expected: pair.realRevision(one.expected) }));
  const heldUp = writes.map(
    (one) => one.unlessLive === true && model.schedules.lives(model.schedules.find(one.key)),
  );
  const expected = model.schedules.write(writes);
  const answered = await pair.storage.writeSchedules(real);
  assert.equal(answered.length, expected.length, "writeSchedules() answers one entry for each write.");
  for (const [at, answer] of answered.entries()) {
    const told = expected[at] as ScheduleWriteResult;
    same(fromReal(pair, answer, told), told, `answer to the write of schedule ${writes[at]?.key}`);
    coverage.see(told.ok ? "schedule: written" : "schedule: refused");
    if (!told.ok) continue;
    coverage.see("schedule: removed", told.revision === 0);
    coverage.see("schedule: job stored", told.jobs.length > 0);
    coverage.see("schedule: job left out", told.jobs.length < (writes[at]?.jobs ?? []).length);
    coverage.see(
      "schedule: held up by a live job",
      heldUp[at] === true && (writes[at]?.jobs ?? []).length > 0,
    );
  }
}

/** The answer with the model's ids and revisions, which are learnt on the way. */
function fromReal(pair: Pair, answer: ScheduleWriteResult, told: ScheduleWriteResult): ScheduleWriteResult {
  if (!answer.ok || !told.ok) return answer;
  if (told.revision !== 0) pair.bindRevision(told.revision, answer.revision);
  const jobs = answer.jobs.map((one, n) => {
    const model = told.jobs[n];
    if (one.status === "created" && model?.status === "created") pair.bind(model.id, one.id);
    return pair.fromReal(one);
  });
  return { ...answer, revision: told.revision === 0 ? answer.revision : told.revision, jobs };
}
