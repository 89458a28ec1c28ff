import assert from "node:assert/strict";
import { isFinal, JOB_STATES, type JobHead, type JobSpec } from "../../src/job/job.ts";
import { limits } from "../../src/job/limits.ts";
import type { HeldKey, StoredJob } from "../../src/storage/storage.ts";
import { SCOPES } from "./command/draft.ts";
import { isLong } from "../support/size.ts";
import { counted, laneInfos, listed, processInfos, storedJob } from "./look.ts";
import type { Held, ModelJob } from "./model-job.ts";
import type { Pair } from "./pair.ts";

/**
 * Everything that can be seen of the engine equals what the model says.
 *
 * @param isWhole asks also what other answers show already, or what nothing has touched since it was last looked at
 */
export async function compareState(
  pair: Pair,
  isWhole: boolean = isLong || pair.steps % 4 === 0,
): Promise<void> {
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
    // The lanes have the same counts.
    if (!isWhole) continue;
    const count = { n: counted(model, { state }), exact: true };
    same(await storage.count({ state }), count, `count() of ${state} jobs`);
  }
  same(await storage.count({}), { n: counted(model, {}), exact: true }, "count() of all jobs");
  model.uniqueKeys.check();
  model.limitKeys.check();
  if (isWhole) await compareBeside(pair);
  const lanes = await storage.lanes();
  const pausedQueues = lanes.pausedQueues.toSorted();
  same({ ...lanes, pausedQueues }, laneInfos(model), "lanes()");
  for (const job of model.jobs) {
    if (job.attempts.length === 0 && job.id % 8 !== 0) continue;
    if (!isWhole && ATTEMPTS.get(job) === job.attempts) continue;
    ATTEMPTS.set(job, job.attempts);
    same(await storage.attempts(pair.real(job.id)), job.attempts, `attempts() of job ${job.id}`);
  }
  const processes = (await storage.processes()).filter((one) => !one.lost || one.running > 0);
  same(byId(processes), byId(processInfos(model)), "processes()");
}

/** What is kept beside jobs: unique keys, schedules, logs and statistics. */
async function compareBeside(pair: Pair): Promise<void> {
  const { storage, model } = pair;
  for (const scope of SCOPES) await compareKeys(pair, scope, limits.listPage);
  const schedules = await storage.schedules();
  same(byKey(schedules.map((one) => pair.fromRealSchedule(one))), byKey(model.schedules.rows), "schedules()");
  same(await storage.stats({}), model.tally.stats({}), "stats()");
  for (const { id, logs } of model.jobs) {
    if (logs.length > 0 || id % 16 === 0)
      same(await storage.logs(pair.real(id)), logs, `logs() of job ${id}`);
  }
}

/** The keys of a scope, in pages of at most so many. */
export async function compareKeys(pair: Pair, scope: string, limit: number): Promise<void> {
  const keys: HeldKey[] = [];
  let after: string | undefined;
  do {
    const page = await pair.storage.keys({ scope, limit, ...(after === undefined ? {} : { after }) });
    assert.ok(page.keys.length <= limit, `A page of ${limit} holds ${page.keys.length} keys.`);
    keys.push(...page.keys);
    after = page.next;
  } while (after !== undefined);
  // Whether a time that is over is still told is nobody's business.
  const told = keys.map(({ key, id, until }) => ({
    ...{ key, id: pair.modelId(id) },
    ...(until === undefined || (until !== null && until <= pair.model.now) ? {} : { until }),
  }));
  same(byKey(told), pair.model.uniqueKeys.held(scope), `keys() of "${scope}"`);
}

export function byKey<T extends { readonly key: string }>(values: readonly T[]): T[] {
  return values.toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

/** Heads are replaced and never changed, so that a job is put together anew only after something became of it. */
function storedOnce(job: ModelJob): StoredJob {
  const known = STORED.get(job.head);
  if (known !== undefined && known.held === job.held && known.spec === job.spec) return known.stored;
  const stored = storedJob(job);
  STORED.set(job.head, { held: job.held, spec: job.spec, stored });
  return stored;
}

/** The attempts of a job as they were compared last: they are replaced with each further one. */
const ATTEMPTS: WeakMap<ModelJob, ModelJob["attempts"]> = new WeakMap();

const STORED: WeakMap<JobHead, { held: Held | undefined; spec: JobSpec; stored: StoredJob }> = new WeakMap();

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
