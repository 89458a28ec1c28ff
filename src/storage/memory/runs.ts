import type { AttemptEntry } from "../../job/job.ts";
import {
  applyOutcome,
  attemptEntry,
  forgottenAttempt,
  heedAsk,
  keepsCheckpoint,
  type RunFacts,
} from "../../job/lifecycle.ts";
import type { Lease, NewJob, Settlement, SettleResult } from "../storage.ts";
import type { JobStore } from "./job-store.ts";
import { dropCheckpoint, type KeptJob, RUNNING } from "./kept-job.ts";
import type { HoldingProcess } from "./processes.ts";

/** Leases, from the claim to the settle. */
export class Runs {
  readonly #store: JobStore;

  constructor(store: JobStore) {
    this.#store = store;
  }

  lease(job: KeptJob, process: HoldingProcess, token: string, now: number): void {
    if (job.spec.limit !== undefined) this.#store.limitKeys.ran(job, 1);
    this.#store.setState(job, RUNNING);
    process.hold(job, token);
    // A marked job is given for a free slot only, so that its start is certain.
    job.started = job.head.marked;
    job.startedAt = now;
    job.claimedBy = process.id;
  }

  recordStarts(starts: readonly Lease[], now: number): void {
    for (const lease of starts) {
      const job = this.standing(lease);
      if (job === undefined || job.started) continue;
      job.started = true;
      job.startedAt = now;
    }
  }

  /** The job of a lease that stands. */
  standing(lease: Lease): KeptJob | undefined {
    const job = this.#store.jobs.get(lease.id);
    return job !== undefined &&
      job.holder !== null &&
      job.token === lease.token &&
      job.head.generation === lease.generation
      ? job
      : undefined;
  }

  settle(settlements: readonly Settlement[], now: number): SettleResult[] {
    this.#store.checkRoom(enqueuedBy(settlements), now);
    return settlements.map((settlement) => this.#settleOne(settlement, now));
  }

  #settleOne({ lease, outcome: decided, startedAt, enqueue }: Settlement, now: number): SettleResult {
    const job = this.standing(lease);
    if (job === undefined) return this.#settledBefore(lease) ? "settled" : "stale";
    const facts: RunFacts = { token: lease.token, startedAt, now };
    const before = job.head;
    const outcome = heedAsk(before, decided);
    const after = applyOutcome(before, job.spec, outcome, facts);
    (job.holder as HoldingProcess).letGo(job);
    const { limit } = job.spec;
    if (limit !== undefined) this.#store.limitKeys.ran(job, -1);
    job.head = after;
    job.settledGeneration = lease.generation;
    if (after.failures > before.failures) {
      addAttempt(job, attemptEntry(before, after, job.claimedBy, facts));
    }
    if (!keepsCheckpoint(outcome.state, job.spec.unique)) dropCheckpoint(job);
    if (outcome.state === "available") this.#store.backToItsPlace(job);
    else this.#store.arrive(job, now);
    this.#store.admit(limit);
    if (enqueue !== undefined) for (const spec of enqueue) this.#store.storeGroup([spec], now);
    return "settled";
  }

  /** Whether this very lease ended its run before: the settle is repeated because its answer was lost. */
  #settledBefore({ id, generation, token }: Lease): boolean {
    const job = this.#store.jobs.get(id);
    return job !== undefined && job.head.settledBy === token && job.settledGeneration === generation;
  }
}

/** What settlements enqueue with them; most do not. */
function enqueuedBy(settlements: readonly Settlement[]): (readonly NewJob[])[] {
  const groups: (readonly NewJob[])[] = [];
  for (const { enqueue } of settlements) if (enqueue !== undefined) groups.push(enqueue);
  return groups;
}

function addAttempt(job: KeptJob, entry: AttemptEntry): void {
  job.attempts ??= [];
  const forgotten = forgottenAttempt(entry.number);
  if (forgotten !== undefined) {
    const index = job.attempts.findIndex(({ number }) => number === forgotten);
    if (index !== -1) job.attempts.splice(index, 1);
  }
  job.attempts.push(entry);
}
