import assert from "node:assert/strict";
import * as fc from "fast-check";
import { limits } from "../../../src/job/limits.ts";
import { byId, same } from "../compare.ts";
import { type Held, type ModelJob, stateOf } from "../model-job.ts";
import type { Pair } from "../pair.ts";
import { type Kind, kind } from "./command.ts";
import { certain, isRescued, learnLease, processOf, processPick, slot } from "./draft.ts";
import { LOST_AFTER_MS, register } from "./process.ts";
import { decideRescued } from "./settle.ts";

const BATCH_MEMORY_OVER_MS = limits.batchMemoryMs + 10;
const smallLimit: fc.Arbitrary<number> = fc.constantFrom(1, 1, 2, 3, 1_000);

export const upkeepKinds: readonly Kind[] = [
  kind("promote", 20, smallLimit, promote),
  kind("rescue", 36, fc.record({ by: processPick, limit: smallLimit }), async (pair, { by, limit }) => {
    await rescue(pair, processOf(pair, by), limit);
  }),
  kind("prune", 28, fc.constantFrom(1, 1, 2, 1_000, 1_000), prune),
  kind(
    "advanceClock",
    36,
    fc.constantFrom(10, 500, 2_000, 2_000, 60_000, 60_010, BATCH_MEMORY_OVER_MS),
    advance,
  ),
  /** All processes are lost at once, and the first that is back takes over. */
  kind("restart", 20, fc.record({ slot, limit: smallLimit, decides: fc.boolean() }), async (pair, drawn) => {
    const { slot: at, limit, decides } = drawn;
    pair.model.live += 2 * Math.max(...LOST_AFTER_MS);
    const id = `p${at}.${pair.unique()}`;
    pair.slots[at] = id;
    await register(pair, id, LOST_AFTER_MS[at]);
    await rescue(pair, id, limit);
    if (decides) await decideRescued(pair, id);
  }),
  /** A long time passes, and upkeep does all there is to do, now and then in small steps. */
  kind("longPause", 18, smallLimit, async (pair, limit) => {
    await advance(pair, BATCH_MEMORY_OVER_MS);
    await promote(pair, limit);
    await prune(pair, limit);
    await prune(pair, limits.listPage);
  }),
];

async function advance(pair: Pair, ms: number): Promise<void> {
  await pair.time.clock.advance(ms);
  pair.model.now = pair.time.clock.now();
}

export async function promote(pair: Pair, limit: number): Promise<void> {
  const { model, coverage } = pair;
  const due = model.jobs.filter(
    (job) => job.head.state === "scheduled" && job.head.runAt <= model.now,
  ).length;
  same(await pair.storage.promote(limit), model.promote(limit), "answer to promote()");
  coverage.see(
    "limit: blocked by promotion",
    model.jobs.some((job) => stateOf(job) === "blocked"),
  );
  coverage.see("promote: several due", due > 1);
  coverage.see("promote: limited", due > limit);
}
async function rescue(pair: Pair, processId: string, limit: number): Promise<void> {
  const { model, coverage } = pair;
  const request = { processId, token: pair.token(processId), limit };
  const lost = model.lost();
  const answered = await pair.storage.rescue(request);
  if (!model.isAlive(processId)) {
    coverage.see("rescue: by a process not known", lost.length > 0);
    return assert.deepEqual(answered, [], "Only a registered process rescues.");
  }
  const jobs = answered.map((job) => pair.fromReal(job));
  assert.equal(
    jobs.length,
    Math.min(limit, lost.length),
    `rescue() moves ${limit} of ${lost.length} lost leases.`,
  );
  const chosen = jobs.map((job) => {
    const found = lost.find((one) => one.id === job.id);
    assert.ok(found !== undefined, `rescue() answered job ${job.id}, whose process is not lost.`);
    return found;
  });
  assert.equal(new Set(chosen).size, chosen.length, "rescue() answers each job once.");
  coverage.see("rescue: limited", lost.length > limit);
  for (const { held, head } of chosen) seeRescue(pair, held as Held, head.marked);
  for (const [at, job] of jobs.entries()) {
    const { claimedAt } = (chosen[at] as ModelJob).held as Held;
    const isPlausible = claimedAt <= job.startedAt && job.startedAt <= model.now;
    assert.ok(
      isPlausible,
      `Job ${job.id} was claimed at ${claimedAt}, its start is said to be ${job.startedAt}.`,
    );
  }
  const expected = model.rescue(request, chosen);
  const told = jobs.map(({ startedAt: _at, ...rest }) => rest);
  same(byId(certain(pair, told)), byId(certain(pair, expected)), "rescued jobs");
  for (const job of chosen) learnLease(pair, job);
}

function seeRescue({ model, coverage }: Pair, held: Held, isMarked: boolean): void {
  coverage.see(held.started ? "rescue: started job" : "rescue: job only read ahead");
  coverage.see("rescue: marked job", isMarked);
  coverage.see("rescue: second time", isRescued(held));
  coverage.see(
    "rescue: after leaving",
    model.processes.some((one) => one.beat.id === held.processId && one.left),
  );
}

async function prune(pair: Pair, limit: number): Promise<void> {
  const { model, coverage } = pair;
  const expired = model.expired();
  const n = await pair.storage.prune(limit);
  assert.equal(
    n,
    Math.min(limit, expired.length),
    `prune() removes ${limit} of ${expired.length} expired jobs.`,
  );
  // Which ones go first is the engine's choice.
  const left = await pair.storage.get(expired.map((job) => pair.real(job.id)));
  const gone: ModelJob[] = expired.filter((_, at) => left[at] === undefined);
  assert.equal(gone.length, n, "prune() removes as many jobs as it says.");
  model.remove(gone);
  coverage.see("prune: jobs gone", n > 0);
  coverage.see("prune: limited", expired.length > limit);
  if (limit < 1_000) return;
  for (const [id, { at }] of model.batches) {
    if (model.now - at <= limits.batchMemoryMs) continue;
    model.batches.delete(id);
    pair.forgotten.add(id);
  }
}
