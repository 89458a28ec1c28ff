// @ts-check
// What both sides know of the job: its name and its payload. How it is done is the worker's business.
import { defineJob, json } from "jobwright";

export const fibonacci = defineJob({
  name: "fibonacci",
  payload: /** @type {import("jobwright").StandardSchema<{ n: number }>} */ (json()),
});

/** Where the three programs meet, unless another URL is given. */
export const url = process.argv[2] ?? "ws://127.0.0.1:7420";
