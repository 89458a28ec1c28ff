import assert from "node:assert/strict";
import * as fc from "fast-check";
import { limits } from "../../../src/job/limits.ts";
import type { GroupResult, NewJob } from "../../../src/storage/storage.ts";
import { same } from "../compare.ts";
import type { Pair } from "../pair.ts";
import { type Kind, kind } from "./command.ts";
import { group, job, sometimes } from "./draft.ts";

export const enqueueKinds: readonly Kind[] = [
  kind("enqueueOne", 16, job, async (pair, one) => {
    await enqueue(pair, [[one]]);
  }),
  kind("enqueueGroup", 32, group(2, 8), async (pair, jobs) => {
    await enqueue(pair, [jobs]);
  }),
  kind(
    "enqueueGroups",
    40,
    fc.record({
      groups: fc.array(group(0, 4), { maxLength: 4, size: "max" }),
      batch: sometimes(6, fc.constantFrom(0, 0, 1)),
    }),
    async (pair, { groups, batch }) => {
      if (batch === undefined) return enqueue(pair, groups);
      const id = batchId(pair, batch);
      // A batch id comes again only with the call that it came with first.
      const first = pair.model.batches.has(id) ? pair.batchGroups.get(id) : undefined;
      pair.batchGroups.set(id, first ?? groups);
      return enqueue(pair, first ?? groups, id);
    },
  ),
  /** So many that engines must split what they keep together in one place. */
  kind(
    "enqueueFlood",
    3,
    fc.record({ like: job, jobs: fc.constantFrom(270, 400) }),
    async (pair, { like, jobs }) => {
      if (pair.model.jobs.length + jobs > FLOOD_JOBS_MAX) return;
      const { givenId: _given, unique: _unique, ...plain } = like;
      const priorities = [0, plain.priority, 2];
      const flood = Array.from({ length: jobs }, (_, at) => ({
        ...plain,
        priority: priorities[at % 3] ?? 0,
      }));
      await enqueue(pair, [flood]);
      pair.coverage.see("enqueue: flood");
    },
  ),
];

/** The whole state is compared by listings of one page. */
const FLOOD_JOBS_MAX = limits.listPage - 200;

/** Enqueue in both and compare the answers. */
export async function enqueue(
  pair: Pair,
  groups: readonly (readonly NewJob[])[],
  batch?: string,
): Promise<void> {
  const { model, coverage } = pair;
  const isRepeated = batch !== undefined && model.batches.has(batch);
  const expected = model.enqueue(groups, batch);
  const answered = await pair.storage.enqueue(groups, batch);
  assert.equal(answered.length, expected.length, "enqueue() answers one entry for each group.");
  for (const [at, answer] of answered.entries()) bindGroup(pair, answer, expected[at] as GroupResult);

  if (batch !== undefined)
    coverage.see("enqueue: batch id forgotten and used anew", pair.forgotten.has(batch));
  coverage.see("enqueue: batch id repeated", isRepeated && groups.flat().length > 0);
  coverage.see("enqueue: several groups in one call", groups.length > 1);
  for (const { id, spec } of model.jobs) {
    if (spec.givenId === undefined || pair.givenOf.has(id)) continue;
    const given = `${spec.name} ${spec.givenId}`;
    coverage.see(
      "enqueue: given id used anew after its job went",
      [...pair.givenOf.values()].includes(given),
    );
    pair.givenOf.set(id, given);
  }
  const refused = expected.filter((answer) => !answer.ok).length;
  const stored = expected.flatMap((answer) => (answer.ok ? answer.jobs : []));
  seeKeys(pair, groups, expected);
  coverage.see("enqueue: a group refused beside a stored one", refused > 0 && stored.length > 0);
  const isPast = ({ later }: NewJob): boolean => later !== undefined && "at" in later && later.at < model.now;
  coverage.see("enqueue: past instant", groups.flat().some(isPast));
}

/** Which keys of the callers' own met which. */
function seeKeys(
  { coverage }: Pair,
  groups: readonly (readonly NewJob[])[],
  expected: readonly GroupResult[],
): void {
  for (const [at, answer] of expected.entries()) {
    if (!answer.ok) {
      const { kind: why, existing } = answer.refusal;
      if (why === "duplicate-id") coverage.see("enqueue: given id met another payload");
      else coverage.see(existing === 0 ? "unique: refused within its group" : "unique: refused");
      continue;
    }
    for (const [n, { status }] of answer.jobs.entries()) {
      const isGiven = groups[at]?.[n]?.givenId !== undefined;
      if (status === "existing") {
        coverage.see(isGiven ? "enqueue: given id met the same payload" : "unique: kept out");
      }
      coverage.see("unique: replaced", status === "replaced");
    }
  }
}

function bindGroup(pair: Pair, answer: GroupResult, expected: GroupResult): void {
  if (!answer.ok || !expected.ok) {
    if (!answer.ok && !expected.ok && expected.refusal.existing === 0) {
      // The id or key was taken inside the refused group: there is no job that could be named.
      return same({ ...answer, refusal: expected.refusal }, expected, "refusal of a group");
    }
    const named = answer.ok
      ? answer
      : { ...answer, refusal: { ...answer.refusal, existing: pair.modelId(answer.refusal.existing) } };
    return same(named, expected, "answer to a group");
  }
  const named = answer.jobs.map((one, at) => {
    const model = expected.jobs[at];
    if (one.status === "created" && model?.status === "created") pair.bind(model.id, one.id);
    return pair.fromReal(one);
  });
  same({ ok: true, jobs: named }, expected, "answer to a group");
}

/** One of three batch ids. One whose memory is over but not surely forgotten is given up for a new one. */
function batchId(pair: Pair, batch: number): string {
  const round = pair.batchNames.get(batch) ?? 0;
  const known = pair.model.batches.get(`batch ${batch}.${round}`);
  if (known === undefined || pair.model.now - known.at < limits.batchMemoryMs)
    return `batch ${batch}.${round}`;
  pair.batchNames.set(batch, round + 1);
  return `batch ${batch}.${round + 1}`;
}
