import { StorageUnavailableError } from "../errors.ts";
import type { Ask, BeatResult, Lease, ProcessBeat } from "../storage/storage.ts";

export interface HeartbeatDeps {
  beat(what: ProcessBeat): Promise<BeatResult>;
  /** The beat to send now. */
  describe(): ProcessBeat;
  /** The starts of a beat that was acknowledged. */
  reported(starts: readonly Lease[]): void;
  asks(asks: readonly Ask[]): void;
  lost(leases: readonly Lease[]): void;
  /** The leases can no longer be relied on. Called once; this heartbeat has ended. */
  fence(): void;
  failed(error: unknown, retryInMs: number): void;
  beatEveryMs: number;
  lostAfterMs: number;
}

/**
 * Shows that this process lives, and knows when it can no longer be sure that others believe it.
 * Everything here follows real time.
 *
 * The process is safe until `lostAfter − beatEvery` after the moment the last acknowledged beat was *sent*:
 * others may count the silence from then. Later it fences itself, before anyone can take its jobs.
 */
export class Heartbeat {
  readonly #deps: HeartbeatDeps;
  #safeUntil = 0;
  #beatTimer: NodeJS.Timeout | undefined;
  #fenceTimer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(deps: HeartbeatDeps) {
    this.#deps = deps;
  }

  /** Register. The first beat must be acknowledged before anything is claimed. */
  async start(): Promise<void> {
    const sentAt = performance.now();
    await this.#send({ ...this.#deps.describe(), first: true });
    this.#acknowledged(sentAt);
    this.#schedule();
  }

  /** What it describes has changed, and others should not have to wait for the next beat. */
  soon(): void {
    this.#schedule(0);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#beatTimer);
    clearTimeout(this.#fenceTimer);
  }

  /** Whether the leases can be relied on. Fences the process when not: a blocked event loop delays timers. */
  get isSafe(): boolean {
    if (this.#stopped) return false;
    if (performance.now() < this.#safeUntil) return true;
    this.#fence();
    return false;
  }

  #acknowledged(sentAt: number): void {
    this.#safeUntil = sentAt + this.#deps.lostAfterMs - this.#deps.beatEveryMs;
    this.#guard();
  }

  #guard(): void {
    clearTimeout(this.#fenceTimer);
    // A timer may fire a little too early: then the process is still safe, and it is set again.
    this.#fenceTimer = setTimeout(
      () => this.isSafe && this.#guard(),
      Math.max(0, this.#safeUntil - performance.now()) + 1,
    );
    this.#fenceTimer.unref();
  }

  #schedule(delayMs: number = this.#deps.beatEveryMs): void {
    if (this.#stopped) return;
    clearTimeout(this.#beatTimer);
    // Jitter, so that a fleet started by one signal does not beat as one.
    const jittered = delayMs * (0.9 + 0.1 * Math.random());
    this.#beatTimer = setTimeout(() => void this.#beat(), jittered);
    this.#beatTimer.unref();
  }

  async #beat(): Promise<void> {
    const sentAt = performance.now();
    const what = this.#deps.describe();
    try {
      const result = await this.#send(what);
      if (this.#stopped) return;
      if (!result.known) return this.#fence();
      this.#acknowledged(sentAt);
      this.#deps.reported(what.starts);
      if (result.lost.length > 0) this.#deps.lost(result.lost);
      if (result.asks.length > 0) this.#deps.asks(result.asks);
      this.#schedule();
    } catch (error) {
      if (this.#stopped) return;
      // Sooner than the next regular beat: every second of silence counts against the process.
      const retryInMs = this.#deps.beatEveryMs / 4;
      this.#deps.failed(error, retryInMs);
      this.#schedule(retryInMs);
    }
  }

  /** A storage that never answers must not silence the process for good: another beat is sent after a while. */
  #send(what: ProcessBeat): Promise<BeatResult> {
    const { beat, beatEveryMs, lostAfterMs } = this.#deps;
    return new Promise((resolve, reject) => {
      const waitMs = (lostAfterMs - beatEveryMs) / 2;
      const timer = setTimeout(
        () => reject(new StorageUnavailableError(`The storage did not answer a beat within ${waitMs} ms.`)),
        waitMs,
      );
      // Only who starts waits for it; a process that has nothing else to do may end.
      if (what.first !== true) timer.unref();
      beat(what)
        .then(resolve, reject)
        .finally(() => clearTimeout(timer));
    });
  }

  #fence(): void {
    if (this.#stopped) return;
    this.stop();
    this.#deps.fence();
  }
}
