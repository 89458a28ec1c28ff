// @ts-check
// One call for many jobs: each has its own outcome, and what fails is tried again by itself.
import { connect, defineBatchJob, fixed, json, silentLogger } from "jobwright";
import { runUntilIdle, TestClock } from "jobwright/testing";

/** @type {import("jobwright").StandardSchema<{ to: string }>} */
const payload = json();

const mail = defineBatchJob({
  name: "mail",
  payload,
  maxBatch: 3,
  maxRetries: 1,
  backoff: fixed("1m"),
  run: (items) => {
    console.log(
      `one call for ${items.map((item) => `${item.payload.to} (attempt ${item.job.attempt})`).join(", ")}`,
    );
    return items.map((item) => {
      if (item.payload.to === "eve" && item.job.attempt === 1) return new Error("mailbox full");
      return `sent to ${item.payload.to}`;
    });
  },
});

const clock = new TestClock();
const jobs = await connect("memory:", { clock, logger: silentLogger });
const worker = jobs.worker([mail]);
const handles = await jobs.enqueueMany(
  mail,
  ["ann", "eve", "bob", "zoe"].map((to) => ({ to })),
);
await runUntilIdle(worker);
console.log((await handles[1]?.get())?.error?.message);
await clock.advance("1m");
await runUntilIdle(worker);
for (const handle of handles) console.log(await handle.result({ timeout: "1m" }));
await jobs.close();

// prints:
// one call for ann (attempt 1), eve (attempt 1), bob (attempt 1)
// one call for zoe (attempt 1)
// mailbox full
// one call for eve (attempt 2)
// sent to ann
// sent to eve
// sent to bob
// sent to zoe
