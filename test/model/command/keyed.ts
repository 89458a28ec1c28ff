import * as fc from "fast-check";
import { isFinal } from "../../../src/job/job.ts";
import { limits } from "../../../src/job/limits.ts";
import type { NewJob } from "../../../src/storage/storage.ts";
import { type ModelJob, stateOf } from "../model-job.ts";
import type { Pair } from "../pair.ts";
import { claim } from "./claim.ts";
import { type Kind, kind } from "./command.ts";
import { index, limit, newJob, pick, processOf, unique } from "./draft.ts";
import { enqueue } from "./enqueue.ts";
import { change } from "./steer.ts";
import { promote } from "./upkeep.ts";

const LEAVES = [
  { kind: "cancel", reason: "enough" },
  { kind: "remove" },
  { kind: "runAt", later: { delayMs: 2_000 } },
  { kind: "priority", priority: 7 },
] as const;

export const keyedKinds: readonly Kind[] = [
  /** Many of one limit key come at once; the first of the line leaves it, and the others are claimed. */
  kind(
    "limitRush",
    16,
    fc.record({
      like: newJob,
      of: limit,
      jobs: fc.integer({ min: 2, max: 5 }),
      leave: fc.constantFrom(undefined, ...LEAVES),
      claims: fc.boolean(),
    }),
    async (pair, { like, of, jobs, leave, claims }) => {
      const { model } = pair;
      await enqueue(pair, [Array.from({ length: jobs }, (): NewJob => ({ ...like, limit: of }))]);
      await promote(pair, limits.listPage);
      const isOurs = ({ spec }: ModelJob): boolean =>
        spec.limit === of && spec.queue === like.queue && spec.name === like.name;
      const ready = model.jobs.find((job) => isOurs(job) && stateOf(job) === "available");
      if (leave !== undefined && ready !== undefined) await change(pair, [ready.id], leave);
      if (claims) await claimFrom(pair, like);
    },
  ),
  /** Others of the key of a finished job come, and the finished one is to be run again beside them. */
  kind(
    "keyAgain",
    14,
    fc.record({ like: newJob, of: fc.tuple(unique, unique), index, claims: fc.boolean() }),
    async (pair, { like, of, index: at, claims }) => {
      const ended = pair.model.jobs.filter(
        ({ head, spec }) => isFinal(head.state) && spec.unique !== undefined && spec.unique.while !== null,
      );
      const old = pick(ended, at);
      const { scope, key } = old?.spec.unique ?? of[0];
      await enqueue(pair, [of.map((one) => ({ ...like, unique: { ...one, scope, key } }))]);
      if (claims) await claimFrom(pair, like);
      if (old !== undefined) await change(pair, [old.id], { kind: "retry" });
    },
  ),
];

async function claimFrom(pair: Pair, { queue, name }: NewJob): Promise<void> {
  const processId = processOf(pair, { slot: 1, insist: false });
  const queues = [{ queue, names: [name], room: 5, readAhead: 0 }];
  await claim(pair, { processId, token: pair.token(processId), queues, starts: [] });
}
