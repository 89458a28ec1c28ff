// @ts-check
import { defineJob, json } from "jobwright";

/** Its handler computes without a pause, which would hold up everything else in its process: it gets a thread. */
export const countPrimes = defineJob({
  name: "count-primes",
  payload: /** @type {import("jobwright").StandardSchema<{ below: number }>} */ (json()),
  thread: new URL("./count-primes.mjs", import.meta.url),
});

export const greet = defineJob({ name: "greet", run: () => "Hello!" });
