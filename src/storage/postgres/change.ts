import { type Change, changeHead, type ChangeResult } from "../../job/change.ts";
import { isFinal, type JobHead, type JobId } from "../../job/job.ts";
import { admitFreed } from "./admit.ts";
import type { LaneSettings, LaneTarget } from "../storage.ts";
import { type HeadChange, LOCKED_JOBS, type LockedJob, lockJobs, writeHeads } from "./heads.ts";
import { STATE_NUMBERS } from "./state-number.ts";
import type { Store } from "./store.ts";
import { retakeKeys } from "./unique-keys.ts";
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
    const taken = what.kind === "retry" ? await retakeKeys(tx, store, returning(ids, jobs)) : NOBODY;
    const changes = new Map<JobId, HeadChange>();
    const results = ids.map((id): ChangeResult => {
      const job = jobs.get(id);
      if (job === undefined) return "missing";
      return taken.has(id) ? "conflict" : changeOne(job, what, changes);
    });
    const written = [...changes.values()];
    if (written.length > 0) await writeHeads(tx, store, written);
    if (written.some(({ job }) => job.record.spec.limit !== undefined)) await admitFreed(tx, store);
    return results;
  });
}

const NOBODY: ReadonlySet<JobId> = new Set();

/** Finished jobs whose unique key is held while they live. */
function returning(ids: readonly JobId[], jobs: ReadonlyMap<JobId, LockedJob>): JobId[] {
  return [...new Set(ids)].filter((id) => {
    const { head, spec } = jobs.get(id)?.record ?? {};
    return head !== undefined && isFinal(head.state) && typeof spec?.unique?.while === "string";
  });
}

/** A job that is named twice is changed twice, and written once. */
function changeOne(job: LockedJob, what: Change, changes: Map<JobId, HeadChange>): ChangeResult {
  const { id, head: stored, spec } = job.record;
  const earlier = changes.get(id);
  const head = earlier === undefined ? stored : earlier.after;
  if (head === undefined || isGone(head, job.now)) return "missing";
  const isRunning = job.place === STATE_NUMBERS.running;
  const { result, head: after, remove } = changeHead(head, isRunning, spec, what, job.now);
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
