// @ts-check
// A long job tells how far it is, and outlives a deploy: the next worker goes on where the stopped one was.
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { connect, defineJob, json } from "jobwright";

const copyPages = defineJob({
  name: "copy-pages",
  payload: /** @type {import("jobwright").StandardSchema<{ pages: number }>} */ (json()),
  run: async ({ pages }, ctx) => {
    for (let copied = Number(ctx.checkpoint.get("copied") ?? 0); copied < pages; copied += 1) {
      // The work. The signal fires when the worker stops (and at a timeout or a cancel): what waits ends with it.
      await wait(50, undefined, { signal: ctx.signal });
      await ctx.checkpoint.set("copied", copied + 1);
      ctx.log.info(`${((copied + 1) / pages) * 100} %`);
    }
    return `${pages} pages, attempt ${ctx.job.attempt}`;
  },
});

/** @type {import("jobwright").Worker | undefined} */
let first;
const say = (/** @type {string} */ line) => {
  console.log(line);
  // A deploy in the middle: the first worker has no time to finish the job.
  if (line === "50 %") void first?.stop();
};
const jobs = await connect("memory:", { logger: { debug: () => {}, info: say, warn: say, error: say } });
const handle = await jobs.enqueue(copyPages, { pages: 4 });
first = jobs.worker([copyPages], { shutdownTimeout: 0 });
await Promise.all([once(first, "stopped"), first.start()]);
console.log("stopped:", (await handle.get())?.state);

await jobs.worker([copyPages]).start();
console.log(await handle.result({ timeout: "10s" }));
await jobs.close();

// prints:
// 25 %
// 50 %
// stopped: available
// 75 %
// 100 %
// 4 pages, attempt 1
