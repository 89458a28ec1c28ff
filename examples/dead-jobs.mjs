// @ts-check
// Jobs that gave up: what happened, what they said, and how they run again once the reason is repaired.
import { connect, defineJob, json, silentLogger } from "jobwright";
import { runUntilIdle } from "jobwright/testing";

let isUp = false;
const send = defineJob({
  name: "send",
  payload: /** @type {import("jobwright").StandardSchema<{ to: string }>} */ (json()),
  maxRetries: 1,
  backoff: { kind: "fixed", delayMs: 0 },
  run({ to }, ctx) {
    ctx.log.info("calling the mail server");
    if (!isUp) throw new Error("connection refused");
    return `sent to ${to}`;
  },
});

const jobs = await connect("memory:", { logger: silentLogger });
const worker = jobs.worker([send]);
await jobs.enqueueMany(send, [{ to: "ada" }, { to: "bob" }]);
await runUntilIdle(worker);

const { jobs: dead } = await jobs.dead.list();
for (const { id, error } of dead) {
  const history = await jobs.history(id);
  console.log(`job ${id}: ${error?.message}; ${history.map(({ kind }) => kind).join(", ")}`);
  for (const { attempt, text } of await jobs.logs(id)) console.log(`  attempt ${attempt}: ${text}`);
}

isUp = true;
console.log(await jobs.dead.retry({ name: "send" }));
await runUntilIdle(worker);
const { total } = await jobs.stats();
console.log(
  `enqueued ${total.enqueued}, completed ${total.completed}; dead now ${(await jobs.dead.count()).n}`,
);
await jobs.close();

// prints:
// job 2: connection refused; enqueued, failed, failed, dead
//   attempt 1: calling the mail server
//   attempt 2: calling the mail server
// job 1: connection refused; enqueued, failed, failed, dead
//   attempt 1: calling the mail server
//   attempt 2: calling the mail server
// { retried: 2, conflicts: 0 }
// enqueued 2, completed 2; dead now 0
