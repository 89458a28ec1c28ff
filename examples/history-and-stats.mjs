// @ts-check
// One job's life, and the numbers of all: read from the storage, so of every process.
import { connect, defineJob, reschedule, silentLogger, snooze } from "jobwright";
import { runUntilIdle, TestClock } from "jobwright/testing";

const answers = [snooze("10m"), "failure", reschedule("1h"), "done"];
const moody = defineJob({
  name: "moody",
  backoff: { kind: "fixed", delayMs: 60_000 },
  run() {
    const answer = answers.shift();
    if (answer === "failure") throw new Error("not in the mood");
    return answer;
  },
});

const clock = new TestClock(new Date("2030-01-01T12:00:00Z"));
const jobs = await connect("memory:", { clock, logger: silentLogger });
const worker = jobs.worker([moody]);
const { id } = await jobs.enqueue(moody);
while ((await jobs.get(id))?.state !== "completed") {
  await runUntilIdle(worker);
  await clock.advance("1m");
}

for (const { at, kind, error } of await jobs.history(id)) {
  console.log(`${at.toISOString().slice(11, 16)} ${kind}${error ? `: ${error.message}` : ""}`);
}
const { hour, day, total } = await jobs.stats({ name: "moody" });
console.log(`within the last hour: ${hour.enqueued} came, ${hour.completed} completed`);
console.log(`within the last day:  ${day.enqueued} came, ${day.completed} completed`);
console.log(`ever: ${total.enqueued} came, ${total.completed} completed, ${total.dead} died`);
await jobs.close();

// prints:
// 12:00 enqueued
// 12:00 snoozed
// 12:10 failed: not in the mood
// 12:11 rescheduled
// 13:11 completed
// within the last hour: 0 came, 1 completed
// within the last day:  1 came, 1 completed
// ever: 1 came, 1 completed, 0 died
