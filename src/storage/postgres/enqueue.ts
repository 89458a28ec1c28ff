import type { JobId } from "../../job/job.ts";
import type { EnqueueResult, GroupResult, NewJob } from "../storage.ts";
import { admitFreed } from "./admit.ts";
import type { Queryable } from "./database.ts";
import { encodeExtra } from "./extra.ts";
import { judge } from "./judge.ts";
import { keepGiven, takeGiven } from "./given-ids.ts";
import { encodePolicy, encodeTags } from "./record.ts";
import { replaceJobs } from "./replace.ts";
import { prompt, type Store } from "./store.ts";
import { encodeText } from "./text.ts";
import { keepKeys, takeKeys } from "./unique-keys.ts";

/** All that one transaction of a user stores bears the same instant, whatever it does in between. */
export const TRANSACTION_NOW = "floor(extract(epoch from transaction_timestamp()) * 1000)::float8";

/** Store groups of jobs, in one statement when no given id and no unique key is to be looked at. */
export async function enqueue(
  store: Store,
  groups: readonly (readonly NewJob[])[],
  batchId: string | undefined,
): Promise<GroupResult[]> {
  if (!groups.some((group) => group.some(isChecked))) {
    return enqueuePlain(prompt(store), store, groups, batchId);
  }
  return store.database.transaction(
    async (tx) => {
      const results = await enqueueChecked(tx, store, groups, batchId, false);
      if (groups.some((group) => group.some(mayReplace))) await admitFreed(tx, store);
      return results;
    },
    { deadlineMs: store.promptMs },
  );
}

/**
 * As {@link enqueue}, as part of a transaction. Where that is ours, blocked jobs are let in at its end by whoever
 * made it: a job that is replaced may have left its place.
 *
 * @param joins whether the transaction is somebody else's
 */
export async function enqueueIn(
  tx: Queryable,
  store: Store,
  groups: readonly (readonly NewJob[])[],
  joins = false,
): Promise<GroupResult[]> {
  return groups.some((group) => group.some(isChecked))
    ? enqueueChecked(tx, store, groups, undefined, joins)
    : enqueuePlain(tx, store, groups, undefined, joins);
}

function isChecked({ givenId, unique }: NewJob): boolean {
  return givenId !== undefined || unique !== undefined;
}

/** Whether a job that waits may be moved because of this one. */
export function mayReplace({ unique }: NewJob): boolean {
  return unique?.onConflict === "replace";
}

/** Store jobs with a settle: whose given id exists, or whose key is held, is not stored. */
export async function storeJobs(
  tx: Queryable,
  store: Store,
  jobs: readonly NewJob[],
): Promise<EnqueueResult[]> {
  // One group for each job: then a refusal is that job's alone.
  const results = await enqueueIn(
    tx,
    store,
    jobs.map((job) => [job]),
  );
  return results.map((group) =>
    group.ok ? (group.jobs[0] as EnqueueResult) : { status: "existing", id: group.refusal.existing },
  );
}

// ── Without a look at what is there ──────────────────────────────────────────

async function enqueuePlain(
  on: Queryable,
  store: Store,
  groups: readonly (readonly NewJob[])[],
  batchId: string | undefined,
  joins = false,
): Promise<GroupResult[]> {
  const jobs = groups.length === 1 ? (groups[0] as readonly NewJob[]) : groups.flat();
  const ids = await insert(on, store, jobs, batchId ?? null, joins);
  let at = 0;
  return groups.map((group) => ({
    ok: true,
    jobs: group.map(() => ({ status: "created", id: ids[at++] as JobId })),
  }));
}

/** Answers the ids in order. */
async function insert(
  on: Queryable,
  store: Store,
  jobs: readonly NewJob[],
  batchId: string | null,
  joins: boolean,
): Promise<JobId[]> {
  const [only] = jobs;
  if (!joins && jobs.length === 1 && only?.givenId === undefined && !hasExtra(only as NewJob)) {
    return [await insertOne(on, store, only as NewJob, batchId)];
  }
  const { headers, payloads, given } = segmentsOf(jobs);
  const statement = joins
    ? store.statement(
        "enqueue_joined",
        `select $s.enqueue_batch($1::text, coalesce($2::text::float8, ${TRANSACTION_NOW}), $3::text::json, $4::text::json, $5::text::json, true)`,
      )
    : store.statement(
        "enqueue",
        "select $s.enqueue_batch($1::text, $2::text::float8, $3::text::json, $4::text::json, $5::text::json, false)",
      );
  const values = [batchId === null ? null : encodeText(batchId), store.now(), headers, payloads, given];
  const [row] = await on.query(statement, values);
  return idsOf(row?.[0] ?? "");
}

async function insertOne(on: Queryable, store: Store, job: NewJob, batchId: string | null): Promise<JobId> {
  const { id, text } = encodePolicy(job);
  const { later } = job;
  const statement = store.statement(
    "enqueue_one",
    "select $s.enqueue_one($1::text, $2::text::float8, $3::text, $4::text, $5::text::smallint, $6::text::bigint, " +
      "$7::text, $8::text::float8, $9::text, $10::text::float8, $11::text::float8, $12::text)",
  );
  const [row] = await on.query(statement, [
    batchId === null ? null : encodeText(batchId),
    store.now(),
    encodeText(job.queue),
    encodeText(job.name),
    job.priority,
    id,
    text,
    job.retention.completedMs,
    encodeTags(job.tags),
    later !== undefined && "delayMs" in later ? later.delayMs : null,
    later !== undefined && "at" in later ? later.at : null,
    encodeText(job.payload),
  ]);
  return idsOf(row?.[0] ?? "")[0] as JobId;
}

/** Runs of jobs that differ in nothing but payload and given id: what they share travels once. */
function segmentsOf(jobs: readonly NewJob[]): { headers: string; payloads: string; given: string } {
  const headers: string[] = [];
  const payloads: string[] = [];
  const given: string[] = [];
  for (let start = 0; start < jobs.length;) {
    const first = jobs[start] as NewJob;
    let end = start + 1;
    while (end < jobs.length && isAlike(first, jobs[end] as NewJob)) end += 1;
    const run = start === 0 && end === jobs.length ? jobs : jobs.slice(start, end);
    headers.push(headerOf(first, run));
    payloads.push(JSON.stringify(run.map(({ payload }) => encodeText(payload))));
    given.push(
      run.every(({ givenId }) => givenId === undefined)
        ? "null"
        : JSON.stringify(run.map(({ givenId }) => (givenId === undefined ? null : encodeText(givenId)))),
    );
    start = end;
  }
  return { headers: `[${headers.join()}]`, payloads: `[${payloads.join()}]`, given: `[${given.join()}]` };
}

function headerOf(job: NewJob, run: readonly NewJob[]): string {
  const { id, text } = encodePolicy(job);
  const tags = encodeTags(job.tags);
  const { later } = job;
  return JSON.stringify({
    q: encodeText(job.queue),
    n: encodeText(job.name),
    p: job.priority,
    o: id,
    O: text,
    k: job.retention.completedMs,
    ...(tags === null ? {} : { t: tags }),
    ...(later === undefined ? {} : "at" in later ? { a: later.at } : { d: later.delayMs }),
    ...(hasExtra(job) ? { x: run.map(extraOf) } : {}),
    ...(job.limit === undefined ? {} : { l: 1 }),
  });
}

function hasExtra({ unique, limit, trace, tickAt }: NewJob): boolean {
  return (unique ?? limit ?? trace ?? tickAt) !== undefined;
}

function extraOf(job: NewJob): readonly (string | number | null)[] {
  const extra = encodeExtra(job);
  return [extra?.text ?? null, extra?.keyId ?? null, extra?.limitId ?? null, extra?.concurrency ?? null];
}

/** Options that were resolved together are the same objects; alike ones that are not cost a header more. */
function isAlike(a: NewJob, b: NewJob): boolean {
  return (
    a.name === b.name &&
    a.queue === b.queue &&
    a.priority === b.priority &&
    a.maxRetries === b.maxRetries &&
    a.timeoutMs === b.timeoutMs &&
    hasExtra(a) === hasExtra(b) &&
    (a.limit === undefined) === (b.limit === undefined) &&
    (a.later === b.later ||
      (a.later !== undefined && b.later !== undefined && isSameTime(a.later, b.later))) &&
    (a.backoff === b.backoff || JSON.stringify(a.backoff) === JSON.stringify(b.backoff)) &&
    (a.retention === b.retention || isSameRetention(a.retention, b.retention)) &&
    (a.tags === b.tags ||
      (a.tags.length === b.tags.length && a.tags.every((tag, index) => tag === b.tags[index])))
  );
}

function isSameTime(a: NonNullable<NewJob["later"]>, b: NonNullable<NewJob["later"]>): boolean {
  return "at" in a ? "at" in b && a.at === b.at : "delayMs" in b && a.delayMs === b.delayMs;
}

function isSameRetention(a: NewJob["retention"], b: NewJob["retention"]): boolean {
  return a.completedMs === b.completedMs && a.cancelledMs === b.cancelledMs && a.deadMs === b.deadMs;
}

/** From `first-last,first-last`. */
function idsOf(text: string): JobId[] {
  const ids: JobId[] = [];
  if (text === "") return ids;
  for (const run of text.split(",")) {
    const dash = run.indexOf("-");
    const last = Number(run.slice(dash + 1));
    for (let id = Number(run.slice(0, dash)); id <= last; id += 1) ids.push(id);
  }
  return ids;
}

// ── With a look at what is there ─────────────────────────────────────────────

/** In the order of locks: given ids, then the holders of unique keys, then the keys. */
async function enqueueChecked(
  tx: Queryable,
  store: Store,
  groups: readonly (readonly NewJob[])[],
  batchId: string | undefined,
  joins: boolean,
): Promise<GroupResult[]> {
  const jobs = groups.flat();
  const given = await takeGiven(tx, store, jobs, batchId);
  if (typeof given === "string") return JSON.parse(given) as GroupResult[];
  const keys = await takeKeys(tx, store, jobs, batchId);
  if (typeof keys === "string") return JSON.parse(keys) as GroupResult[];

  const { created, replaced, answer } = judge(groups, given.taken, keys);
  const ids: JobId[] = [];
  const storeUpTo = async (n: number): Promise<void> => {
    const some = created.slice(ids.length, n);
    if (some.length > 0) ids.push(...(await insert(tx, store, some, null, joins)));
  };
  // In turn, because those that are moved take their places among those that are stored.
  for (let from = 0; from < replaced.length;) {
    const { after } = replaced[from] as (typeof replaced)[number];
    const next = replaced.findIndex((one) => one.after > after);
    const some = replaced.slice(from, next === -1 ? undefined : next);
    await storeUpTo(after);
    await replaceJobs(
      tx,
      store,
      some.map(({ holder, by }) => ({ id: holder.idOf(ids), by })),
      joins,
    );
    from += some.length;
  }
  await storeUpTo(created.length);
  const result = answer(ids);
  // The one that comes last remembers the batch.
  const remembered = batchId === undefined ? undefined : { batchId, answer: JSON.stringify(result) };
  await keepKeys(tx, store, keys, ids, remembered);
  await keepGiven(tx, store, given, created, ids, keys.size > 0 ? undefined : remembered);
  return result;
}
