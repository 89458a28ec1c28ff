// @ts-check
import { defineJob, fixed, json } from "jobwright";

export const send = defineJob({
  name: "send",
  payload: /** @type {import("jobwright").StandardSchema<{ what: string }>} */ (json()),
  // A lost process is a failed attempt like any other, and the retry waits as long.
  backoff: fixed(0),
});
