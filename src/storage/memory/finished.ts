import { COMPLETED, type KeptJob } from "./kept-job.ts";
import { OrderedJobs, byPlace } from "./ordered-jobs.ts";

/**
 * Finished jobs, each in two orders: by its end, for looking, and by its expiry, for pruning. Both are
 * kept per state: with one retention per state, as is usual, every job goes to the end of its lists.
 */
export class Finished {
  readonly #byEnd = [0, 1, 2].map(() => new OrderedJobs(byPlace));
  readonly #byExpiry = [0, 1, 2].map(() => new OrderedJobs(expiresBefore));
  /** Several jobs end in one millisecond: the number of the end makes the order exact. */
  #ends = 0;

  add(job: KeptJob): void {
    job.at = job.head.endedAt as number;
    job.place = ++this.#ends;
    this.list(job.state).insert(job);
    if (job.head.expiresAt !== undefined) this.#expiry(job).insert(job);
  }

  delete(job: KeptJob): void {
    this.list(job.state).delete(job);
    if (job.head.expiresAt !== undefined) this.#expiry(job).delete(job);
  }

  /** One job of a final state: those that ended last are last. */
  list(state: number): OrderedJobs {
    return this.#byEnd[state - COMPLETED] as OrderedJobs;
  }

  /** A job whose time to be kept is over. */
  anyExpired(now: number): KeptJob | undefined {
    for (const list of this.#byExpiry) {
      const job = list.first();
      if (job !== undefined && (job.head.expiresAt as number) <= now) return job;
    }
    return undefined;
  }

  #expiry(job: KeptJob): OrderedJobs {
    return this.#byExpiry[job.state - COMPLETED] as OrderedJobs;
  }
}

function expiresBefore(a: KeptJob, b: KeptJob): boolean {
  const x = a.head.expiresAt as number;
  const y = b.head.expiresAt as number;
  return x < y || (x === y && a.place < b.place);
}
