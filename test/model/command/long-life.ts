import * as fc from "fast-check";
import type { JobError } from "../../../src/job/job.ts";
import type { Outcome } from "../../../src/job/lifecycle.ts";
import { limits } from "../../../src/job/limits.ts";
import type { ModelJob } from "../model-job.ts";
import type { Pair } from "../pair.ts";
import { claim, type ClaimDraft } from "./claim.ts";
import { type Kind, kind } from "./command.ts";
import { pickLease, processOf } from "./draft.ts";
import { enqueue } from "./enqueue.ts";
import { leave, note, register } from "./process.ts";
import { settle } from "./settle.ts";
import { change } from "./steer.ts";

const QUEUES: ClaimDraft["queues"] = [{ queue: "long", names: ["life"], room: 1, readAhead: 0 }];

const ENDS: readonly Outcome[] = [
  { state: "completed" },
  { state: "cancelled", reason: "enough" },
  { state: "dead", error: { name: "Error", message: "no" } },
  // Released, and then cancelled by an operator while it waits.
  { state: "available", marked: false },
];

export const longLifeKinds: readonly Kind[] = [
  /** A job that saved something ends, is retried by an operator and runs again. */
  kind("secondLife", 11, fc.constantFrom(...ENDS), secondLife),
  /** A job of a unique key saves something and ends; the next of the key goes on from there. */
  kind("heir", 6, fc.constantFrom(...ENDS), heir),
  /** One job that fails more often than entries are kept: no other command comes that far. */
  kind("failManyTimes", 3, fc.constant(null), async (pair) => {
    const processId = `p-long.${pair.unique()}`;
    await register(pair, processId);
    await enqueue(pair, [[{ ...JOB, givenId: `long ${pair.unique()}` }]]);
    const times = limits.attemptsFirst + limits.attemptsLast + 3;
    for (let failure = 1; failure <= times; failure++) {
      const job = await claimOne(pair, processId);
      const lease = { id: job.id, generation: job.head.generation, token: job.held?.token ?? "" };
      const error: JobError = { name: "Error", message: `failure ${failure}` };
      const isLast = failure === times;
      await settle(pair, [
        {
          lease,
          outcome: isLast
            ? { state: "dead", error }
            : { state: "scheduled", later: { delayMs: 0 }, attempt: "spent", error },
          startedAt: pair.model.now,
        },
      ]);
    }
    await leave(pair, processId);
  }),
];

const JOB = {
  name: "life",
  queue: "long",
  payload: '"long"',
  maxRetries: null,
  backoff: { kind: "fixed", delayMs: 0 },
  timeoutMs: null,
  retention: { completedMs: null, cancelledMs: null, deadMs: null },
  tags: [],
  priority: 0,
} as const;

async function secondLife(pair: Pair, outcome: Outcome): Promise<void> {
  const lease = pickLease(pair, { which: "current", index: pair.steps });
  const job = pair.model.find(lease.id);
  if (job === undefined) return;
  await note(pair, lease, { checkpoint: { k: '"before its end"' } });
  await settle(pair, [{ lease, outcome, startedAt: pair.model.now }]);
  if (outcome.state === "available") await change(pair, [lease.id], { kind: "cancel", reason: "enough" });
  await change(pair, [lease.id], { kind: "retry" });
  const processId = processOf(pair, { slot: 0, insist: false });
  const queues = [{ queue: job.spec.queue, names: [job.spec.name], room: limits.listPage, readAhead: 0 }];
  await claim(pair, { processId, token: pair.token(processId), queues, starts: [] });
}

async function heir(pair: Pair, outcome: Outcome): Promise<void> {
  const processId = `p-heir.${pair.unique()}`;
  await register(pair, processId);
  const key = `heir ${pair.unique()}`;
  const like = {
    ...JOB,
    unique: { scope: "a", key, while: "live", onConflict: "keep", inherit: true },
  } as const;
  for (const end of [outcome, { state: "completed" } as const]) {
    await enqueue(pair, [[like]]);
    const { id, head, held } = await claimOne(pair, processId);
    const lease = { id, generation: head.generation, token: held?.token ?? "" };
    await note(pair, lease, { checkpoint: { [end.state]: "1" } });
    await settle(pair, [{ lease, outcome: end, startedAt: pair.model.now }]);
    if (end.state === "available") await change(pair, [id], { kind: "cancel", reason: "enough" });
  }
  await leave(pair, processId);
}

async function claimOne(pair: Pair, processId: string): Promise<ModelJob> {
  const request = { processId, token: pair.token(processId), queues: QUEUES, starts: [] } as const;
  await claim(pair, request);
  const job = pair.model.jobs.find((one) => one.held?.token === request.token);
  if (job === undefined) throw new Error(`Process ${processId} was given no job of its own queue.`);
  return job;
}
