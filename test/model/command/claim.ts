import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { ClaimRequest, ClaimResult, QueueRequest } from "../../../src/storage/storage.ts";
import { byId, same } from "../compare.ts";
import { type ModelJob, stateOf } from "../model-job.ts";
import type { Pair } from "../pair.ts";
import { type Kind, kind } from "./command.ts";
import {
  certain,
  heldBy,
  learnLease,
  NAMES,
  type ProcessPick,
  processOf,
  processPick,
  QUEUES,
} from "./draft.ts";

const queueRequest: fc.Arbitrary<Omit<QueueRequest, "queue">> = fc.record({
  names: fc.oneof(fc.constant([...NAMES]), fc.shuffledSubarray([...NAMES], { minLength: 1 })),
  room: fc.constantFrom(0, 1, 2, 3, 5),
  readAhead: fc.constantFrom(0, 0, 1, 3),
});

/** What one of the three processes asks for. The starts are those of the leases it holds, by their remainders. */
export interface ClaimDraft {
  readonly by: ProcessPick;
  readonly queues: readonly QueueRequest[];
  readonly starts: number;
}

export const claimDraft: fc.Arbitrary<ClaimDraft> = fc.record({
  by: processPick,
  queues: fc
    .tuple(
      fc.oneof(
        { weight: 2, arbitrary: fc.constant([...QUEUES]) },
        { weight: 3, arbitrary: fc.shuffledSubarray([...QUEUES]) },
      ),
      fc.array(queueRequest, { minLength: 3, maxLength: 3 }),
    )
    .map(([queues, requests]) =>
      queues.map((queue, at) => ({ queue, ...(requests[at] as Omit<QueueRequest, "queue">) })),
    ),
  starts: fc.nat({ max: 7 }),
});

export const claimKinds: readonly Kind[] = [
  kind("claim", 52, claimDraft, async (pair, draft) => {
    const asked = ask(pair, draft);
    learnClaim(pair, asked.model, await pair.storage.claim(asked.real));
  }),
];

/** Claim in both and compare. No starts are reported, because their ids differ. */
export async function claim(
  pair: Pair,
  request: ClaimRequest & { readonly starts: readonly [] },
): Promise<void> {
  learnClaim(pair, request, await pair.storage.claim(request));
}

/** The request of a draft, with the ids of either side. A process that is not known reports no starts. */
export function ask(pair: Pair, draft: ClaimDraft): { model: ClaimRequest; real: ClaimRequest } {
  const processId = processOf(pair, draft.by);
  const held = pair.model.isAlive(processId) ? heldBy(pair, processId) : [];
  const starts = held.filter((_, at) => (draft.starts >> (at % 3)) % 2 === 1).map(({ lease }) => lease);
  const model = { processId, token: pair.token(processId), queues: draft.queues, starts };
  return { model, real: { ...model, starts: starts.map((lease) => pair.realLease(lease)) } };
}

/** Let the model claim, and compare what the engine answered. */
export function learnClaim(pair: Pair, request: ClaimRequest, answer: ClaimResult): void {
  const { model, coverage } = pair;
  const lines = seeBefore(pair, request);
  const expected = model.claim(request);
  coverage.see(
    "limit: parked by a claim",
    lines.flat().some((job) => stateOf(job) === "blocked"),
  );
  if (!expected.known) {
    // What a process that is not known hears besides is of no use to it.
    coverage.see("claim: process not known");
    assert.equal(answer.known, false, "A process that is not registered is not known.");
    return assert.deepEqual(answer.jobs, [], "A process that is not known gets nothing.");
  }
  const jobs = answer.jobs.map((job) => pair.fromReal(job));
  const told = certain(pair, expected.jobs);
  same(certain(pair, jobs), told, "claimed jobs");
  const asks = byId(answer.asks.map((one) => pair.fromReal(one)));
  same(
    { ...answer, jobs: told, asks },
    { ...expected, jobs: told, asks: byId(expected.asks) },
    "answer to a claim",
  );
  for (const { id } of expected.jobs) learnLease(pair, model.find(id) as ModelJob);

  coverage.see("claim: jobs given", jobs.length > 0);
  coverage.see("claim: ask delivered", asks.length > 0);
  coverage.see(
    "claim: marked job given",
    jobs.some((job) => job.marked),
  );
  for (const line of lines) {
    const last = line.findLastIndex((job) => job.held !== undefined);
    const isPassed = line.slice(0, last).some((job) => stateOf(job) === "available" && job.head.marked);
    coverage.see("claim: marked job passed over", isPassed);
  }
  coverage.see(
    "claim: checkpoint handed on",
    jobs.some((job) => job.checkpoint !== undefined),
  );
  coverage.see(
    "unique: checkpoint of the last job of the key handed on",
    told.some((job) => job.unique?.inherit === true && job.checkpoint !== undefined && job.attempt === 0),
  );
  const isDropped = jobs.some((job) => pair.dropped.has(job.id) && job.checkpoint === undefined);
  coverage.see("claim: checkpoint dropped by an end", isDropped);
  coverage.see("claim: several priorities merged", new Set(jobs.map((job) => job.priority)).size > 1);
  for (const { id } of jobs) {
    const job = model.find(id) as ModelJob;
    const isPassed = model.claimable(job.spec.queue, [job.spec.name]).some((other) => other.seq < job.seq);
    coverage.see(
      "claim: released job at its old place",
      job.head.releases > 0 && !job.head.marked && !isPassed,
    );
  }
}

/** The lines in which the claim looks, as they stand before it. */
function seeBefore({ model, coverage }: Pair, { processId, queues }: ClaimRequest): ModelJob[][] {
  if (!model.isAlive(processId)) return [];
  return queues.map(({ queue, names, room, readAhead }) => {
    const line = model.claimable(queue, names);
    coverage.see("claim: limited by room and read-ahead", line.length > room + readAhead && room > 0);
    const isInLine = (job: ModelJob): boolean =>
      job.held === undefined && job.head.state === "available" && names.includes(job.spec.name);
    const inLine = model.jobs.filter((job) => isInLine(job) && job.spec.queue === queue);
    coverage.see("claim: paused job passed over", inLine.length > line.length);
    return line;
  });
}
