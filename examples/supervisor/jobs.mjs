// @ts-check
// A worker module: the definitions it exports are what its workers run.
import { threadId } from "node:worker_threads";
import { defineJob, fixed, json } from "jobwright";

export const add = defineJob({
  name: "add",
  payload: /** @type {import("jobwright").StandardSchema<{ a: number, b: number }>} */ (json()),
  run: ({ a, b }) => a + b,
});

export const fragile = defineJob({
  name: "fragile",
  backoff: fixed(0),
  run: async (_, ctx) => {
    const before = ctx.checkpoint.get("thread");
    if (before !== undefined) return `ran again in ${before === threadId ? "the same" : "another"} thread`;
    await ctx.checkpoint.set("thread", threadId);
    // Not what a handler should do. It ends this thread, and nothing else.
    process.exit(3);
  },
});
