import { type Clock, monotonicMs, systemClock, type Timer } from "../../clock.ts";
import type { Store } from "./store.ts";

/** How old a comparison may be. Clocks of machines drift by milliseconds an hour; setting them is the rest. */
const COMPARED_MS = 60_000;

/**
 * The database's time, as far as it is known here: which machine asks makes no difference to when a job is
 * due. What is decided is decided by the database itself; this is for timers.
 */
export class DatabaseClock implements Clock {
  #aheadMs = 0;
  #comparedAt = Number.NEGATIVE_INFINITY;

  now(): number {
    return Math.floor(systemClock.now() + this.#aheadMs);
  }

  at(at: number, fire: () => void, keepAlive?: boolean): Timer {
    return systemClock.at(at - this.#aheadMs, fire, keepAlive);
  }

  /** Compare the two clocks, unless that was done of late. */
  async compare(store: Pick<Store, "database" | "statement">): Promise<void> {
    if (monotonicMs() - this.#comparedAt < COMPARED_MS) return;
    this.#comparedAt = monotonicMs();
    const before = systemClock.now();
    const [row] = await store.database.query(
      store.statement("clock", "select (extract(epoch from clock_timestamp()) * 1000)::double precision"),
      [],
    );
    const middle = (before + systemClock.now()) / 2;
    this.#aheadMs = Number(row?.[0]) - middle;
  }
}
