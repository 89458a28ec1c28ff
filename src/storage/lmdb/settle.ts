import { applyOutcome, attemptEntry, heedAsk, type RunFacts } from "../../job/lifecycle.ts";
import type { Lease, Settlement, SettleResult } from "../storage.ts";
import { HOLD_JOBS } from "./enqueue.ts";
import { rulesOf } from "./job.ts";
import type { Ledger } from "./ledger.ts";
import { standing } from "./leases.ts";
import { wholeKey } from "./keys.ts";
import { placeOf } from "./place.ts";
import { decodeHead } from "./records.ts";
import type { Store } from "./store.ts";
import { storeGroup } from "./store-group.ts";

/**
 * Apply outcomes, in as many holds of the gate as their number asks for.
 *
 * @param last what to do in the last of these holds, after the outcomes
 */
export async function settle(
  store: Store,
  settlements: readonly Settlement[],
  now: () => number,
  last: () => void = () => {},
): Promise<SettleResult[]> {
  const results: SettleResult[] = [];
  do {
    const slice = sliceFrom(settlements, results.length);
    const isLast = results.length + slice.length === settlements.length;
    const some = await store.hold(() => {
      const settled = settleSlice(store, slice, now());
      if (isLast) last();
      return settled;
    });
    results.push(...some);
  } while (results.length < settlements.length);
  return results;
}

function sliceFrom(settlements: readonly Settlement[], start: number): readonly Settlement[] {
  let jobs = 0;
  let end = start;
  for (; end < settlements.length; end++) {
    jobs += 1 + (settlements[end]?.enqueue?.length ?? 0);
    if (jobs > HOLD_JOBS && end > start) break;
  }
  return settlements.slice(start, end);
}

/** Inside the gate. */
function settleSlice(store: Store, settlements: readonly Settlement[], now: number): SettleResult[] {
  // Nothing to change means nothing to commit: late answers must not cost a sync.
  if (!settlements.some(({ lease }) => standing(store.volatile, lease) !== undefined)) {
    return settlements.map(({ lease }) => (isSettledBefore(store, lease) ? "settled" : "stale"));
  }
  let results: SettleResult[] = [];
  store.writeDurable(now, (ledger) => {
    results = settlements.map((settlement) => settleOne(store, ledger, settlement, now));
  });
  return results;
}

function settleOne(store: Store, ledger: Ledger, settlement: Settlement, now: number): SettleResult {
  const { lease, startedAt, enqueue } = settlement;
  const stands = ledger.follow.drops.has(lease.id) ? undefined : standing(store.volatile, lease);
  if (stands === undefined) return isSettledBefore(store, lease) ? "settled" : "stale";
  const job = ledger.runningJob(lease.id, lease.generation);
  // The lease outlived its job: only damage can bring that about, and then the lease is worth nothing.
  if (job === undefined) return "stale";
  const facts: RunFacts = { token: lease.token, startedAt, now };
  const before = job.record.head;
  const outcome = heedAsk(before, settlement.outcome);
  const after = applyOutcome(before, rulesOf(job), outcome, facts);
  ledger.drop(lease.id, stands);
  if (after.failures > before.failures)
    ledger.addAttempt(job.id, attemptEntry(before, after, stands.claimedBy, facts));
  const keepsPlace = outcome.state === "available";
  ledger.move(job, after, { keepsPlace, settledGeneration: lease.generation });
  if (keepsPlace) ledger.follow.again.push(placeOf(job.lane, after, job.record.seq));
  ledger.admit(job.spec.more?.limit);
  for (const spec of enqueue ?? []) storeGroup(ledger, [spec]);
  return "settled";
}

/** Whether this very lease ended its run before: the settle is repeated because its answer was lost. */
function isSettledBefore({ durable }: Store, { id, generation, token }: Lease): boolean {
  const text = durable.head.get(wholeKey(id));
  if (text === undefined) return false;
  const { head, settledGeneration } = decodeHead(text);
  return head.settledBy === token && settledGeneration === generation;
}
