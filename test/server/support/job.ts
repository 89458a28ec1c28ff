import type { NewJob } from "../../../src/storage/storage.ts";

/** A job to store, which is kept for ever. */
export function newJob(more: Partial<NewJob> = {}): NewJob {
  return {
    name: "work",
    queue: "default",
    payload: "1",
    maxRetries: 3,
    backoff: { kind: "fixed", delayMs: 1_000 },
    timeoutMs: null,
    retention: { completedMs: null, cancelledMs: null, deadMs: null },
    tags: [],
    priority: 0,
    ...more,
  };
}
