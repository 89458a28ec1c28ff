import assert from "node:assert/strict";
import { isFinal, JOB_STATES, type JobHead } from "../../src/job/job.ts";
import { limits } from "../../src/job/limits.ts";
import type { StoredJob } from "../../src/storage/storage.ts";
import { counted, laneInfos, listed, processInfos, storedJob } from "./look.ts";
import type { Held, ModelJob } from "./model-job.ts";
import type { Pair } from "./pair.ts";

/** Everything that can be seen of the engine equals what the model says. */
export async function compareState(pair: Pair): Promise<void> {
  const { storage, model } = pair;
  const ids = pair.knownIds;
  const jobs = await storage.get(ids.map((id) => pair.real(id)));
  assert.equal(jobs.length, ids.length, "get() answers one entry for each id.");
  for (const [index, id] of ids.entries()) {
    const job = jobs[index];
    const expected = model.find(id);
    same(job && pair.fromReal(job), expected && storedOnce(expected), `get() of job ${id}`);
  }
  for (const state of JOB_STATES) {
    const page = await storage.list({ state, limit: limits.listPage });
    assert.equal(page.next, undefined, `list() of ${page.jobs.length} ${state} jobs has no further page.`);
    const order = inOrder(page.jobs.map((job) => pair.fromReal(job))).map((job) => job.id);
    const expected = listed(model, { state }).map((job) => job.id);
    same(order, expected, `ids of the ${state} jobs in order`);
    const count = { n: counted(model, { state }), exact: true };
    same(await storage.count({ state }), count, `count() of ${state} jobs`);
  }
  same(await storage.count({}), { n: counted(model, {}), exact: true }, "count() of all jobs");
  const lanes = await storage.lanes();
  const pausedQueues = lanes.pausedQueues.toSorted();
  same({ ...lanes, pausedQueues }, laneInfos(model), "lanes()");
  for (const job of model.jobs) {
    if (job.attempts.length === 0 && job.id % 8 !== 0) continue;
    same(await storage.attempts(pair.real(job.id)), job.attempts, `attempts() of job ${job.id}`);
  }
  const processes = (await storage.processes()).filter((one) => !one.lost || one.running > 0);
  same(byId(processes), byId(processInfos(model)), "processes()");
}

/** Heads are replaced and never changed, so that a job is put together anew only after something became of it. */
function storedOnce(job: ModelJob): StoredJob {
  const known = STORED.get(job.head);
  if (known !== undefined && known.held === job.held) return known.stored;
  const stored = storedJob(job);
  STORED.set(job.head, { held: job.held, stored });
  return stored;
}

const STORED: WeakMap<JobHead, { held: Held | undefined; stored: StoredJob }> = new WeakMap();

/** Equal as data: the order of keys and keys with the value `undefined` mean nothing. */
export function same(actual: unknown, expected: unknown, what: string): void {
  if (areAlike(actual, expected)) return;
  assert.deepEqual(withoutGaps(actual), withoutGaps(expected), `${what}: engine (+) and model (-) differ.`);
  assert.fail(`${what}: engine and model differ in a way that does not print.`);
}

/** Finished jobs of one millisecond have no order of their own: they stand by id. All others stay as they are. */
export function inOrder(jobs: readonly StoredJob[]): StoredJob[] {
  let group = 0;
  const grouped = jobs.map((job, at) => {
    const before = jobs[at - 1];
    if (before === undefined || !isFinal(job.state) || before.endedAt !== job.endedAt) group += 1;
    return { job, group };
  });
  return grouped.toSorted((a, b) => a.group - b.group || a.job.id - b.job.id).map(({ job }) => job);
}

export function byId<T extends { readonly id: string | number }>(values: readonly T[]): T[] {
  return values.toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

function areAlike(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key in left) if (!areAlike(left[key], right[key])) return false;
  for (const key in right) if (right[key] !== undefined && left[key] === undefined) return false;
  return !Array.isArray(a) || a.length === (b as unknown[]).length;
}

function withoutGaps(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
