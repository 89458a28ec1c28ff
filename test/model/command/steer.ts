import * as fc from "fast-check";
import { isFinal, type JobId } from "../../../src/job/job.ts";
import type { Change } from "../../../src/job/change.ts";
import { same } from "../compare.ts";
import { type ModelJob, stateOf } from "../model-job.ts";
import type { Pair } from "../pair.ts";
import { type Kind, kind } from "./command.ts";
import { index, later, name, pickIds, priority, queue, sometimes } from "./draft.ts";

const ids: fc.Arbitrary<number[]> = fc.array(index, { minLength: 1, maxLength: 3 });

export const steerKinds: readonly Kind[] = [
  kind("cancel", 12, ids, (pair, at) =>
    changeSome(pair, at, { kind: "cancel", reason: `reason ${at.length}` }),
  ),
  kind("retry", 12, ids, (pair, at) => changeSome(pair, at, { kind: "retry" })),
  kind("remove", 8, ids, (pair, at) => changeSome(pair, at, { kind: "remove" })),
  kind("runAt", 8, fc.record({ ids, later }), (pair, drawn) =>
    changeSome(pair, drawn.ids, { kind: "runAt", later: drawn.later }),
  ),
  kind("priority", 8, fc.record({ ids, priority }), (pair, drawn) =>
    changeSome(pair, drawn.ids, { kind: "priority", priority: drawn.priority }),
  ),
  kind(
    "configure",
    8,
    fc.record({
      queue,
      name: sometimes(6, name),
      paused: fc.constantFrom(true, false, false, undefined),
    }),
    async (pair, { queue: line, name: lane, paused }) => {
      const target = { queue: line, ...(lane === undefined ? {} : { name: lane }) };
      const settings = paused === undefined ? {} : { paused };
      await pair.storage.configure(target, settings);
      pair.model.configure(target, settings);
    },
  ),
];

function changeSome(pair: Pair, indexes: readonly number[], what: Change): Promise<void> {
  const isApt = (job: ModelJob): boolean => {
    if (what.kind === "cancel") return stateOf(job) === "running";
    if (what.kind === "remove") return job.spec.givenId !== undefined;
    return what.kind === "retry" ? isFinal(stateOf(job)) : !isFinal(stateOf(job));
  };
  return change(pair, pickIds(pair, indexes, isApt), what);
}

/** Change jobs in both and compare. */
export async function change(pair: Pair, chosen: readonly JobId[], what: Change): Promise<void> {
  const { model, coverage } = pair;
  for (const id of chosen) {
    const job = model.find(id);
    if (job === undefined) continue;
    coverage.see("change: finished job retried", what.kind === "retry" && isFinal(stateOf(job)));
  }
  const before = model.jobs.length;
  const blocked = model.jobs.filter((one) => stateOf(one) === "blocked");
  const expected = model.change(chosen, what);
  coverage.see(
    "limit: let in by a change",
    blocked.some((one) => stateOf(one) === "available"),
  );
  const answered = await pair.storage.change(
    chosen.map((id) => pair.real(id)),
    what,
  );
  same(answered, expected, `answer to ${what.kind} of jobs ${chosen.join()}`);
  for (const result of expected) coverage.see(`change: ${result}`);
  coverage.see("change: removed", what.kind === "remove" && model.jobs.length < before);
}
