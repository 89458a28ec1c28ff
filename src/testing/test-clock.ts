import type { Clock, Timer } from "../clock.ts";
import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError, StateError } from "../errors.ts";
import { instantMs } from "../job/outcome.ts";

/**
 * A clock that stands still until a test moves it.
 *
 * ```ts
 * const clock = new TestClock();
 * clock.at(clock.now() + 60_000, () => console.log("a minute later"));
 * await clock.advance("1m");
 * ```
 *
 * Timers fire in order of their time, then of their arming, and `now()` is a timer's own time while it
 * fires. After each instant the event loop turns a few times, so that what a timer set off is done, and
 * has armed its own timers, before time goes on. A timer armed for an instant that has passed fires soon
 * by itself, as it does on the machine's clock.
 */
export class TestClock implements Clock {
  #now: number;
  /** In order of (at, order): the next one to fire is the first. */
  readonly #timers: PendingTimer[] = [];
  #armed = 0;
  /** Moves are made one after the other, in the order of the calls. */
  #moves: Promise<unknown> = Promise.resolve();

  /**
   * @param start where time begins, a `Date` or epoch ms. @default 2030-01-01T00:00:00Z
   * @throws InvalidOptionError
   */
  constructor(start: Date | number = START_MS) {
    this.#now = toInstant(start, "start");
  }

  now(): number {
    return this.#now;
  }

  /** `keepAlive` has no meaning here: a pending timer of a test clock never keeps a process from ending. */
  at(at: number, fire: () => void, _keepAlive?: boolean): Timer {
    if (typeof at !== "number" || Number.isNaN(at)) {
      throw new InvalidOptionError("at", at, "Use an instant in epoch milliseconds.");
    }
    const timer: PendingTimer = { at, order: this.#armed++, fire };
    this.#timers.splice(this.#placeOf(timer), 0, timer);
    // Asked again later: time may be set back, or a move may have fired the timer, before its turn comes.
    if (at <= this.#now) setImmediate(() => timer.at <= this.#now && this.#take(timer) && fire());
    return { cancel: () => void this.#take(timer) };
  }

  /** Timers armed and neither fired nor cancelled. */
  get pending(): number {
    return this.#timers.length;
  }

  /**
   * Move time on by a span and fire what falls due on the way, timers armed meanwhile included.
   * Rejects with what a timer throws; time then stands at that timer.
   *
   * @throws InvalidOptionError
   */
  async advance(by: Duration): Promise<void> {
    const ms = toMs(by, "advance");
    return this.#move(async () => {
      const to = toInstant(this.#now + ms, "advance");
      await turnEventLoop();
      await this.#goTo(to);
    });
  }

  /** Move time on to the next pending timer and fire all of that instant; `false` when none is pending. */
  async advanceToNext(): Promise<boolean> {
    return this.#move(async () => {
      await turnEventLoop();
      const next = this.#timers[0];
      if (next === undefined || next.at === Number.POSITIVE_INFINITY) return false;
      await this.#goTo(Math.max(next.at, this.#now));
      return true;
    });
  }

  /**
   * Set the time. Forwards fires what is passed, as {@link advance} does; backwards fires nothing, and
   * timers keep their instants.
   *
   * @throws InvalidOptionError
   */
  async set(to: Date | number): Promise<void> {
    const at = toInstant(to, "set");
    return this.#move(async () => {
      if (at < this.#now) this.#now = at;
      else await this.#goTo(at);
      await turnEventLoop();
    });
  }

  async #move<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#moves.then(step);
    this.#moves = done.catch(() => {});
    return done;
  }

  async #goTo(to: number): Promise<void> {
    let rounds = 0;
    for (let next = this.#timers[0]; next !== undefined && next.at <= to; next = this.#timers[0]) {
      rounds = next.at <= this.#now ? rounds + 1 : 0;
      if (rounds > ROUNDS_PER_INSTANT_MAX) {
        throw new StateError(
          `Timers are armed again and again for ${new Date(this.#now).toISOString()}, so time cannot go on. ` +
            "Arm them for a later instant.",
        );
      }
      this.#now = Math.max(this.#now, next.at);
      this.#fireDue();
      await turnEventLoop();
    }
    this.#now = Math.max(this.#now, to);
  }

  /** All timers due at this instant fire in one go: work that waits for them sees one wake, not several. */
  #fireDue(): void {
    const last = this.#armed;
    for (let next = this.#timers[0]; next !== undefined && next.at <= this.#now; next = this.#timers[0]) {
      // Armed by a timer of this very round: its turn is after the event loop has turned.
      if (next.order >= last) return;
      this.#timers.shift();
      next.fire();
    }
  }

  /** Takes a timer out of the pending ones; `false` when it has fired or was cancelled. */
  #take(timer: PendingTimer): boolean {
    const place = this.#placeOf(timer);
    if (this.#timers[place] !== timer) return false;
    this.#timers.splice(place, 1);
    return true;
  }

  #placeOf(timer: PendingTimer): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBefore(this.#timers[middle] as PendingTimer, timer)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

interface PendingTimer {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

/** A round, not a far day: readable in failures, and after every real timestamp in a fixture. */
const START_MS = Date.UTC(2030, 0, 1);

/** Rounds of timers at one instant before it is taken for a loop that would never end. */
const ROUNDS_PER_INSTANT_MAX = 10_000;

/** Turns of the event loop after each instant: enough for a timer → storage call → next timer chain. */
const TURNS = 3;

async function turnEventLoop(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

function isBefore(a: PendingTimer, b: PendingTimer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function toInstant(value: Date | number, option: string): number {
  return instantMs(typeof value === "number" ? new Date(value) : value, option);
}
