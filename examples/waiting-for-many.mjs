// @ts-check
// Waiting for many jobs at once: an answer for each, in order, however it ended.
import { connect, defineJob, json, silentLogger } from "jobwright";

const price = defineJob({
  name: "price",
  payload: /** @type {import("jobwright").StandardSchema<{ article: string }>} */ (json()),
  maxRetries: 0,
  run({ article }) {
    if (article === "unicorn") throw new Error("not for sale");
    return 10 * article.length;
  },
});

const jobs = await connect("memory:", { logger: silentLogger });
const handles = await jobs.enqueueMany(
  price,
  ["pen", "unicorn", "lamp"].map((article) => ({ article })),
);
const late = await jobs.enqueue(price, { article: "late" }, { in: "1h" });
await late.cancel("no longer wanted");

// It can begin before anybody works.
const waiting = jobs.waitAll([...handles, late, jobs.handle("4711")], { timeout: "10s" });
await jobs.worker([price]).start();
for (const end of await waiting) {
  if (end.state === "completed") console.log(`completed: ${end.result}`);
  else if (end.state === "dead") console.log(`dead: ${end.error.message}`);
  else if (end.state === "cancelled") console.log(`cancelled: ${end.reason}`);
  else console.log(`job ${end.id} is not there`);
}
await jobs.close();

// prints:
// completed: 30
// dead: not for sale
// completed: 40
// cancelled: no longer wanted
// job 4711 is not there
