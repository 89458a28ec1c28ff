/** The end of the time that a call may take, on the machine's own clock. */
export class Deadline {
  readonly ms: number;
  readonly #end: number;

  constructor(ms: number) {
    this.ms = ms;
    this.#end = performance.now() + ms;
  }

  /** Time that is left, never less than 0. */
  get leftMs(): number {
    return Math.max(0, this.#end - performance.now());
  }

  /** The same, or an earlier end. */
  atMost(ms: number): Deadline {
    return ms < this.leftMs ? new Deadline(ms) : this;
  }
}

/** The pause before a repetition: it doubles from `first` to `max`, and half of it is chance. */
export function pauseMs(tries: number, first: number, max: number, random: () => number): number {
  return Math.min(max, first * 2 ** Math.min(tries - 1, 30)) * (0.5 + 0.5 * random());
}
