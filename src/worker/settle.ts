import { InvalidValueError } from "../errors.ts";
import { serializeError } from "../job/error.ts";
import type { Outcome } from "../job/lifecycle.ts";
import { limits } from "../job/limits.ts";
import type { ClaimedJob, Lease, Settlement, Storage } from "../storage/storage.ts";

/** A settlement on its way, with its job for the events. */
export interface Pending extends Settlement {
  readonly job: ClaimedJob;
  /** Said for the sake of the lease alone: the run had been settled before. */
  readonly isRepeated?: true;
}

export function leaseOf({ id, generation, token }: ClaimedJob): Lease {
  return { id, generation, token };
}

/** What has ended and is not yet known to the storage: kept and repeated until it has answered. */
export class Settler {
  #waiting: Pending[] = [];
  /** On their way: their leases are still held. */
  #inFlight: readonly Pending[] = [];

  get size(): number {
    return this.#waiting.length;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#inFlight.length === 0;
  }

  add(job: ClaimedJob, outcome: Outcome, startedAt: number): void {
    this.#waiting.push({ job, lease: leaseOf(job), outcome, startedAt });
  }

  /** A transaction has completed this job: the storage hears of it once more, to be done with the lease. */
  addRepeated(job: ClaimedJob, startedAt: number): void {
    this.#waiting.push({
      job,
      lease: leaseOf(job),
      outcome: { state: "completed" },
      startedAt,
      isRepeated: true,
    });
  }

  addAll(settlements: readonly Pending[]): void {
    for (const settlement of settlements) this.#waiting.push(settlement);
  }

  /** The next ones to send. They are in flight until {@link answered} or {@link failed}. */
  take(): readonly Pending[] {
    this.#inFlight = this.#waiting.length > 0 ? this.#waiting.splice(0, limits.enqueueJobs) : [];
    return this.#inFlight;
  }

  answered(): void {
    this.#inFlight = [];
  }

  /** The call failed: what was in flight is sent again, in its order. */
  failed(): void {
    this.#waiting.unshift(...this.#inFlight);
    this.#inFlight = [];
  }

  leases(): Lease[] {
    return [...this.#waiting, ...this.#inFlight].map(({ lease }) => lease);
  }

  /**
   * One settlement cannot be stored. Each goes alone, so that the others are not held up by it; the one
   * that fails by itself ends its job as dead, with the reason.
   */
  async sendEach(storage: Storage): Promise<void> {
    const settlements = this.#inFlight;
    this.#inFlight = [];
    for (const settlement of settlements) {
      try {
        await storage.settle([settlement]);
      } catch (cause) {
        const outcome: Outcome = isPoison(cause)
          ? { state: "dead", error: serializeError(cause) }
          : settlement.outcome;
        this.#waiting.push({ ...settlement, outcome });
      }
    }
  }
}

/** Whether a call failed because of what it was given: repeating it would fail for ever. */
export function isPoison(error: unknown): boolean {
  return error instanceof InvalidValueError;
}
