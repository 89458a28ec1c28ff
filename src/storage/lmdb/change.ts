import { type Change, changeHead, type ChangeResult } from "../../job/change.ts";
import { isFinal, type JobId } from "../../job/job.ts";
import type { LaneSettings, LaneTarget } from "../storage.ts";
import { readCounts } from "./counts.ts";
import { HOLD_JOBS } from "./enqueue.ts";
import { type KeptJob, rulesOf } from "./job.ts";
import type { Ledger } from "./ledger.ts";
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
    rulesOf(job),
    what,
    ledger.now,
  );
  if (what.kind === "retry" && head !== undefined && !takesKeyAgain(ledger, job)) return "conflict";
  if (remove === true) {
    ledger.leaveAgain(job);
    ledger.remove(job, true);
    ledger.admit(job.spec.more?.limit);
    ledger.news.finished.push(id);
  } else if (head !== undefined && lease !== undefined) {
    ledger.amend(job, { ...job.record, head });
    if (head.cancelAsked !== undefined) {
      ledger.follow.asks.push({ id, lease, generation: head.generation, reason: head.cancelAsked });
    }
  } else if (head !== undefined) {
    ledger.leaveAgain(job);
    ledger.move(job, head);
    ledger.admit(job.spec.more?.limit);
  }
  if (lease !== undefined && result === "asked") ledger.news.asked.add(lease.holder);
  return result;
}

/** Who is run again holds its key again, unless another one does. */
function takesKeyAgain(ledger: Ledger, { id, spec, record }: KeptJob): boolean {
  const unique = spec.more?.unique;
  if (unique === undefined || unique.while === null || !isFinal(record.head.state)) return true;
  return ledger.uniqueKeys.takeBack(id, unique);
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
