import type { MethodName } from "../wire/methods.ts";

/** What a server has seen since it started. */
export class Counters {
  readonly calls: Map<MethodName, { calls: number; failures: number; ms: number }> = new Map();
  connections = 0;
  accepted = 0;
  refused = 0;
  malformed = 0;
  slow = 0;
  framesIn = 0;
  framesOut = 0;
  bytesIn = 0;
  bytesOut = 0;

  called(method: MethodName, ms: number, failed: boolean): void {
    let entry = this.calls.get(method);
    if (entry === undefined) {
      entry = { calls: 0, failures: 0, ms: 0 };
      this.calls.set(method, entry);
    }
    entry.calls += 1;
    entry.ms += ms;
    if (failed) entry.failures += 1;
  }
}
