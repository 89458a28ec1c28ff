// @ts-check
// Job server, worker and spawner in one process: to begin with, and for tests. When one of them moves out, it takes
// its lines with it and the URL is all it needs. (A process that shares its jobs with no other needs no server:
// `connect("lmdb:./jobs")` is enough; see hello.mjs.)
import { connect, defineJob, json } from "jobwright";
import { MemoryStorage } from "jobwright/memory";
import { JobServer } from "jobwright/server";

const fibonacci = defineJob({
  name: "fibonacci",
  payload: /** @type {import("jobwright").StandardSchema<{ n: number }>} */ (json()),
  run: ({ n }) => {
    let [a, b] = [0, 1];
    for (let i = 0; i < n; i += 1) [a, b] = [b, a + b];
    return a;
  },
});

// The server. Port 0 takes a free one.
const server = new JobServer({ storage: new MemoryStorage(), port: 0 });
await server.start();

// The worker.
const workersJobs = await connect(server.url);
await workersJobs.worker([fibonacci], { concurrency: 4 }).start();

// The spawner.
const jobs = await connect(server.url);
const handle = await jobs.enqueue(fibonacci, { n: 50 });
console.log(`fibonacci(50) = ${await handle.result({ timeout: "10s" })}`);

// Who uses the server ends before it.
await jobs.close();
await workersJobs.close();
await server.stop();

// prints:
// fibonacci(50) = 12586269025
