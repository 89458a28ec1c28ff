// @ts-check
// One job, run once as a worker would: what becomes of it is data to compare. Run it with `node --test`, too.
import assert from "node:assert/strict";
import { defineJob, json } from "jobwright";
import { perform } from "jobwright/testing";

const importRows = defineJob({
  name: "import-rows",
  payload: /** @type {import("jobwright").StandardSchema<{ rows: number }>} */ (json()),
  maxRetries: 1,
  async run({ rows }, ctx) {
    const from = ctx.checkpoint.get("row") ?? 0;
    for (let row = Number(from); row < rows; row += 1) {
      if (row === 2 && ctx.job.attempt === 1) throw new Error("row 2 cannot be read");
      await ctx.checkpoint.set("row", row + 1);
    }
    return `${rows - Number(from)} of ${rows} rows`;
  },
});

const first = await perform(importRows, { rows: 5 });
assert.equal(first.outcome, "retry");
console.log(`${first.error.message}: again in ${first.delayMs} ms, from ${JSON.stringify(first.checkpoint)}`);

const second = await perform(importRows, { rows: 5 }, { attempt: 2, checkpoint: first.checkpoint });
assert.equal(second.outcome, "completed");
console.log(`attempt 2 imported ${second.result}`);

// prints:
// row 2 cannot be read: again in 2000 ms, from {"row":2}
// attempt 2 imported 3 of 5 rows
