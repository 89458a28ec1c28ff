// A thread of a child process whose event loop may stand still: it alone notices then that the Supervisor is gone.
// It is run, never imported.

import { workerData } from "node:worker_threads";

const LOOK_MS = 1_000;

const { supervisor, graceMs } = workerData as { readonly supervisor: number; readonly graceMs: number };
const timer = setInterval(() => {
  // An orphan is given to another parent.
  if (process.ppid === supervisor) return;
  clearInterval(timer);
  // Time for an orderly end, when the event loop turns after all.
  setTimeout(() => process.kill(process.pid, "SIGKILL"), graceMs);
}, LOOK_MS);
