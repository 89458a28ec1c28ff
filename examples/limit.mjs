// @ts-check
// At most two jobs of a tenant at a time, in the whole fleet, while the worker has ten slots.
import { setTimeout as sleep } from "node:timers/promises";
import { connect, defineJob, json } from "jobwright";

/** @type {Record<string, number>} */
const running = {};
/** @type {Record<string, number>} */
const most = {};

const crawl = defineJob({
  name: "crawl",
  payload: /** @type {import("jobwright").StandardSchema<{ tenant: string }>} */ (json()),
  limit: { key: ({ tenant }) => tenant, concurrency: 2 },
  run: async ({ tenant }) => {
    running[tenant] = (running[tenant] ?? 0) + 1;
    most[tenant] = Math.max(most[tenant] ?? 0, running[tenant]);
    await sleep(20);
    running[tenant] -= 1;
  },
});

const jobs = await connect("memory:");
const tenants = ["ada", "ada", "ada", "ada", "ada", "bob"];
const handles = await jobs.enqueueMany(
  crawl,
  tenants.map((tenant) => ({ tenant })),
);
await jobs.worker([crawl], { concurrency: 10 }).start();
for (const handle of handles) await handle.result({ timeout: "10s" });
console.log(`most at a time: ada ${most["ada"]}, bob ${most["bob"]}`);
await jobs.close();

// prints:
// most at a time: ada 2, bob 1
