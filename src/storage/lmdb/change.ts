import type { JobId } from "../../job/job.ts";
import { type Change, type ChangeResult, changeHead } from "../../job/lifecycle.ts";
import type { LaneSettings, LaneTarget } from "../storage.ts";
import { HOLD_JOBS } from "./enqueue.ts";
import type { KeptJob } from "./job.ts";
import { placeKey } from "./keys.ts";
import { type Ledger, placeOf, readCounts } from "./ledger.ts";
import { readLease } from "./leases.ts";
import type { Store } from "./store.ts";

/** Apply one change to some jobs, each for itself. */
export async function change(
  store: Store,
  ids: readonly JobId[],
  what: Change,
  now: () => number,
): Promise<ChangeResult[]> {
  const results: ChangeResult[] = [];
  while (results.length < ids.length) {
    const slice = ids.slice(results.length, results.length + HOLD_JOBS);
    const some = await store.hold(() => {
      let changed: ChangeResult[] = [];
      store.writeDurable(now(), (ledger) => {
        changed = slice.map((id) => changeOne(store, ledger, id, what));
      });
      return changed;
    });
    results.push(...some);
  }
  return results;
}

function changeOne(store: Store, ledger: Ledger, id: JobId, what: Change): ChangeResult {
  const job = ledger.job(id);
  if (job === undefined) return "missing";
  const lease = job.record.head.state === "available" ? readLease(store.volatile, id) : undefined;
  const { result, head, remove } = changeHead(
    job.record.head,
    lease !== undefined,
    job.policy.retention,
    what,
    ledger.now,
  );
  if (remove === true) {
    leaveAgain(store, ledger, job);
    ledger.remove(job);
    ledger.news.finished.push(id);
  } else if (head !== undefined && lease !== undefined) {
    ledger.amend(job, { ...job.record, head });
    if (head.cancelAsked !== undefined) {
      ledger.follow.asks.push({ id, lease, generation: head.generation, reason: head.cancelAsked });
    }
  } else if (head !== undefined) {
    leaveAgain(store, ledger, job);
    ledger.move(job, head);
  }
  if (lease !== undefined && result === "asked") ledger.news.asked.add(lease.holder);
  return result;
}

/** A job that was given back is listed among the volatile data too. */
function leaveAgain(store: Store, ledger: Ledger, { lane, record }: KeptJob): void {
  if (record.head.state !== "available") return;
  const place = placeOf(lane, record.head, record.seq);
  const { kind, priority, seq } = place;
  if (store.volatile.again.get(placeKey(kind, lane.id, priority, seq)) !== undefined)
    ledger.follow.gone.push(place);
}

/** Pause and resume. */
export async function configure(
  store: Store,
  { queue, name }: LaneTarget,
  { paused }: LaneSettings,
  now: () => number,
): Promise<void> {
  if (paused === undefined) return;
  await store.hold(() => {
    store.writeDurable(now(), (ledger) => {
      if (name !== undefined) store.lanes.laneFor(ledger.tables, queue, name);
      store.lanes.setPaused(ledger.tables, queue, name, paused);
      if (paused) return;
      for (const lane of store.lanes.select(queue, name)) {
        if (readCounts(ledger.tables, lane.id).ready > 0) ledger.news.available.add(lane);
      }
    });
  });
}
