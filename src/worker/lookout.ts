import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { WorkerEvents } from "./events.ts";
import type { WorkerPlan } from "./options.ts";
import type { Reporter } from "./reporter.ts";
import type { Slots } from "./slots.ts";
import type { Timers } from "./timers.ts";

/** How often a worker looks at what it runs. */
const LOOK_EVERY_MS = 1_000;
/** Names of running jobs in one report. */
const NAMED_MAX = 20;

export interface LookoutDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timers: Timers;
  readonly plan: WorkerPlan;
  readonly reporter: Reporter;
  readonly slots: Slots;
  blocked(about: WorkerEvents["blocked"][0]): void;
  /** Ask the storage whether a run is to be cancelled. */
  askAfterRuns(): void;
}

/** Once a second: late timers tell of a blocked event loop; slow runs; stale read-ahead; asks. */
export class Lookout {
  readonly #deps: LookoutDeps;

  constructor(deps: LookoutDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#look(performance.now());
  }

  #look(expectedAt: number): void {
    const { plan, slots, clock, reporter, timers } = this.#deps;
    const now = performance.now();
    if (now - expectedAt > plan.blockedAfterMs) this.#blocked(Math.round(now - expectedAt));
    const clockNow = clock.now();
    for (const run of slots.runs) {
      if (run.warnedSlow || clockNow - run.startedAt < plan.slowAfterMs) continue;
      run.warnedSlow = true;
      reporter.slow(run);
    }
    slots.releaseAhead(now);
    this.#deps.askAfterRuns();
    timers.once(() => this.#look(now + LOOK_EVERY_MS), LOOK_EVERY_MS);
  }

  #blocked(blockedMs: number): void {
    // What runs in a thread cannot have done it.
    const suspects = [...this.#deps.slots.runs].filter((run) => run.kill === undefined);
    const running = suspects.slice(0, NAMED_MAX).map((run) => run.event);
    this.#deps.blocked({ blockedMs, running });
    const names = [...new Set(running.map(({ name }) => name))].join(", ");
    this.#deps.logger.warn(
      `the event loop stood still for ${blockedMs} ms (running: ${names || "nothing"}): ` +
        "a handler that blocks it for longer than lostAfter can run twice",
      { blockedMs },
    );
  }
}
