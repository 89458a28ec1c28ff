// @ts-check
// A test of an application's job: time is moved by hand, and nothing sleeps. Run it with `node --test`, too.
import assert from "node:assert/strict";
import { connect, defineJob, json } from "jobwright";
import { runUntilIdle, TestClock } from "jobwright/testing";

/** @type {string[]} */
const outbox = [];
const remind = defineJob({
  name: "remind",
  payload: /** @type {import("jobwright").StandardSchema<{ user: string }>} */ (json()),
  run: ({ user }) => void outbox.push(user),
});

/** @param {import("jobwright").Jobs} jobs */
const signUp = (jobs, /** @type {string} */ user) =>
  jobs.enqueue(remind, { user }, { in: "3d", id: `remind ${user}` });

const clock = new TestClock();
const jobs = await connect("memory:", { clock });
const worker = jobs.worker([remind]);

await signUp(jobs, "ann");
assert.equal((await signUp(jobs, "ann")).created, false);
assert.deepEqual(await jobs.count({ state: "scheduled" }), { n: 1, exact: true });
console.log("one reminder is stored, however often it is asked for");

await clock.advance("71h");
assert.equal(await runUntilIdle(worker), 0);
console.log("not before its time");

await clock.advance("1h");
assert.equal(await runUntilIdle(worker), 1);
assert.deepEqual(outbox, ["ann"]);
console.log("then once");
await jobs.close();

// prints:
// one reminder is stored, however often it is asked for
// not before its time
// then once
