// @ts-check
// A worker process dies in the middle of a job, here by kill -9. The job is not lost: the other worker notices the
// death, and runs it again. The attempt that was under way counts as failed, so that a job that kills every worker
// ends as dead instead of killing them for ever.
//   node examples/crash/main.mjs
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "jobwright";
import { send } from "./jobs.mjs";

const folder = await mkdtemp(join(tmpdir(), "jobwright-crash-"));
const jobs = await connect(`lmdb:${folder}`);
const file = new URL("./worker.mjs", import.meta.url);
const workers = [fork(file, [folder]), fork(file, [folder])];
await Promise.all(workers.map((worker) => once(worker, "message")));
const ends = workers.map((worker) => once(worker, "exit"));

const handle = await jobs.enqueue(send, { what: "parcel" });
const [, signal] = await Promise.race(ends);
console.log(`one of ${workers.length} workers ended by ${signal}`);
console.log(await handle.result({ timeout: "1m" }));

for (const worker of workers) if (worker.connected) worker.disconnect();
await Promise.all(ends);
await jobs.close();
await rm(folder, { recursive: true });

// prints:
// one of 2 workers ended by SIGKILL
// sent the parcel that the dead worker had packed
