/**
 * The time that scheduling follows: run times, backoff, retention, run timeouts.
 * Liveness (heartbeats, rescue, shutdown, deadlines of calls) never uses it: see {@link monotonicMs}.
 */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /**
   * Call `fire` once at `at` (epoch ms) or as soon after as possible; never before, however far `at` is.
   *
   * @param keepAlive whether the pending timer keeps the process from ending. @default false
   */
  at(at: number, fire: () => void, keepAlive?: boolean): Timer;
}

/** A pending call of `Clock.at`. */
export interface Timer {
  cancel(): void;
}

/** Longest delay `setTimeout` can take; beyond it fires at once (2^31 − 1 ms, about 25 days). */
const TIMEOUT_MS_MAX = 2_147_483_647;

/** The machine's time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  at(at, fire, keepAlive = false) {
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      const left = at - Date.now();
      // A far instant is reached in steps, and the wall clock may have been set back meanwhile.
      handle = setTimeout(
        () => (Date.now() >= at ? fire() : arm()),
        Math.max(0, Math.min(left, TIMEOUT_MS_MAX)),
      );
      if (!keepAlive) handle.unref();
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Milliseconds since the machine's start: never set back, and the same for all processes of a machine. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1_000_000;
}
