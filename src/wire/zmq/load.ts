import { isMainThread } from "node:worker_threads";
import type * as Package from "zeromq";
import { MissingDependencyError, StateError } from "../../errors.ts";
import { zmqLimits } from "./limits.ts";

export type { Dealer, Reply, Router } from "zeromq";

/** The package, and the one context that all servers and clients of this process share. */
export interface Zmq {
  readonly zmq: typeof Package;
  readonly context: Package.Context;
}

let loading: Promise<Zmq> | undefined;

/**
 * Load the package when somebody wants it. Its context stays for as long as the process does: it has no way to end
 * one, and a second one would have threads of its own. Without sockets it neither works nor holds the process.
 *
 * @throws StateError in a worker thread, MissingDependencyError
 */
export async function loadZmq(): Promise<Zmq> {
  checkThread();
  loading ??= load().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

/**
 * A thread that ends while one of its sockets waits for a message takes the whole process with it, and nobody can
 * promise that a thread is not ended. So the package is not even loaded in one.
 *
 * @throws StateError
 */
export function checkThread(): void {
  if (isMainThread) return;
  throw new StateError(
    "ZeroMQ cannot be used in a worker thread: the process would die when the thread is ended. " +
      "Use it in the main thread, or reach the job server by ws:// or wss://.",
  );
}

async function load(): Promise<Zmq> {
  let zmq: Zmq["zmq"];
  try {
    zmq = await import("zeromq");
  } catch (error) {
    // It is not there, or has nothing compiled for this platform, which its own error tells as the cause.
    throw new MissingDependencyError("zmq://", "zeromq", error);
  }
  // Not blocky: what nobody takes must not keep a process from ending.
  return { zmq, context: new zmq.Context({ blocky: false, maxSockets: zmqLimits.sockets }) };
}
