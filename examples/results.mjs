// @ts-check
// The ways a wait for a result can end.
import { connect, defineJob, json, silentLogger } from "jobwright";

const divide = defineJob({
  name: "divide",
  payload: /** @type {import("jobwright").StandardSchema<{ a: number, b: number }>} */ (json()),
  maxRetries: 0,
  run: ({ a, b }) => {
    if (b === 0) throw new RangeError("division by zero");
    return a / b;
  },
});
const jobs = await connect("memory:", { logger: silentLogger });
await jobs.worker([divide]).start();

const half = await jobs.enqueue(divide, { a: 1, b: 2 });
console.log("value:", await half.result({ timeout: "10s" }));
// A handle can be made again from the id alone, in another process as well.
console.log("again:", await jobs.handle(half.id).result({ timeout: "10s" }));

const bad = await jobs.enqueue(divide, { a: 1, b: 0 });
await bad
  .result({ timeout: "10s" })
  .catch((error) => console.log(error.name, "because of", `${error.cause}`));

const later = await jobs.enqueue(divide, { a: 1, b: 4 }, { in: "1h" });
await later.result({ timeout: "10ms" }).catch((error) => console.log(error.name, "and the job goes on"));
await later.cancel("no longer needed");
await later.result({ timeout: "10s" }).catch((error) => console.log(error.name, "because", error.reason));
await jobs.close();

// prints:
// value: 0.5
// again: 0.5
// JobFailedError because of RangeError: division by zero
// ResultTimeoutError and the job goes on
// JobCancelledError because no longer needed
