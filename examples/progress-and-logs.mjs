// @ts-check
// A job tells how far it is and what it does; both are kept with it, and can be read from anywhere.
import { connect, defineJob, json, silentLogger } from "jobwright";

const importRows = defineJob({
  name: "import-rows",
  payload: /** @type {import("jobwright").StandardSchema<{ rows: number }>} */ (json()),
  run: async ({ rows }, ctx) => {
    ctx.log.info(`${rows} rows to import`);
    for (let row = 1; row <= rows; row += 1) {
      if (row === 3) ctx.log.warn(`row ${row} is empty`);
      ctx.progress(row / rows, `row ${row} of ${rows}`);
    }
  },
});

const jobs = await connect("memory:", { logger: silentLogger });
await jobs.worker([importRows]).start();
const handle = await jobs.enqueue(importRows, { rows: 4 });
await handle.result({ timeout: "10s" });

const job = await handle.get();
console.log(job?.progress);
for (const line of await jobs.logs(handle.id)) {
  console.log(`${line.number} (attempt ${line.attempt}) ${line.level}: ${line.text}`);
}
await jobs.close();

// prints:
// { done: 1, note: 'row 4 of 4' }
// 1 (attempt 1) info: 4 rows to import
// 2 (attempt 1) warn: row 3 is empty
