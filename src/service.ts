import type { Duration } from "./duration.ts";

/** Everything long-lived starts and stops the same way: stop waits for the end; twice, or unstarted, is fine. */
export interface Service extends AsyncDisposable {
  start(): Promise<void>;
  stop(options?: { timeout?: Duration }): Promise<void>;
}
