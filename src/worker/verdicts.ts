import { serializeError } from "../job/error.ts";
import type { Outcome, RunEnd } from "../job/lifecycle.ts";
import type { Lease, SettleResult, Storage, StoredJob } from "../storage/storage.ts";
import type { Reporter } from "./reporter.ts";
import type { Run } from "./run.ts";
import { isPoison, leaseOf } from "./settle.ts";

/** A run that wrote its completion in a transaction of its handler, and how the handler ended. */
export interface InDoubt {
  readonly run: Run;
  readonly end: RunEnd;
  /** What becomes of the job if the transaction did not commit. */
  readonly outcome: Outcome;
  readonly endedAt: number;
}

/** What the verdicts need around them. */
export interface VerdictsDeps {
  readonly storage: Storage;
  readonly reporter: Reporter;
  /** A transaction has completed this run: nothing is left of it but its lease. */
  committed(run: Run): void;
  failed(error: unknown): Promise<void>;
  /** Whether it is too late for everything. */
  hasEnded(): boolean;
  /** Something is no longer in doubt. */
  decided(): void;
}

/**
 * Finds out what has become of runs that were completed in a transaction. Most have committed, and one look
 * at many of them shows it. The others are settled with what their handlers ended with, one by one: such a
 * settle waits for a transaction that is still open, and must not keep the other jobs of this process waiting.
 */
export class Verdicts {
  readonly #deps: VerdictsDeps;
  /** Ended since the last look. */
  #fresh: InDoubt[] = [];
  /** Not committed when they were looked at. */
  #open: InDoubt[] = [];
  readonly #all = new Set<InDoubt>();
  #looking = false;
  #settling = false;

  constructor(deps: VerdictsDeps) {
    this.#deps = deps;
  }

  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  /** Their leases may still stand. */
  leases(): Lease[] {
    return [...this.#all].map(({ run }) => run.lease);
  }

  add(one: InDoubt): void {
    this.#all.add(one);
    this.#fresh.push(one);
    if (!this.#looking) void this.#look();
  }

  /** What has ended by now is looked at together. */
  async #look(): Promise<void> {
    this.#looking = true;
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#fresh.length > 0 && !this.#deps.hasEnded()) {
      const some = this.#fresh.splice(0);
      try {
        const jobs = await this.#deps.storage.get(some.map(({ run }) => run.id));
        for (const [i, one] of some.entries()) {
          if (isCompletedBy(one, jobs[i])) this.#decide(one, true);
          else this.#open.push(one);
        }
        if (this.#open.length > 0 && !this.#settling) void this.#settleOpen();
      } catch (error) {
        this.#fresh.unshift(...some);
        await this.#deps.failed(error);
      }
    }
    this.#looking = false;
  }

  async #settleOpen(): Promise<void> {
    this.#settling = true;
    const { storage, hasEnded, reporter, failed } = this.#deps;
    for (let one = this.#open.shift(); one !== undefined && !hasEnded(); one = this.#open.shift()) {
      try {
        const result = await settle(storage, one);
        const [job] = await storage.get([one.run.id]);
        const isCompleted = isCompletedBy(one, job);
        if (result === "stale" && !isCompleted) {
          this.#all.delete(one);
          reporter.stale(one.run.job);
          this.#deps.decided();
        } else {
          this.#decide(one, isCompleted);
        }
      } catch (error) {
        // The next one first: this one's transaction may stay open for long.
        this.#open.push(one);
        await failed(error);
      }
    }
    this.#settling = false;
  }

  #decide(one: InDoubt, isCompleted: boolean): void {
    const { reporter, committed, decided } = this.#deps;
    this.#all.delete(one);
    if (isCompleted) {
      committed(one.run);
      reporter.completedIn(one);
    } else {
      reporter.ended(one.run, one.end, one.outcome);
    }
    decided();
  }
}

async function settle(storage: Storage, { run, outcome }: InDoubt): Promise<SettleResult> {
  const settlement = { lease: leaseOf(run.job), outcome, startedAt: run.startedAt };
  try {
    const [result] = await storage.settle([settlement]);
    return result as SettleResult;
  } catch (error) {
    if (!isPoison(error)) throw error;
    const [result] = await storage.settle([
      { ...settlement, outcome: { state: "dead", error: serializeError(error) } },
    ]);
    return result as SettleResult;
  }
}

/** A later run of the job would have another generation, and what is not kept after its completion is gone. */
function isCompletedBy({ run }: InDoubt, job: StoredJob | undefined): boolean {
  const { generation, retention } = run.job;
  if (job === undefined) return retention.completedMs === 0;
  return job.state === "completed" && job.generation === generation;
}
