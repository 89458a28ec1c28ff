import { type Clock, monotonicMs, systemClock, type Timer } from "../clock.ts";
import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError, StateError } from "../errors.ts";
import { limits } from "../job/limits.ts";
import { instantMs } from "../job/outcome.ts";

/**
 * A clock that stands still until a test moves it, or lets it go by itself.
 *
 * ```ts
 * const clock = new TestClock();
 * clock.at(clock.now() + 60_000, () => console.log("a minute later"));
 * await clock.advance("1m");
 * await clock.scale(3_600); // from now on an hour takes a second
 * ```
 *
 * Timers fire in order of their time, then of their arming, and `now()` is a timer's own time while it
 * fires. After each instant the event loop turns a few times, so that what a timer set off is done, and
 * has armed its own timers, before time goes on. A timer armed for an instant that has passed fires soon
 * by itself, as it does on the machine's clock. A clock that goes by itself never passes a pending timer:
 * when the machine is late, time waits.
 */
export class TestClock implements Clock {
  #now: number;
  /** In order of (at, order): the next one to fire is the first. */
  readonly #timers: PendingTimer[] = [];
  #armed = 0;
  /** Pending timers that keep the process from ending while the clock goes by itself. */
  #keepingAlive = 0;
  /** Moves are made one after the other, in the order of the calls. */
  #moves: Promise<unknown> = Promise.resolve();
  /** A move decides what time it is until it is made. */
  #isMoving = false;
  /** Absent while the clock stands still. */
  #pace: Pace | undefined;
  /** Fires the next timer of a clock that goes by itself. */
  #wake: NodeJS.Timeout | undefined;
  #wakeAt = Number.POSITIVE_INFINITY;

  /**
   * @param start where time begins, a `Date` or epoch ms. @default 2030-01-01T00:00:00Z
   * @throws InvalidOptionError
   */
  constructor(start: Date | number = START_MS) {
    this.#now = toInstant(start, "start");
  }

  now(): number {
    if (this.#pace !== undefined && !this.#isMoving) {
      // Whoever a timer wakes sees that timer's time, however late the machine is.
      const most = this.#timers[0]?.at ?? limits.instantMax;
      this.#now = Math.max(this.#now, Math.min(this.#pace.now(), most, limits.instantMax));
    }
    return this.#now;
  }

  /** A pending timer keeps the process from ending only if it should, and only while the clock goes by itself. */
  at(at: number, fire: () => void, keepAlive = false): Timer {
    if (typeof at !== "number" || Number.isNaN(at)) {
      throw new InvalidOptionError("at", at, "Use an instant in epoch milliseconds.");
    }
    const now = this.now();
    const timer: PendingTimer = { at, order: this.#armed++, fire, keepAlive };
    this.#timers.splice(this.#placeOf(timer), 0, timer);
    if (keepAlive) this.#keepingAlive += 1;
    // Asked again later: time may be set back, or a move may have fired the timer, before its turn comes.
    if (at <= now) setImmediate(() => timer.at <= this.now() && this.#take(timer) && fire());
    this.#setWake();
    return { cancel: () => this.#take(timer) && this.#setWake() };
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
    return this.#moveByHand(async () => {
      const to = toInstant(this.#now + ms, "advance");
      await turnEventLoop();
      await this.#goTo(to);
    });
  }

  /** Move time on to the next pending timer and fire all of that instant; `false` when none is pending. */
  async advanceToNext(): Promise<boolean> {
    return this.#moveByHand(async () => {
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
    return this.#moveByHand(() => this.#jump(at));
  }

  /**
   * Let time go by itself from where it is, as a multiple of real time: `60` makes a minute of a second.
   * It can still be moved by hand, and goes on from there. `0` lets it stand still again.
   *
   * @param factor 0 to 1,000,000
   * @throws InvalidOptionError
   */
  async scale(factor: number): Promise<void> {
    if (typeof factor !== "number" || !(factor >= 0 && factor <= SCALE_MAX)) {
      throw new InvalidOptionError("scale", factor, `Use a number from 0 (stand still) to ${SCALE_MAX}.`);
    }
    await this.#move(async () => {
      this.#pace = factor === 0 ? undefined : paceFrom(this.#now, factor);
    });
  }

  /**
   * From now on, the machine's time: what lies between fires if that is later, and nothing if it is earlier,
   * as with {@link set}.
   */
  async toRealtime(): Promise<void> {
    await this.#move(async () => {
      await this.#jump(systemClock.now());
      this.#pace = REAL_TIME;
    });
  }

  async #jump(at: number): Promise<void> {
    if (at < this.#now) this.#now = at;
    else await this.#goTo(at);
    await turnEventLoop();
  }

  /** A clock that goes by itself goes on from where it was moved. */
  #moveByHand<T>(step: () => Promise<T>): Promise<T> {
    return this.#move(async () => {
      try {
        return await step();
      } finally {
        if (this.#pace !== undefined) this.#pace = paceFrom(this.#now, this.#pace.factor);
      }
    });
  }

  async #move<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#moves.then(async () => {
      this.now();
      this.#isMoving = true;
      try {
        return await step();
      } finally {
        this.#isMoving = false;
        // The pace may be another one now, and the instant to wake at the same.
        this.#clearWake();
        this.#setWake();
      }
    });
    this.#moves = done.catch(() => {});
    return done;
  }

  /** Sees to it that a clock which goes by itself comes to its next timer. */
  #setWake(): void {
    if (this.#isMoving) return;
    const at = this.#timers[0]?.at ?? Number.POSITIVE_INFINITY;
    if (at !== this.#wakeAt || this.#pace === undefined) this.#clearWake();
    if (at === Number.POSITIVE_INFINITY || this.#pace === undefined) return;
    if (this.#wake === undefined) {
      this.#wakeAt = at;
      const ms = Math.ceil((at - this.#pace.now()) / this.#pace.factor);
      this.#wake = setTimeout(
        () => {
          this.#wake = undefined;
          // What a timer throws then is nobody's to catch, as with any timer.
          void this.#move(() => this.#goTo(this.#pace?.now() ?? this.#now));
        },
        Math.max(0, Math.min(ms, TIMEOUT_MS_MAX)),
      );
    }
    if (this.#keepingAlive > 0) this.#wake.ref();
    else this.#wake.unref();
  }

  #clearWake(): void {
    clearTimeout(this.#wake);
    this.#wake = undefined;
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
      this.#take(next);
      next.fire();
    }
  }

  /** Takes a timer out of the pending ones; `false` when it has fired or was cancelled. */
  #take(timer: PendingTimer): boolean {
    const place = this.#placeOf(timer);
    if (this.#timers[place] !== timer) return false;
    this.#timers.splice(place, 1);
    if (timer.keepAlive) this.#keepingAlive -= 1;
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
  readonly keepAlive: boolean;
}

/** How a clock goes by itself. */
interface Pace {
  /** Milliseconds of it in one of real time. */
  readonly factor: number;
  now(): number;
}

function paceFrom(start: number, factor: number): Pace {
  const since = monotonicMs();
  return { factor, now: () => Math.floor(start + (monotonicMs() - since) * factor) };
}

const REAL_TIME: Pace = { factor: 1, now: () => systemClock.now() };

/** A day in less than a tenth of a second: beyond it, moving by hand is what is meant. */
const SCALE_MAX = 1_000_000;

/** Longest delay `setTimeout` can take. What is later is come to in steps. */
const TIMEOUT_MS_MAX = 2_147_483_647;

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
