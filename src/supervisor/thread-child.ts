import { Worker } from "node:worker_threads";
import { errorFromJob, serializeError } from "../job/error.ts";
import type { ChildHandle, ChildHandleEvents } from "./child-handle.ts";
import { type Assignment, isOurs, type ToChild, type ToParent } from "./message.ts";

/** Start a thread that runs worker modules. */
export function startThread(assignment: Assignment, events: ChildHandleEvents): ChildHandle {
  const thread = new Worker(new URL("./thread.js", import.meta.url), { workerData: assignment });
  let problem: Error | undefined;
  thread.on("message", (message) => {
    if (isOurs<ToParent>(message)) events.message(message);
  });
  // Whatever was thrown: it need not be an error.
  thread.on("error", (error) => (problem = errorFromJob(serializeError(error))));
  thread.on("exit", (code) => events.exited(code, null, problem));
  return {
    id: thread.threadId,
    tell: (message: ToChild) => {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
      thread.postMessage(message);
    },
    kill: () => void thread.terminate(),
  };
}
