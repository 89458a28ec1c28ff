import { replaceHead } from "../../job/change.ts";
import { isSameLimit } from "../../job/key.ts";
import type { JobId } from "../../job/job.ts";
import { instantOf } from "../../job/lifecycle.ts";
import type { NewJob } from "../storage.ts";
import type { Queryable } from "./database.ts";
import { type HeadChange, lockJobs, writeHeads } from "./heads.ts";
import type { Store } from "./store.ts";

/** Jobs that wait take over what others with their unique keys say, in order. Nobody can move them meanwhile. */
export async function replaceJobs(
  tx: Queryable,
  store: Store,
  replaced: readonly { readonly id: JobId; readonly by: NewJob }[],
  joins: boolean,
): Promise<void> {
  if (replaced.length === 0) return;
  const jobs = await lockJobs(
    tx,
    store,
    replaced.map(({ id }) => id),
    joins,
  );
  const changes = new Map<JobId, HeadChange>();
  for (const { id, by } of replaced) {
    const job = jobs.get(id);
    if (job === undefined) continue;
    const before = changes.get(id);
    const head = before?.after ?? job.record.head;
    const limit = before?.by === undefined ? job.record.spec.limit : before.by.limit;
    const runAt = by.later === undefined ? job.now : instantOf(by.later, job.now);
    const after = replaceHead(head, limit, by, runAt, job.now);
    const keepsPlace =
      before?.keepsPlace !== false &&
      after.state === head.state &&
      after.state !== "scheduled" &&
      after.priority === head.priority &&
      isSameLimit(limit, by.limit);
    changes.set(id, { job, after, keepsPlace, by });
  }
  await writeHeads(tx, store, [...changes.values()]);
}
