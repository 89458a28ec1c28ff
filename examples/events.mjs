// @ts-check
// What happens in the whole fleet, whichever process runs it.
import { connect, defineJob, silentLogger } from "jobwright";

const task = defineJob({
  name: "task",
  maxRetries: 0,
  run: (/** @type {number} */ n) => {
    if (n === 2) throw new Error("two is too many");
    return n;
  },
});

const jobs = await connect("memory:", { logger: silentLogger });
const worker = jobs.worker([task]);
const stop = new AbortController();
// It tells what happens from its first look on, so the worker comes a little later.
setTimeout(() => void worker.start(), 100);

for await (const event of jobs.events({ signal: stop.signal, every: "50ms" })) {
  switch (event.type) {
    case "process-joined":
      console.log(`a process of ${event.process.queues.length} queue joined`);
      await jobs.enqueue(task, 1);
      break;
    case "completed":
      console.log(`job ${event.job.id} returned ${event.job.result}`);
      await jobs.enqueue(task, 2);
      break;
    case "dead":
      console.log(`job ${event.job.id} gave up: ${event.job.error?.message}`);
      stop.abort();
  }
}
await jobs.close();

// prints:
// a process of 1 queue joined
// job 1 returned 1
// job 2 gave up: two is too many
