import { type Clock, monotonicMs, systemClock, type Timer } from "../../clock.ts";

/** The server's time, as its last words told it: this machine's own may be set to anything. */
export class RemoteClock implements Clock {
  /** Server's epoch ms at the monotonic zero of this machine; unknown before the first answer. */
  #zero: number | undefined;
  #roundTripMs = Number.POSITIVE_INFINITY;

  now(): number {
    return this.#zero === undefined ? systemClock.now() : Math.floor(this.#zero + monotonicMs());
  }

  at(at: number, fire: () => void, keepAlive?: boolean): Timer {
    return systemClock.at(at - (this.now() - systemClock.now()), fire, keepAlive);
  }

  /** @param sentAt when it was asked, by this machine's monotonic clock */
  told(now: number, sentAt: number): void {
    const heardAt = monotonicMs();
    const roundTripMs = heardAt - sentAt;
    // A quick answer tells more than a slow one; a clock that was set shows in both.
    const zero = now - (sentAt + heardAt) / 2;
    const isOff = this.#zero === undefined || Math.abs(zero - this.#zero) > roundTripMs + this.#roundTripMs;
    if (!isOff && roundTripMs > 2 * this.#roundTripMs) return;
    this.#zero = zero;
    this.#roundTripMs = roundTripMs;
  }
}
