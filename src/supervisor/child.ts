// The entry of a process that a Supervisor starts. It is run, never imported.

import { Worker } from "node:worker_threads";
import { stopOnSignals } from "../signals.ts";
import { Duty } from "./duty.ts";
import { isOurs, type ToChild } from "./message.ts";

/** After an orderly stop the process should end by itself; this much later it is ended. */
const END_MS = 300;
/** What a last message has to reach the Supervisor. */
const TELL_MS = 1_000;
/** What a worker may take beyond its timeout to stop when nobody waits for it any more. */
const ORPHAN_MS = 5_000;
/** What a Supervisor waits with its first message. */
const START_MS = 30_000;

const duty = new Duty({
  tell: (message) => {
    if (process.connected) process.send?.(message, () => undefined);
  },
  fail: (last) => {
    const exit = (): void => process.exit(1);
    setTimeout(exit, TELL_MS);
    if (process.connected) process.send?.(last, exit);
    else exit();
  },
});

let shutdownTimeoutMs = 0;
let isStopping = false;

async function end(timeoutMs: number): Promise<void> {
  isStopping = true;
  await duty.stop(timeoutMs);
  process.exitCode ??= 0;
  // The channel alone would keep it.
  if (process.connected) process.disconnect();
  setTimeout(() => process.exit(), END_MS).unref();
}

const orphan = (): void => {
  // The Supervisor is gone: nobody would start the jobs' next process, and nobody would ever end this one.
  const timeoutMs = isStopping ? 0 : shutdownTimeoutMs;
  setTimeout(() => process.exit(1), timeoutMs + ORPHAN_MS).unref();
  void end(timeoutMs);
};

const begin = setTimeout(() => process.exit(1), START_MS);

process.on("message", (message) => {
  if (!isOurs<ToChild>(message)) return;
  if (message.jobwright === "stop") return void end(message.timeoutMs);
  clearTimeout(begin);
  const { assignment } = message;
  shutdownTimeoutMs = assignment.shutdownTimeoutMs;
  // A blocked event loop does not hear that the Supervisor is gone.
  new Worker(new URL("./orphan-watch.js", import.meta.url), {
    workerData: { supervisor: assignment.supervisor, graceMs: shutdownTimeoutMs + ORPHAN_MS },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
  })
    .on("error", () => undefined)
    .unref();
  duty.begin(assignment, assignment.url as string);
});
process.once("disconnect", orphan);
process.on("uncaughtException", (error) => duty.fail(error));
process.on("unhandledRejection", (error) => duty.fail(error));
stopOnSignals([
  {
    start: async () => undefined,
    stop: () => end(shutdownTimeoutMs),
    [Symbol.asyncDispose]: async () => undefined,
  },
]);
