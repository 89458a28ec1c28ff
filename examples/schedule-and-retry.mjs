// @ts-check
// A job for later that fails twice. The clock is a test's, so an hour and three attempts take no time.
import { connect, defineJob, exponential, silentLogger } from "jobwright";
import { runUntilIdle, TestClock } from "jobwright/testing";

const clock = new TestClock(new Date("2030-01-01T00:00:00Z"));
const time = () => new Date(clock.now()).toISOString().slice(11, 19);

const callPartner = defineJob({
  name: "call-partner",
  maxRetries: 3,
  backoff: exponential({ first: "10s", factor: 3, jitter: 0 }),
  run: (_payload, ctx) => {
    console.log(`${time()} attempt ${ctx.job.attempt}`);
    if (ctx.job.attempt < 3) throw new Error("Nobody answers.");
    return "answered";
  },
});

const jobs = await connect("memory:", { clock, logger: silentLogger });
const worker = jobs.worker([callPartner]);
const handle = await jobs.enqueue(callPartner, {}, { in: "1h" });

for (;;) {
  const ran = await runUntilIdle(worker);
  const job = await handle.get();
  if (job?.state !== "scheduled") break;
  console.log(`${time()} ran ${ran}, next at ${job.runAt.toISOString().slice(11, 19)}`);
  await clock.set(job.runAt);
}
console.log(await handle.result({ timeout: "10s" }));
for (const { attempt, error } of await jobs.attempts(handle.id))
  console.log(`attempt ${attempt}: ${error.message}`);
await jobs.close();

// prints:
// 00:00:00 ran 0, next at 01:00:00
// 01:00:00 attempt 1
// 01:00:00 ran 1, next at 01:00:10
// 01:00:10 attempt 2
// 01:00:10 ran 1, next at 01:00:40
// 01:00:40 attempt 3
// answered
// attempt 1: Nobody answers.
// attempt 2: Nobody answers.
