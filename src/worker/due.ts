import type { Clock, Timer } from "../clock.ts";

export interface DueDeps {
  readonly clock: Clock;
  /** Make due jobs available; answers when the next one is due. */
  promote(): Promise<number | undefined>;
  failed(error: unknown): void;
}

/** One timer for the next scheduled job, whichever it is. */
export class Due {
  readonly #deps: DueDeps;
  #timer: Timer | undefined;
  #at = Number.POSITIVE_INFINITY;
  /** The timer is set for an instant that has passed: it fires at once. */
  #isLate = false;
  #isPromoting = false;
  #isStopped = false;

  constructor(deps: DueDeps) {
    this.#deps = deps;
  }

  /** The next job is due then, as far as the storage just knew. */
  next(at: number | undefined): void {
    if (at === undefined || this.#isStopped) return;
    // The machine's clock may have been set forward, or the machine was asleep: then the timer is late, and
    // whoever asked the storage just now knows better.
    const isDue = at <= this.#deps.clock.now();
    if (this.#timer !== undefined && at >= this.#at && !(isDue && !this.#isLate)) return;
    this.#isLate = isDue;
    this.#timer?.cancel();
    this.#at = at;
    this.#timer = this.#deps.clock.at(at, () => void this.#promote());
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #promote(): Promise<void> {
    this.#timer = undefined;
    this.#at = Number.POSITIVE_INFINITY;
    this.#isLate = false;
    if (this.#isPromoting || this.#isStopped) return;
    this.#isPromoting = true;
    let nextAt: number | undefined;
    try {
      nextAt = await this.#deps.promote();
    } catch (error) {
      this.#deps.failed(error);
    }
    this.#isPromoting = false;
    this.next(nextAt);
  }
}
