import assert from "node:assert/strict";
import type { JobId } from "../../job/job.ts";
import type { LimitKey, UniqueKey } from "../../job/key.ts";
import { limits } from "../../job/limits.ts";
import type { HeldKey, NewJob, StoredJob } from "../../storage/storage.ts";
import { only, type Stage } from "./stage.ts";

/** A job that holds the key `k` of definition `a` until it ends, unless told otherwise. */
export function withKey(key: Partial<UniqueKey> = {}, more: Partial<NewJob> = {}): Partial<NewJob> {
  return { ...more, unique: { scope: "a", key: "k", while: "live", onConflict: "keep", ...key } };
}

/** A job of which `concurrency` run at a time, of key `l`. */
export function withLimit(
  concurrency: number,
  more: Partial<NewJob> = {},
  key: Partial<LimitKey> = {},
): Partial<NewJob> {
  return { ...more, limit: { scope: "a", key: "l", concurrency, ...key } };
}

/** Enqueue one job that its key may keep out: what became of it. */
export async function offer(stage: Stage, job: Partial<NewJob>): Promise<[status: string, id: JobId]> {
  const { status, id } = only(await stage.enqueueGroup(job));
  return [status, id];
}

/** Store jobs and let in what may come in. */
export async function enqueueAndPromote(stage: Stage, ...jobs: Partial<NewJob>[]): Promise<JobId[]> {
  const ids = await stage.enqueue(...jobs);
  assert.equal((await stage.storage.promote(limits.listPage)).promoted, jobs.length);
  return ids;
}

/** The keys of a scope that are held, in order of their names, page by page. */
export async function heldKeys(stage: Stage, scope: string = "a", limit: number = 100): Promise<HeldKey[]> {
  const keys: HeldKey[] = [];
  for (let after: string | undefined, page = 0; ; page++) {
    assert.ok(page < 1_000, "paging does not come to an end");
    const answer = await stage.storage.keys({ scope, limit, ...(after === undefined ? {} : { after }) });
    assert.ok(answer.keys.length <= limit, "a page is longer than its limit");
    keys.push(...answer.keys);
    if (answer.next === undefined) break;
    after = answer.next;
  }
  return keys.sort((x, y) => (x.key < y.key ? -1 : 1));
}

/**
 * What must hold of limit keys after every call: no more run than may, and where some are blocked in a lane, as many
 * of the lane stand in line or run as may. For keys whose jobs all say the same concurrency.
 */
export async function checkLimits(stage: Stage): Promise<void> {
  const [running, ready, blocked] = await Promise.all(
    (["running", "available", "blocked"] as const).map(async (state) => {
      const ids = await stage.listIds({ state });
      return (await stage.storage.get(ids)).filter((job) => job?.limit !== undefined) as StoredJob[];
    }),
  );
  assert.ok(running !== undefined && ready !== undefined && blocked !== undefined);
  const runningOfKey = countBy(running, keyOf);
  for (const job of running) {
    const n = runningOfKey.get(keyOf(job)) ?? 0;
    assert.ok(n <= concurrencyOf(job), `${n} jobs of a key run, and ${concurrencyOf(job)} may`);
  }
  const readyInLane = countBy(ready, laneOf);
  for (const job of blocked) {
    const n = (runningOfKey.get(keyOf(job)) ?? 0) + (readyInLane.get(laneOf(job)) ?? 0);
    assert.ok(n >= concurrencyOf(job), `job ${job.id} is blocked while ${n} of its key run or stand in line`);
  }
}

function countBy(jobs: readonly StoredJob[], name: (job: StoredJob) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const job of jobs) counts.set(name(job), (counts.get(name(job)) ?? 0) + 1);
  return counts;
}

function keyOf({ limit }: StoredJob): string {
  return JSON.stringify([limit?.scope, limit?.key]);
}

function laneOf(job: StoredJob): string {
  return JSON.stringify([keyOf(job), job.queue, job.name]);
}

function concurrencyOf({ limit }: StoredJob): number {
  return limit?.concurrency ?? 0;
}
