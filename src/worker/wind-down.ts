import { ShutdownError } from "../errors.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Timers } from "./timers.ts";

/** How long handlers get to react to their signal at a stop, before their jobs are given back. */
const STOP_GRACE_MS = 500;
/** How long a stop waits for a storage that does not answer, and for the state to be disposed. */
export const STOP_FLUSH_MS = 5_000;

export interface WindDownDeps {
  readonly pipeline: Pipeline;
  readonly timers: Timers;
  /** Runs that have not ended when it resolves are asked to end. */
  readonly patience: Promise<unknown>;
  /** What else is under way with the storage. */
  underWay(): readonly (Promise<unknown> | undefined)[];
}

/** End all runs: wait for them, fire their signals, and give back what is left with no attempt spent. */
export async function windDown({ pipeline, timers, patience, underWay }: WindDownDeps): Promise<void> {
  const { slots } = pipeline;
  slots.releaseAhead();
  const ended = pipeline.allRunsOver();
  await Promise.race([ended, patience]);
  slots.abortRuns(new ShutdownError());
  await Promise.race([ended, timers.after(STOP_GRACE_MS)]);
  slots.releaseRuns();
  const threadsOver = slots.endThreads();
  const told = Promise.allSettled(underWay()).then(() => pipeline.allSettled());
  await Promise.race([Promise.all([told, threadsOver]), timers.after(STOP_FLUSH_MS)]);
  pipeline.end();
}
