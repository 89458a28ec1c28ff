import { StorageClosedError } from "../errors.ts";
import { serializeError } from "../job/error.ts";
import type { Logger } from "../logger.ts";
import type { WorkerEvents } from "./events.ts";
import type { Timers } from "./timers.ts";

/** First and longest wait after a call to the storage failed; it doubles in between. */
export const RETRY_MS_FIRST = 50;
const RETRY_MS_MAX = 5_000;

export interface TroubleDeps {
  readonly logger: Logger;
  readonly timers: Timers;
  readonly random: () => number;
  failed(about: WorkerEvents["storageError"][0]): void;
  recovered(): void;
  isStopping(): boolean;
  /** The storage was closed for good: there is nobody left to talk to. */
  closed(error: StorageClosedError, during: string): void;
}

/** Calls to the storage that fail: told once, tried again with growing waits, and told when it is over. */
export class Trouble {
  readonly #deps: TroubleDeps;
  #failures = 0;
  /** What failed last time it was tried. */
  readonly #failing = new Set<string>();
  /** Ends the wait before the next try. */
  #tryNow: (() => void) | undefined;

  constructor(deps: TroubleDeps) {
    this.#deps = deps;
  }

  /** Tell of it, and wait for the time of the next try. */
  async pause(error: unknown, during: string): Promise<void> {
    if (error instanceof StorageClosedError) return this.#deps.closed(error, during);
    this.#failures += 1;
    const base = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** Math.min(this.#failures, 20));
    const retryInMs = Math.round(base * (0.5 + 0.5 * this.#deps.random()));
    this.report(error, during, retryInMs);
    const { timers } = this.#deps;
    // A stop does not wait for the next try, it makes it now.
    if (this.#deps.isStopping()) return timers.after(Math.min(retryInMs, RETRY_MS_FIRST));
    const soon = new Promise<void>((resolve) => (this.#tryNow = resolve));
    await Promise.race([timers.after(retryInMs), soon]);
    this.#tryNow = undefined;
  }

  tryNow(): void {
    this.#tryNow?.();
  }

  report(error: unknown, during: string, retryInMs: number): void {
    if (error instanceof StorageClosedError) return this.#deps.closed(error, during);
    this.#failing.add(during);
    this.#deps.failed({ error, during, retryInMs });
    const text = serializeError(error).message;
    this.#deps.logger.error(
      `the storage failed during ${during}: ${text}; next try in ${Math.round(retryInMs)} ms`,
    );
  }

  /** A call went well. */
  over(during: string): void {
    if (during === "exchange" || during === "register") this.#failures = 0;
    if (this.#failing.delete(during) && this.#failing.size === 0) this.#deps.recovered();
  }
}
