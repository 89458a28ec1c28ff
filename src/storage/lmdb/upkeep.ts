import { promoteHead } from "../../job/lifecycle.ts";
import type { Promoted } from "../storage.ts";
import { forgetBatches, HOLD_JOBS, oldBatches } from "./enqueue.ts";
import { endedKey, HIGHEST_KEY, instantKey, LOWEST_KEY, readInstantKey } from "./keys.ts";
import { admitAll } from "./admit-all.ts";
import { GONE } from "./chunks.ts";
import { firstTick } from "./schedules.ts";
import type { Store } from "./store.ts";
import { endedKeys } from "./unique-keys.ts";

/** Make due jobs available in (runAt, id) order, or blocked. */
export async function promote(store: Store, limit: number, now: () => number): Promise<Promoted> {
  await admitAll(store, now);
  let promoted = 0;
  for (;;) {
    // A look costs others nothing; only when something is due, it is worth the gate.
    const { nextAt, tickAt } = await store.read(() => ({
      nextAt: firstAt(store),
      tickAt: firstTick(store.durable),
    }));
    if (nextAt === undefined || promoted >= limit || nextAt > now()) {
      return {
        promoted,
        ...(nextAt === undefined ? {} : { nextAt }),
        ...(tickAt === undefined ? {} : { tickAt }),
      };
    }
    promoted += await store.hold(() => promoteSome(store, Math.min(limit - promoted, HOLD_JOBS), now()));
  }
}

function firstAt({ durable }: Store): number | undefined {
  const first = durable.scheduled.first(LOWEST_KEY, HIGHEST_KEY);
  return first === undefined ? undefined : readInstantKey(first.key).instant;
}

function promoteSome(store: Store, limit: number, now: number): number {
  const due = store.durable.scheduled.rows(LOWEST_KEY, instantKey(now, Number.MAX_SAFE_INTEGER), limit);
  if (due.length === 0) return 0;
  store.writeDurable(now, (ledger) => {
    for (const { key } of due) {
      const job = ledger.job(readInstantKey(key).whole);
      if (job === undefined) continue;
      const limitKey = job.spec.more?.limit;
      const hasRoom = limitKey === undefined || ledger.limitKeys.hasRoom(limitKey, job.lane.id);
      ledger.move(job, promoteHead(job.record.head, hasRoom));
    }
  });
  return due.length;
}

/** Remove finished jobs past their retention, and forget old batches and keys that only time held. */
export async function prune(store: Store, limit: number, now: () => number): Promise<number> {
  let pruned = 0;
  while (pruned < limit) {
    const isWorth = await store.read(
      () =>
        hasExpired(store, now()) ||
        oldBatches(store.durable, now(), 1).length > 0 ||
        endedKeys(store.durable, now(), 1).length > 0,
    );
    if (!isWorth) break;
    const most = Math.min(limit - pruned, HOLD_JOBS);
    const { jobs, isDone } = await store.hold(() => pruneSome(store, most, now()));
    pruned += jobs;
    if (isDone) break;
  }
  return pruned;
}

function hasExpired({ durable }: Store, now: number): boolean {
  return durable.expiry.first(LOWEST_KEY, expiredEnd(now)) !== undefined;
}

/** Behind every chunk that expires now or did before. */
function expiredEnd(now: number): Uint8Array {
  return instantKey(now, Number.MAX_SAFE_INTEGER);
}

function pruneSome(
  store: Store,
  most: number,
  now: number,
): { readonly jobs: number; readonly isDone: boolean } {
  let jobs = 0;
  let chunks = 0;
  store.writeDurable(now, (ledger) => {
    forgetBatches(ledger, HOLD_JOBS);
    ledger.uniqueKeys.forgetOld(HOLD_JOBS);
    const expired = ledger.tables.expiry.rows(LOWEST_KEY, expiredEnd(now), CHUNKS_MAX);
    for (const { key, value } of expired) {
      chunks++;
      const [state, endedAt] = JSON.parse(value) as [number, number];
      const text = ledger.tables.ended.get(endedKey(state, endedAt, readInstantKey(key).whole)) ?? "[]";
      for (const id of JSON.parse(text) as number[]) {
        if (id === GONE) continue;
        if (jobs >= most) return;
        const job = ledger.job(id);
        if (job === undefined) continue;
        ledger.remove(job, false);
        jobs++;
      }
    }
  });
  return { jobs, isDone: jobs < most && chunks < CHUNKS_MAX };
}

/** Chunks begun in one hold; many of them hold a single job. */
const CHUNKS_MAX = HOLD_JOBS;
