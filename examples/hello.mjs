// @ts-check
// The smallest program: define a job, enqueue it, work it, get its result.
import { connect, defineJob, json } from "jobwright";

const greet = defineJob({
  name: "greet",
  payload: /** @type {import("jobwright").StandardSchema<{ who: string }>} */ (json()),
  run: ({ who }) => `Hello, ${who}!`,
});

// "memory:" forgets everything at the end; "lmdb:./jobs" keeps it. Nothing else changes.
const jobs = await connect("memory:");
const worker = jobs.worker([greet]);
await worker.start();

const handle = await jobs.enqueue(greet, { who: "world" });
console.log(await handle.result({ timeout: "10s" }));

// Stops the worker, too.
await jobs.close();

// prints:
// Hello, world!
