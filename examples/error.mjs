// @ts-check
// What an error looks like: an attempt fails, the job is tried again, and at last it is dead. It is kept for you to
// look at, and to be tried once more when the reason is gone.
import { connect, defineJob, fixed, json } from "jobwright";

let isShopOpen = false;
const buy = defineJob({
  name: "buy",
  payload: /** @type {import("jobwright").StandardSchema<{ what: string }>} */ (json()),
  maxRetries: 2,
  // By default the wait begins with 2 s and doubles.
  backoff: fixed(0),
  run: ({ what }) => {
    if (!isShopOpen) throw new Error("The shop is closed.");
    return `one ${what}`;
  },
});

// The default logger writes the same lines to standard error: what failed and when it is tried again, no payload.
/** @param {string} line */
const say = (line) => console.log(line);
const logger = { debug: () => {}, info: () => {}, warn: say, error: say };
const jobs = await connect("memory:", { logger });
await jobs.worker([buy]).start();

const handle = await jobs.enqueue(buy, { what: "melon" });
await handle.result({ timeout: "10s" }).catch((error) => console.log(`${error.name}, ${error.cause}`));
const job = await handle.get();
console.log(`${job?.state} after ${job?.attempt} attempts`);

isShopOpen = true;
await jobs.retry(handle.id);
console.log(await handle.result({ timeout: "10s" }));
await jobs.close();

// prints:
// job 1 "buy" attempt 1 failed: Error: The shop is closed.; retry in 0 ms
// job 1 "buy" attempt 2 failed: Error: The shop is closed.; retry in 0 ms
// job 1 "buy" attempt 3 is dead: Error: The shop is closed.
// JobFailedError, Error: The shop is closed.
// dead after 3 attempts
// one melon
