import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { JobError } from "../../../src/job/job.ts";
import { decide, type Outcome, type RunEnd } from "../../../src/job/lifecycle.ts";
import { limits } from "../../../src/job/limits.ts";
import type { NewJob, Settlement, SettleResult } from "../../../src/storage/storage.ts";
import { same } from "../compare.ts";
import { type Held, type ModelJob, stateOf } from "../model-job.ts";
import { leaseKey, type Pair } from "../pair.ts";
import { ask, type ClaimDraft, claimDraft, learnClaim } from "./claim.ts";
import { type Kind, kind } from "./command.ts";
import { child, heldBy, isRescued, later, type LeasePick, leasePick, pickLease, sometimes } from "./draft.ts";

const error: fc.Arbitrary<JobError> = fc.constantFrom(
  { name: "Error", message: "no" },
  {
    name: "TypeError",
    message: "not a function",
    stack: "at run",
    cause: { name: "Error", message: "inner" },
  },
);
const result: fc.Arbitrary<{ result?: string }> = fc.constantFrom(
  {},
  { result: "1" },
  { result: '{"ok":true}' },
);

/** An outcome as data, with every combination that the type allows. */
const anyOutcome: fc.Arbitrary<Outcome> = fc.oneof(
  { weight: 4, arbitrary: result.map((value): Outcome => ({ state: "completed", ...value })) },
  { weight: 1, arbitrary: error.map((thrown): Outcome => ({ state: "dead", error: thrown })) },
  {
    weight: 1,
    arbitrary: sometimes(5, error).map((thrown): Outcome => ({
      state: "cancelled",
      reason: "enough",
      ...(thrown === undefined ? {} : { error: thrown }),
    })),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({
        later,
        attempt: fc.constantFrom("spent" as const, "kept" as const, "reset" as const, "first" as const),
        thrown: sometimes(4, error),
      })
      .map(({ thrown, ...rest }): Outcome => ({
        state: "scheduled",
        ...rest,
        ...(thrown === undefined ? {} : { error: thrown }),
      })),
  },
  {
    weight: 5,
    arbitrary: fc
      .constantFrom(true, true, true, false)
      .map((marked): Outcome => ({ state: "available", marked })),
  },
);

/** How a run ended: what the rules make of it depends on the job. */
const runEnd: fc.Arbitrary<RunEnd> = fc.oneof(
  result.map((value): RunEnd => ({ kind: "returned", ...value })),
  error.map((thrown): RunEnd => ({ kind: "threw", error: thrown })),
  error.map((thrown): RunEnd => ({ kind: "threw", error: thrown, fatal: true })),
  error.map((thrown): RunEnd => ({ kind: "threw", error: thrown, retryAfterMs: 500 })),
  later.map((when): RunEnd => ({ kind: "snoozed", later: when })),
  later.map((when): RunEnd => ({ kind: "rescheduled", later: when })),
  fc.constant<RunEnd>({ kind: "cancelled", reason: "not needed" }),
  fc.constant<RunEnd>({ kind: "released" }),
);

interface SettleDraft {
  readonly lease: LeasePick | "the one before";
  readonly outcome: Outcome;
  readonly end: RunEnd | undefined;
  readonly random: number;
  readonly children: readonly NewJob[];
}

const settleDraft: fc.Arbitrary<SettleDraft> = fc.record({
  lease: fc.oneof(
    { weight: 9, arbitrary: leasePick },
    { weight: 1, arbitrary: fc.constant("the one before" as const) },
  ),
  outcome: anyOutcome,
  end: sometimes(6, runEnd),
  random: fc.constantFrom(0, 0.25, 0.5, 0.999),
  children: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(child, { minLength: 1, maxLength: 2 }) },
  ),
});
const settleDrafts: fc.Arbitrary<SettleDraft[]> = fc.array(settleDraft, { minLength: 1, maxLength: 4 });

export const settleKinds: readonly Kind[] = [
  kind("settle", 48, settleDrafts, async (pair, drafts) => {
    await settle(pair, settlements(pair, drafts));
  }),
  kind(
    "exchange",
    40,
    fc.record({ drafts: fc.array(settleDraft, { maxLength: 3 }), claim: claimDraft }),
    async (pair, { drafts, claim }) => {
      await exchange(pair, settlements(pair, drafts), claim);
    },
  ),
];

/** Settle in both and compare. Leases carry the model's ids. */
export async function settle(pair: Pair, list: readonly Settlement[]): Promise<void> {
  const answered = await pair.storage.settle(list.map((one) => toReal(pair, one)));
  learnSettle(pair, list, answered);
  await bindChildren(pair);
}

export async function exchange(pair: Pair, list: readonly Settlement[], draft: ClaimDraft): Promise<void> {
  const asked = ask(pair, draft);
  const { settled, claimed } = await pair.storage.exchange(
    list.map((one) => toReal(pair, one)),
    asked.real,
  );
  learnSettle(pair, list, settled);
  await bindChildren(pair);
  learnClaim(pair, asked.model, claimed);
}

/** What upkeep does with the jobs that it rescued. */
export async function decideRescued(pair: Pair, processId: string): Promise<void> {
  const rescued = heldBy(pair, processId).filter(({ lease }) => isRescued(pair.model.find(lease.id)?.held));
  const list = rescued.map(({ lease }) => {
    const { head, spec, held } = pair.model.find(lease.id) as ModelJob & { held: Held };
    const end: RunEnd = { kind: "lost", processId: held.claimedBy, started: held.started };
    return { lease, outcome: decide({ ...head, ...spec }, end, 0), startedAt: held.claimedAt };
  });
  if (list.length > 0) await settle(pair, list);
}

function settlements(pair: Pair, drafts: readonly SettleDraft[]): Settlement[] {
  const list: Settlement[] = [];
  for (const draft of drafts) {
    const before = list.at(-1)?.lease;
    const isBefore = draft.lease === "the one before";
    const lease = isBefore
      ? (before ?? pickLease(pair, { which: "current", index: 0 }))
      : pickLease(pair, draft.lease as LeasePick);
    list.push({
      lease,
      outcome: outcomeOf(pair, draft, lease.id),
      startedAt: pair.model.find(lease.id)?.held?.claimedAt ?? pair.model.now,
      // Found again by its payload: a settle does not answer the ids of what it stored.
      ...(draft.children.length === 0
        ? {}
        : { enqueue: draft.children.map((one) => ({ ...one, payload: `"child ${pair.unique()}"` })) }),
    });
  }
  return list;
}

function outcomeOf({ model }: Pair, { outcome, end, random }: SettleDraft, id: number): Outcome {
  const job = model.find(id);
  if (job?.held === undefined || end === undefined) return outcome;
  const { maxRetries, backoff } = job.spec;
  const { attempt, cancelAsked } = job.head;
  const { claimedBy, started } = job.held;
  const happened: RunEnd = isRescued(job.held) ? { kind: "lost", processId: claimedBy, started } : end;
  const gotFurther = random === 0.25;
  return decide({ attempt, maxRetries, backoff, cancelAsked, gotFurther }, happened, random);
}

function toReal(pair: Pair, settlement: Settlement): Settlement {
  return { ...settlement, lease: pair.realLease(settlement.lease) };
}

function learnSettle(pair: Pair, list: readonly Settlement[], answered: readonly SettleResult[]): void {
  const { model, coverage } = pair;
  assert.equal(answered.length, list.length, "settle() answers one entry for each settlement.");
  for (const [at, settlement] of list.entries()) {
    const { lease, outcome } = settlement;
    const job = model.find(lease.id);
    const { head, held } = { ...job };
    const hasCheckpoint = job !== undefined && Object.keys(job.checkpoint).length > 0;
    const isRepeated = model.wasEndedBy(lease);
    const blocked = model.jobs.filter((one) => stateOf(one) === "blocked");
    const [expected] = model.settle([settlement]);
    coverage.see(
      "limit: let in by an end",
      blocked.some((one) => stateOf(one) === "available"),
    );
    // A lease whose job is gone may be told either: nothing is left that could remember it.
    const isGone = model.find(lease.id) === undefined && pair.spent.has(leaseKey(lease));
    if (!isGone) same(answered[at], expected, `answer ${at} to a settle of job ${lease.id}`);

    coverage.see("settle: stale", expected === "stale" && pair.leases.some((known) => known.lease === lease));
    coverage.see("settle: repeated", isRepeated);
    const isTwice = list.findIndex((one) => leaseKey(one.lease) === leaseKey(lease)) < at;
    coverage.see("settle: same lease twice in one call", isTwice && pair.spent.has(leaseKey(lease)));
    const hasChildren = settlement.enqueue !== undefined;
    coverage.see(
      "settle: jobs withheld from a stale one",
      hasChildren && (expected === "stale" || isRepeated),
    );
    if (expected === "stale" || isRepeated || job === undefined || head === undefined || held === undefined)
      continue;
    pair.spent.add(leaseKey(lease));
    if (hasCheckpoint && Object.keys(job.checkpoint).length === 0) pair.dropped.add(job.id);
    coverage.see("settle: jobs enqueued with it", hasChildren);
    coverage.see("settle: by a lost process before its rescue", !model.isAlive(held.processId));
    coverage.see("settle: cancel was asked", head.cancelAsked !== undefined);
    coverage.see("settle: rescued job decided", isRescued(held));
    coverage.see("settle: removed at once", model.find(lease.id) === undefined);
    if (outcome.state === "available")
      coverage.see(outcome.marked ? "settle: released and marked" : "settle: released");
    else coverage.see(`settle: ${outcome.state}`);
    coverage.see(
      "settle: scheduled for now",
      outcome.state === "scheduled" && job.head.state === "available",
    );
    const isCut = job.attempts.length === limits.attemptsFirst + limits.attemptsLast;
    coverage.see("settle: attempt entry forgotten", isCut && job.head.failures > job.attempts.length);
  }
}

/** Find the jobs which a settle stored, by their payloads. Exchanged ones can be running already. */
async function bindChildren(pair: Pair): Promise<void> {
  const bound = new Set(pair.knownIds);
  const children = pair.model.jobs.filter((job) => !bound.has(job.id));
  if (children.length === 0) return;
  const states = ["available", "scheduled", "running"] as const;
  const pages = await Promise.all(
    states.map((state) => pair.storage.list({ state, limit: limits.listPage })),
  );
  const stored = pages.flatMap((page) => page.jobs);
  for (const { id, spec } of children) {
    const found = stored.filter((job) => job.payload === spec.payload);
    assert.equal(found.length, 1, `A job enqueued with a settle is stored once: ${spec.payload}`);
    pair.bind(id, (found[0] as { id: number }).id);
  }
}
