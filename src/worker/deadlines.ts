import type { Clock, Timer } from "../clock.ts";
import type { Run } from "./run.ts";

/**
 * The timeouts of all runs with one timer: a timer per job would cost more than the job.
 * Ends are not told to it; a sweep that finds nobody late arms itself for the next deadline.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #runs: ReadonlySet<Run>;
  readonly #late: (run: Run) => void;
  #armedFor = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(clock: Clock, runs: ReadonlySet<Run>, late: (run: Run) => void) {
    this.#clock = clock;
    this.#runs = runs;
    this.#late = late;
  }

  add(deadline: number): void {
    if (deadline < this.#armedFor) this.#arm(deadline);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #arm(deadline: number): void {
    this.#timer?.cancel();
    this.#armedFor = deadline;
    this.#timer = this.#clock.at(deadline, () => this.#sweep());
  }

  #sweep(): void {
    this.stop();
    const now = this.#clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const run of this.#runs) {
      if (run.timedOut !== undefined) continue;
      if (run.deadline <= now) this.#late(run);
      else if (run.deadline < next) next = run.deadline;
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next);
  }
}
