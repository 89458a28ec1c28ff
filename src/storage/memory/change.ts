import { type Change, changeHead, type ChangeResult } from "../../job/change.ts";
import { keepsCheckpoint } from "../../job/lifecycle.ts";
import type { JobStore } from "./job-store.ts";
import { COMPLETED, dropCheckpoint, type KeptJob } from "./kept-job.ts";

/** What an operator asked for, done to one job. */
export function changeJob(store: JobStore, job: KeptJob, change: Change, now: number): ChangeResult {
  const { result, head, remove } = changeHead(job.head, job.holder !== null, job.spec, change, now);
  if (
    change.kind === "retry" &&
    head !== undefined &&
    job.state >= COMPLETED &&
    !takesKeyAgain(store, job, now)
  ) {
    return "conflict";
  }
  if (remove === true) {
    store.remove(job, now, true);
    store.watchers.finished(job.id);
  } else if (head !== undefined && job.holder !== null) {
    job.head = head;
    if (head.cancelAsked !== undefined) job.holder.asked.add(job);
    store.watchers.asked(job.holder.id);
  } else if (head !== undefined) {
    store.leave(job);
    job.head = head;
    if (head.state === "cancelled" && !keepsCheckpoint("cancelled", job.spec.unique)) dropCheckpoint(job);
    store.arrive(job, now);
    store.admit(job.spec.limit);
  }
  return result;
}

/** Who is run again holds its key again, unless another one does. */
function takesKeyAgain(store: JobStore, { id, spec: { unique } }: KeptJob, now: number): boolean {
  if (unique === undefined || unique.while === null) return true;
  const held = store.uniqueKeys.heldBy(unique, now);
  if (held !== undefined && held.id !== id) return false;
  store.uniqueKeys.takeBack(id, unique);
  return true;
}
