// @ts-check
// A job again and again: by interval and by cron expression, also through the night in which the clocks change.
import { connect, cron, defineJob, every, silentLogger } from "jobwright";
import { runUntilIdle, TestClock } from "jobwright/testing";

/** @type {string[]} */
const ran = [];
/** @type {(payload: unknown, ctx: import("jobwright").JobContext) => void} */
const note = (_payload, ctx) => void ran.push(`${ctx.job.name} ${ctx.job.runAt.toISOString().slice(11, 16)}`);
const cleanUp = defineJob({ name: "clean-up", run: note });
const report = defineJob({ name: "report", run: note });

// The last Sunday of March 2026: in Berlin, there is no time from 02:00 to 03:00.
const clock = new TestClock(new Date("2026-03-29T00:00:00Z"));
const jobs = await connect("memory:", { clock, logger: silentLogger });
const worker = jobs.worker([cleanUp, report], {
  schedules: [every("1h", cleanUp), cron("30 2 * * *", report, undefined, { zone: "Europe/Berlin" })],
});
for (let hour = 0; hour < 3; hour += 1) {
  await runUntilIdle(worker);
  await clock.advance("1h");
}
await runUntilIdle(worker);
console.log(ran.join("\n"));

await jobs.schedules.pause("clean-up");
await jobs.schedules.trigger("clean-up"); // Now, whatever it waits for.
await runUntilIdle(worker);
console.log(`by hand: ${ran.at(-1)}`);
for (const { key, paused, next } of await jobs.schedules.list()) {
  console.log(`${key}: ${paused ? "paused" : `next ${next[0]?.toISOString()}`}`);
}
await jobs.close();

// prints:
// clean-up 01:00
// report 01:00
// clean-up 02:00
// clean-up 03:00
// by hand: clean-up 03:00
// clean-up: paused
// report: next 2026-03-30T00:30:00.000Z
