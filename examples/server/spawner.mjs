// @ts-check
// Three programs on one machine, the third: a spawner. It enqueues jobs, and waits for what becomes of them.
//   node examples/server/spawner.mjs [url]
import { connect } from "jobwright";
import { fibonacci, url } from "./fibonacci.mjs";

const jobs = await connect(url);
// All or nothing. Once this resolves, the jobs are stored: this program could end, and they would still be run.
const handles = await jobs.enqueueMany(fibonacci, [{ n: 10 }, { n: 20 }, { n: 50 }]);
for (const [index, n] of [10, 20, 50].entries()) {
  console.log(`fibonacci(${n}) = ${await handles[index]?.result({ timeout: "1m" })}`);
}
await jobs.close();

// prints:
// fibonacci(10) = 55
// fibonacci(20) = 6765
// fibonacci(50) = 12586269025
