import { isFinal, type JobHead, type JobId } from "../../job/job.ts";
import { type Change, changeHead, type ChangeResult } from "../../job/lifecycle.ts";
import type { LaneSettings, LaneTarget } from "../storage.ts";
import { type HeadChange, LOCKED_JOBS, type LockedJob, lockJobs, writeHeads } from "./heads.ts";
import { STATE_NUMBERS } from "./migration/first/tables.ts";
import type { Store } from "./store.ts";
import { encodeText } from "./text.ts";

/** Apply one change to some jobs, each for itself. */
export async function change(store: Store, ids: readonly JobId[], what: Change): Promise<ChangeResult[]> {
  const results: ChangeResult[] = [];
  while (results.length < ids.length) {
    const slice = ids.slice(results.length, results.length + LOCKED_JOBS);
    results.push(...(await changeSome(store, slice, what)));
  }
  return results;
}

function changeSome(store: Store, ids: readonly JobId[], what: Change): Promise<ChangeResult[]> {
  return store.database.transaction(async (tx) => {
    const jobs = await lockJobs(tx, store, ids);
    const changes = new Map<JobId, HeadChange>();
    const results = ids.map((id): ChangeResult => {
      const job = jobs.get(id);
      return job === undefined ? "missing" : changeOne(job, what, changes);
    });
    if (changes.size > 0) await writeHeads(tx, store, [...changes.values()]);
    return results;
  });
}

/** A job that is named twice is changed twice, and written once. */
function changeOne(job: LockedJob, what: Change, changes: Map<JobId, HeadChange>): ChangeResult {
  const { id, head: stored, spec } = job.record;
  const earlier = changes.get(id);
  const head = earlier === undefined ? stored : earlier.after;
  if (head === undefined || isGone(head, job.now)) return "missing";
  const isRunning = job.place === STATE_NUMBERS.running;
  const { result, head: after, remove } = changeHead(head, isRunning, spec.retention, what, job.now);
  if (remove === true) changes.set(id, { job });
  else if (after !== undefined) changes.set(id, { job, after, keepsRunning: isRunning });
  return result;
}

/** Cancelled just now and not to be kept. */
function isGone(head: JobHead, now: number): boolean {
  return isFinal(head.state) && head.endedAt === now && head.expiresAt === now;
}

/** Pause and resume. */
export async function configure(
  store: Store,
  { queue, name }: LaneTarget,
  { paused }: LaneSettings,
): Promise<void> {
  if (paused === undefined) return;
  const statement = store.statement("configure", "select $s.configure($1, $2, $3::text::boolean)");
  await store.database.query(statement, [
    encodeText(queue),
    name === undefined ? null : encodeText(name),
    paused,
  ]);
}
