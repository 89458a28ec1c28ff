// @ts-check
// A storage that fails on purpose: what an application does when its database is away for a moment.
import assert from "node:assert/strict";
import { connect, defineJob, json, silentLogger } from "jobwright";
import { MemoryStorage } from "jobwright/memory";
import { assertEnqueued, faulty, runUntilIdle } from "jobwright/testing";

const pay = defineJob({
  name: "pay",
  payload: /** @type {import("jobwright").StandardSchema<{ invoice: number }>} */ (json()),
  run: ({ invoice }) => `invoice ${invoice} is paid`,
});

// The first enqueue is stored, but its answer is lost; the second call does not get through at all.
const storage = faulty(new MemoryStorage(), ({ method, n }) => {
  if (method !== "enqueue") return undefined;
  return n === 1 ? "lose" : n === 2 ? "fail" : undefined;
});
const jobs = await connect(storage, { logger: silentLogger });

const handle = await jobs.enqueue(pay, { invoice: 7 });
console.log(`acknowledged after ${storage.faults.calls("enqueue")} calls`);

await assertEnqueued(jobs, pay, { invoice: 7 }, { count: 1 });
console.log("and stored once");

assert.equal(await runUntilIdle(jobs.worker([pay])), 1);
console.log(await handle.result({ timeout: "5s" }));
await jobs.close();

// prints:
// acknowledged after 3 calls
// and stored once
// invoice 7 is paid
