// @ts-check
// What a handler can say besides its result, and what becomes of the job.
import { cancel, connect, defineJob, item, silentLogger } from "jobwright";
import { reschedule, RetryAfter, snooze, UnrecoverableError } from "jobwright";
import { runUntilIdle, TestClock } from "jobwright/testing";

/** @type {Record<string, () => unknown>} */
const endings = {
  value: () => "done",
  snooze: () => snooze("5m"), // Too early: no attempt is spent.
  reschedule: () => reschedule("1d"), // This cycle is done: the same job, tomorrow.
  cancel: () => cancel("the customer is gone"),
  retryAfter: () => {
    throw new RetryAfter("30s", "The service said when to come again.");
  },
  unrecoverable: () => {
    throw new UnrecoverableError("There is no such invoice.");
  },
};

const clock = new TestClock(new Date("2030-01-01T00:00:00Z"));
const jobs = await connect("memory:", { clock, logger: silentLogger });
const definitions = Object.entries(endings).map(([name, run]) => defineJob({ name, run }));
const worker = jobs.worker(definitions);
const handles = await jobs.enqueueMany(definitions.map((definition) => item(definition, {})));
await runUntilIdle(worker);

for (const handle of handles) {
  const job = await handle.get();
  const when = job?.state === "scheduled" ? ` for ${job.runAt.toISOString().slice(0, 19)}` : "";
  console.log(`${job?.name}: ${job?.state}${when}, attempts spent ${job?.attempt}`);
}
await jobs.close();

// prints:
// value: completed, attempts spent 1
// snooze: scheduled for 2030-01-01T00:05:00, attempts spent 0
// reschedule: scheduled for 2030-01-02T00:00:00, attempts spent 0
// cancel: cancelled, attempts spent 1
// retryAfter: scheduled for 2030-01-01T00:00:30, attempts spent 1
// unrecoverable: dead, attempts spent 1
