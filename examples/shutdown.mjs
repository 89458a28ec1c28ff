// @ts-check
// Stopping loses nothing: what ends in time is kept, what does not goes back to the queue, unspent.
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { connect, defineJob, json } from "jobwright";

const work = defineJob({
  name: "work",
  payload: /** @type {import("jobwright").StandardSchema<{ takes: "little" | "long" }>} */ (json()),
  run: async ({ takes }, ctx) => {
    if (takes === "little") return "done";
    // The signal fires when the worker has waited long enough.
    await wait(3_600_000, undefined, { signal: ctx.signal });
    return "done";
  },
});

const jobs = await connect("memory:");
const worker = jobs.worker([work], { shutdownTimeout: "100ms" });
const [little, long] = await jobs.enqueueMany(work, [{ takes: "little" }, { takes: "long" }]);
worker.on("released", ({ id }) => console.log(id === long?.id ? "long: released" : "unexpected"));

const completed = once(worker, "completed");
await worker.start();
await completed;
// stopOnSignals([worker, jobs]) does this on SIGTERM and SIGINT.
await worker.stop();

console.log("little:", (await little?.get())?.state);
const job = await long?.get();
console.log(`long: ${job?.state}, attempts spent ${job?.attempt}`);
await jobs.close();

// prints:
// long: released
// little: completed
// long: available, attempts spent 0
