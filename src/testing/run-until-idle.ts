import type { Worker } from "../worker/worker.ts";

/**
 * Run everything that is due, and what becomes due by it, until nothing is left to do. A worker that was
 * not started is moved by these calls alone, which makes a test deterministic.
 *
 * @returns how many runs ended
 *
 * @example
 * await clock.advance("1h");
 * expect(await runUntilIdle(worker)).toBe(1);
 */
export function runUntilIdle(worker: Worker): Promise<number> {
  return worker.drain();
}
