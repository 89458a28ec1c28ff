// @ts-check
// A long job that fails on the way goes on where it was: its checkpoint survives retries and lost processes.
import { connect, defineJob, fixed, json, silentLogger } from "jobwright";

const importRows = defineJob({
  name: "import-rows",
  payload: /** @type {import("jobwright").StandardSchema<{ rows: number }>} */ (json()),
  backoff: fixed(0),
  run: async ({ rows }, ctx) => {
    const first = ctx.checkpoint.get("next") ?? 0;
    console.log(`attempt ${ctx.job.attempt} begins at row ${first}`);
    for (let row = Number(first); row < rows; row += 1) {
      if (row === 3 && ctx.job.attempt === 1) throw new Error("The connection broke.");
      await ctx.checkpoint.set("next", row + 1);
    }
    return `${rows} rows`;
  },
});

const jobs = await connect("memory:", { logger: silentLogger });
await jobs.worker([importRows]).start();
const handle = await jobs.enqueue(importRows, { rows: 5 });
console.log(await handle.result({ timeout: "10s" }));
await jobs.close();

// prints:
// attempt 1 begins at row 0
// attempt 2 begins at row 3
// 5 rows
