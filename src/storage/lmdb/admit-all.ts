import { HOLD_JOBS } from "./enqueue.ts";
import { type KeptJob, readJob } from "./job.ts";
import { digestEnd, HIGHEST_KEY, LOWEST_KEY, readBlocked } from "./keys.ts";
import type { Store } from "./store.ts";

/**
 * After the volatile data were thrown away (a boot, a backup put in place), nothing runs: what ran stands in line
 * again, and blocked jobs of other lanes may wait for a run that will never end. Once, and in holds of the usual
 * size, each limit key is looked at. How far that went is volatile itself.
 */
export async function admitAll(store: Store, now: () => number): Promise<void> {
  for (;;) {
    const at = await store.read(() => store.volatile.meta.get(ADMITTED));
    if (at === DONE) return;
    await store.hold(() => admitSome(store, now()));
  }
}

function admitSome(store: Store, now: number): void {
  const { durable, volatile } = store;
  const digest = volatile.meta.get(ADMITTED);
  if (digest === DONE) return;
  let from = digest === undefined ? LOWEST_KEY : digestEnd(digest);
  let next = DONE;
  const first: KeptJob[] = [];
  while (first.length < HOLD_JOBS) {
    const row = durable.blocked.first(from, HIGHEST_KEY);
    next = row === undefined ? DONE : readBlocked(row.key).digest;
    if (row === undefined) break;
    const job = readJob(durable, store.lanes, Number(row.value));
    if (job !== undefined) first.push(job);
    from = digestEnd(next);
  }
  if (first.length > 0)
    store.writeDurable(now, (ledger) => {
      for (const { spec } of first) ledger.admit(spec.more?.limit);
    });
  store.writeVolatile((leases) => leases.tables.meta.put(ADMITTED, next));
}

const ADMITTED = Buffer.from("admitted");
/** No digest is this short. */
const DONE = "done";
