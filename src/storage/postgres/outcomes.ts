import type { JobId } from "../../job/job.ts";
import { applyOutcome, attemptEntry, heedAsk, type RunFacts } from "../../job/lifecycle.ts";
import type { Lease, NewJob, Settlement, SettleResult } from "../storage.ts";
import type { Queryable } from "./database.ts";
import { admitFreed } from "./admit.ts";
import { mayReplace, storeJobs } from "./enqueue.ts";
import { type HeadChange, type LockedRun, lockRuns, writeHeads } from "./heads.ts";
import { leaseParameters, type Store } from "./store.ts";

/** Settle runs whatever their outcome, together: their jobs are locked, the rules are asked, the answer is written. */
export async function applyOutcomes(
  store: Store,
  settlements: readonly Settlement[],
): Promise<SettleResult[]> {
  if (settlements.length === 0) return [];
  const leases = settlements.map(({ lease }) => lease);
  const results = await store.database.transaction((tx) => settleIn(tx, store, settlements, leases));
  // A lease that does not stand may name a run that goes on under the same token with another generation.
  store.leases.end(leases.filter((_lease, index) => results[index] === "settled"));
  return results;
}

async function settleIn(
  tx: Queryable,
  store: Store,
  settlements: readonly Settlement[],
  leases: readonly Lease[],
): Promise<SettleResult[]> {
  const runs = await lockRuns(tx, store, leases);
  const before = runs.size === settlements.length ? new Set() : await settledBefore(tx, store, leases);
  /** Which lease ended a run in this very batch. */
  const ended = new Map<JobId, Lease>();
  const writing = new Writing(tx, store, unknownTokens(store, leases));
  const results: SettleResult[] = [];
  for (const [index, settlement] of settlements.entries()) {
    const { lease } = settlement;
    const by = ended.get(lease.id);
    const run = runs.get(index);
    if (by !== undefined) results.push(isSame(by, lease) ? "settled" : "stale");
    else if (run === undefined) results.push(before.has(index) ? "settled" : "stale");
    else {
      ended.set(lease.id, lease);
      await writing.add(changeOf(run, settlement), settlement.enqueue ?? []);
      results.push("settled");
    }
  }
  await writing.finish();
  const leavesKeys = [...runs.values()].some(({ record }) => record.spec.limit !== undefined);
  if (leavesKeys || settlements.some(({ enqueue }) => enqueue?.some(mayReplace))) await admitFreed(tx, store);
  return results;
}

/**
 * Writes ends, and the jobs that come with them, in as few statements as their order allows: a job that is
 * enqueued with one end stands before those that become available with the next.
 */
class Writing {
  readonly #tx: Queryable;
  readonly #store: Store;
  readonly #tokens: readonly string[];
  #changes: HeadChange[] = [];
  #jobs: NewJob[] = [];

  constructor(tx: Queryable, store: Store, tokens: readonly string[]) {
    this.#tx = tx;
    this.#store = store;
    this.#tokens = tokens;
  }

  async add(change: HeadChange, jobs: readonly NewJob[]): Promise<void> {
    if (this.#jobs.length > 0 && mattersToNewJobs(change)) await this.#write([]);
    this.#changes.push(change);
    this.#jobs.push(...jobs);
  }

  async finish(): Promise<void> {
    await this.#write(this.#tokens);
  }

  async #write(tokens: readonly string[]): Promise<void> {
    const changes = this.#changes;
    const jobs = this.#jobs;
    this.#changes = [];
    this.#jobs = [];
    if (changes.length > 0) await writeHeads(this.#tx, this.#store, changes, tokens);
    if (jobs.length > 0) await storeJobs(this.#tx, this.#store, jobs);
  }
}

/** Whether it makes a difference that the job changes before or after others are stored. */
function mattersToNewJobs({ job, after, keepsPlace }: HeadChange): boolean {
  if (after?.state === "available") return keepsPlace !== true;
  // An end lets go of what another job may take: its given id, its key.
  const { givenId, unique } = job.record.spec;
  return givenId !== undefined || unique !== undefined;
}

function changeOf(run: LockedRun, { lease, outcome: decided, startedAt }: Settlement): HeadChange {
  const facts: RunFacts = { token: lease.token, startedAt, now: run.now };
  const { head, spec } = run.record;
  const outcome = heedAsk(head, decided);
  const after = applyOutcome(head, spec, outcome, facts);
  return {
    job: run,
    after,
    keepsPlace: outcome.state === "available",
    settledGeneration: lease.generation,
    ...(after.failures > head.failures ? { attempt: attemptEntry(head, after, run.ranBy, facts) } : {}),
  };
}

/** The indexes of leases that ended the last run of their jobs before: their answers were lost. */
async function settledBefore(tx: Queryable, store: Store, leases: readonly Lease[]): Promise<Set<number>> {
  const [ids, generations, tokens, of] = leaseParameters(leases, store.leases);
  const rows = await tx.query(
    store.statement(
      "settled_before",
      "select * from $s.settled_before($1::text::bigint[], $2::text::int[], $3::text::text[], $4::text::int[])",
    ),
    [ids, generations, tokens, of],
  );
  return new Set(rows.map(([ordinal]) => Number(ordinal) - 1));
}

/** Leases that this process does not follow, such as those it took over: they are looked at where they are. */
function unknownTokens(store: Store, leases: readonly Lease[]): string[] {
  const tokens = new Set<string>();
  for (const lease of leases) if (store.leases.positionOf(lease) === 0) tokens.add(lease.token);
  return [...tokens];
}

function isSame(a: Lease, b: Lease): boolean {
  return a.token === b.token && a.generation === b.generation;
}
