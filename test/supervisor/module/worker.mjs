// Worker modules of the tests: what a handler does stands in its payload.

import { appendFileSync, existsSync } from "node:fs";
import { threadId } from "node:worker_threads";
import { defineJob, json } from "jobwright";

const tick = new Int32Array(new SharedArrayBuffer(4));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const where = () => ({ pid: process.pid, threadId });

/** What happens at the first attempt; a further one only returns. */
const acts = {
  return: () => undefined,
  /** Until a file is there, then end as the payload says. */
  hold: async ({ file, end }) => {
    while (!existsSync(file)) await pause(5);
    if (end === "exit") process.exit(7);
  },
  stray: async ({ file }) => {
    while (!existsSync(file)) await pause(5);
    void Promise.reject(new TypeError("nobody waits for this"));
    await pause(60_000);
  },
  /** The event loop stands still until a file is there. */
  block: ({ file }) => {
    while (!existsSync(file)) Atomics.wait(tick, 0, 0, 5);
  },
};

export const act = defineJob({
  name: "act",
  payload: json(),
  async run(payload, ctx) {
    const { attempt, id } = ctx.job;
    appendFileSync(payload.log, `${JSON.stringify({ id, attempt, at: Date.now(), ...where() })}\n`);
    if (attempt === 1) await acts[payload.act](payload);
    return { ...where(), attempt };
  },
});

export const worker = { concurrency: 1, pollInterval: 100 };
