import type { JobEvent } from "./worker/events.ts";

/**
 * The place where `jobwright/current-job` says that somebody wants to know in whose run a piece of code is. Runs ask
 * here, so that programs that never do pay nothing: following a run through its awaits costs a tenth of the loop.
 */
export const runScope: RunScope = { enter: undefined, current: undefined };

export interface RunScope {
  /** Run something as a part of a job's run. */
  enter: (<T>(job: () => JobEvent, run: () => T) => T) | undefined;
  /** In whose run the caller is. */
  current: (() => JobEvent | undefined) | undefined;
}
