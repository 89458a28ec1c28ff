import { AsyncLocalStorage } from "node:async_hooks";
import { runScope } from "./run-scope.ts";
import type { JobEvent } from "./worker/events.ts";

// Imported by itself, as `jobwright/current-job`: from then on the runs of this process (of this thread) can be told
// apart, which costs each of them about a microsecond on Node 20.

const runs = new AsyncLocalStorage<() => JobEvent>();
runScope.enter = (job, run) => runs.run(job, run);
runScope.current = () => runs.getStore()?.();

/**
 * The job in whose handler, or in whose middleware, the caller is, however deep and whatever was awaited;
 * `undefined` outside of any. In a listener of `unhandledRejection` it is the job that did not catch it.
 *
 * @example
 * import { currentJob } from "jobwright/current-job";
 *
 * const log = (text: string) => console.log(currentJob()?.id ?? "-", text);
 */
export function currentJob(): CurrentJob | undefined {
  return runs.getStore()?.();
}

/** The job of the run in which the caller is. */
export type CurrentJob = JobEvent;
