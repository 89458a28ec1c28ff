// @ts-check
// Three programs on one machine, the second: a worker. Start as many as you like; each job runs in one of them.
//   node examples/server/worker.mjs [url]
import { connect, implement, stopOnSignals } from "jobwright";
import { fibonacci, url } from "./fibonacci.mjs";

const compute = implement(fibonacci, ({ n }) => {
  console.log(`Computing fibonacci(${n})`);
  let [a, b] = [0, 1];
  for (let i = 0; i < n; i += 1) [a, b] = [b, a + b];
  return a;
});

const jobs = await connect(url);
const worker = jobs.worker([compute]);
await worker.start();

// Ctrl-C finishes what runs and gives back the rest.
stopOnSignals([worker, jobs]);

// prints:
// Computing fibonacci(10)
// Computing fibonacci(20)
// Computing fibonacci(50)
