import type { Timers } from "./timers.ts";
import type { Trouble } from "./trouble.ts";

/** What a worker does besides running jobs, again and again. What fails is done again at its next turn. */
export class Chores {
  readonly #timers: Timers;
  readonly #trouble: Trouble;
  readonly #goesOn: () => boolean;

  /** @param goesOn whether the worker is at work: afterwards nothing is done, and no failure is of interest */
  constructor(timers: Timers, trouble: Trouble, goesOn: () => boolean) {
    this.#timers = timers;
    this.#trouble = trouble;
    this.#goesOn = goesOn;
  }

  /** @param during its name in messages */
  async once(during: string, work: () => Promise<unknown>, againInMs = 0): Promise<void> {
    try {
      await work();
      this.#trouble.over(during);
    } catch (error) {
      if (this.#goesOn()) this.#trouble.report(error, during, againInMs);
    }
  }

  /** @param keepAlive whether the pending timer keeps the process from ending. @default false */
  repeat(during: string, work: () => Promise<unknown>, everyMs: number, keepAlive = false): void {
    const turn = async (): Promise<boolean> => {
      if (this.#goesOn()) await this.once(during, work, everyMs);
      return this.#goesOn();
    };
    this.#timers.repeat(turn, everyMs, keepAlive);
  }
}
