import { decide, type Outcome } from "../job/lifecycle.ts";
import type { Ticker } from "../schedule/ticker.ts";
import type { RescuedJob, Settlement, Storage } from "../storage/storage.ts";

/** Jobs handled in one step: more are left for the next, so that nobody waits long for the storage. */
const STEP = 500;

export interface UpkeepDeps {
  readonly storage: Storage;
  readonly random: () => number;
  readonly ticker: Ticker;
  processId(): string;
  nextToken(): string;
  /** Take over the settlements of rescued jobs: they are repeated until the storage has answered. */
  settle(settlements: readonly (Settlement & { job: RescuedJob })[]): void;
  rescued(job: RescuedJob, outcome: Outcome): void;
  /** The call under this token failed, and may have moved leases all the same. */
  doubtful(token: string): void;
}

/**
 * What must be done again and again, by every process and at any time: all of it is idempotent, so nobody leads.
 */
export class Upkeep {
  readonly #deps: UpkeepDeps;

  constructor(deps: UpkeepDeps) {
    this.#deps = deps;
  }

  /** Due jobs become available, and due schedules make theirs. Answers how many, and when something is due next. */
  async promote(): Promise<{ promoted: number; nextAt: number | undefined }> {
    const { storage, ticker } = this.#deps;
    const { promoted, nextAt, tickAt } = await storage.promote(STEP);
    if (tickAt === undefined || tickAt > storage.clock.now()) {
      return { promoted, nextAt: least(nextAt, tickAt) };
    }
    const ticks = await ticker.tick();
    return { promoted: promoted + ticks.made, nextAt: least(nextAt, ticks.nextAt) };
  }

  /** Recover the jobs of lost processes. Answers how many. */
  async rescue(): Promise<number> {
    const { storage, random } = this.#deps;
    const processId = this.#deps.processId();
    const token = this.#deps.nextToken();
    let jobs: RescuedJob[];
    try {
      jobs = await storage.rescue({ processId, token, limit: STEP });
    } catch (error) {
      if (processId === this.#deps.processId()) this.#deps.doubtful(token);
      throw error;
    }
    if (jobs.length === 0) return 0;
    const settlements = jobs.map((job) => {
      const end = { kind: "lost", processId: job.lostProcessId, started: job.started } as const;
      const outcome = decide(job, end, random());
      this.#deps.rescued(job, outcome);
      const { id, generation } = job;
      return { job, lease: { id, generation, token: job.token }, outcome, startedAt: job.startedAt };
    });
    this.#deps.settle(settlements);
    return jobs.length;
  }

  /** Remove finished jobs past their retention, step by step, leaving room for other work between. */
  async prune(): Promise<number> {
    let pruned = 0;
    for (;;) {
      const step = await this.#deps.storage.prune(STEP);
      pruned += step;
      if (step < STEP) return pruned;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}
