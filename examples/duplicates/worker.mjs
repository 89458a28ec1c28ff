// @ts-check
// One worker process: node worker.mjs <folder of the run> <name> [<job to announce>], with the storage's URL in
// JOBWRIGHT_DEMO_STORAGE. main.mjs starts three of them.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { connect, implement, silentLogger, stopOnSignals, UnrecoverableError } from "jobwright";
import { toPath } from "./file-path.mjs";
import { hashFile, lostAfter } from "./jobs.mjs";

const [, name = "", jobToAnnounce] = process.argv.slice(2);
const storage = process.env.JOBWRIGHT_DEMO_STORAGE ?? "";

/** Read at a time: a file may be larger than the memory. */
const CHUNK_BYTES = 64 * 1024;

const hashing = implement(hashFile, async (file, ctx) => {
  if (ctx.job.id === jobToAnnounce) await announceHalfway(ctx.signal);
  // Should a pipe have taken the file's place, opening it must not wait for somebody to write to it.
  const handle = await open(toPath(file), constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await handle.stat()).isFile()) throw new UnrecoverableError("It is no longer a regular file.");
    const sha256 = createHash("sha256");
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    let size = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer);
      if (bytesRead === 0) break;
      sha256.update(buffer.subarray(0, bytesRead));
      size += bytesRead;
      // A large file must not hold up an orderly end.
      ctx.signal.throwIfAborted();
    }
    return { size, sha256: sha256.digest("hex") };
  } finally {
    await handle.close();
  }
});

// The main process tells what became of the jobs; a worker's own log would only disturb its progress line.
const jobs = await connect(storage, { lostAfter, logger: silentLogger });
const worker = jobs.worker([hashing], { name, concurrency: 8, shutdownTimeout: "1s" });

worker.on("rescued", ({ id, started }) => tellMain({ kind: "rescued", id, started }));
worker.on("storageError", ({ error }) => tellMain({ kind: "storageError", text: String(error) }));

// An orderly end: claim nothing more, finish what runs, give back the rest. On Ctrl-C, and when the main
// process is gone, however it went.
stopOnSignals([worker, jobs]);
process.once("disconnect", () => jobs.close());

if (process.connected) await worker.start();
else await jobs.close(); // It was gone before we could listen.
tellMain({ kind: "started" });

/**
 * The job in the middle says so, and waits for what the main process does: kill -9, or "go on".
 *
 * @param {AbortSignal} signal
 */
async function announceHalfway(signal) {
  const answer = once(process, "message", { signal });
  tellMain({ kind: "halfway", running: worker.running });
  await answer;
}

/** @param {import("./crew.mjs").Message} message */
function tellMain(message) {
  if (process.connected) process.send?.(message, () => {});
}
