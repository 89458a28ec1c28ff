import { createHash } from "node:crypto";
import type { JobId } from "../../job/job.ts";
import type { EnqueueResult, GroupResult, NewJob } from "../storage.ts";
import type { Queryable } from "./database.ts";
import { encodePolicy, encodeTags } from "./record.ts";
import { prompt, type Store, textArray } from "./store.ts";
import { encodeText } from "./text.ts";

/** All that one transaction of a user stores bears the same instant, whatever it does in between. */
export const TRANSACTION_NOW = "floor(extract(epoch from transaction_timestamp()) * 1000)::float8";

/** Store groups of jobs, in one statement when no caller chose an id. */
export async function enqueue(
  store: Store,
  groups: readonly (readonly NewJob[])[],
  batchId: string | undefined,
): Promise<GroupResult[]> {
  if (groups.some((group) => group.some(({ givenId }) => givenId !== undefined))) {
    return store.database.transaction((tx) => enqueueGiven(tx, store, groups, batchId), {
      deadlineMs: store.promptMs,
    });
  }
  return enqueuePlain(prompt(store), store, groups, batchId);
}

/** As {@link enqueue}, as part of a transaction. @param joins whether that is somebody else's */
export async function enqueueIn(
  tx: Queryable,
  store: Store,
  groups: readonly (readonly NewJob[])[],
  joins = false,
): Promise<GroupResult[]> {
  return groups.some((group) => group.some(({ givenId }) => givenId !== undefined))
    ? enqueueGiven(tx, store, groups, undefined, joins)
    : enqueuePlain(tx, store, groups, undefined, joins);
}

/** Store jobs with a settle: whose given id exists is not stored, whatever its payload. */
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

// ── Without given ids ────────────────────────────────────────────────────────

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
  if (!joins && jobs.length === 1 && jobs[0]?.givenId === undefined) {
    return [await insertOne(on, store, jobs[0] as NewJob, batchId)];
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
    headers.push(headerOf(first));
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

function headerOf(job: NewJob): string {
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
  });
}

/** Options that were resolved together are the same objects; alike ones that are not cost a header more. */
function isAlike(a: NewJob, b: NewJob): boolean {
  return (
    a.name === b.name &&
    a.queue === b.queue &&
    a.priority === b.priority &&
    a.maxRetries === b.maxRetries &&
    a.timeoutMs === b.timeoutMs &&
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

// ── With given ids ───────────────────────────────────────────────────────────

/** A caller-given id as it stands: who has it, and with which payload. */
interface Taken {
  readonly hash: string;
  /** Its job, or the index of the job that is about to be stored; 0: nobody's yet. */
  readonly id: JobId;
  readonly created?: number;
}

async function enqueueGiven(
  tx: Queryable,
  store: Store,
  groups: readonly (readonly NewJob[])[],
  batchId: string | undefined,
  joins = false,
): Promise<GroupResult[]> {
  const jobs = groups.flat();
  const keyed = jobs.filter(({ givenId }) => givenId !== undefined);
  const names = textArray(keyed.map(({ name }) => name));
  const givenIds = textArray(keyed.map(({ givenId }) => givenId as string));
  const hashes = keyed.map(({ payload }) => hashOf(payload));
  const [row] = await tx.query(
    store.statement(
      "take_given",
      "select $s.take_given($1, $2::text::text[], $3::text::text[], $4::text::text[])",
    ),
    [batchId === undefined ? null : encodeText(batchId), names, givenIds, textArray(hashes)],
  );
  const text = row?.[0] as string;
  // The batch was stored before: this is its answer.
  if (text.startsWith("[")) return JSON.parse(text) as GroupResult[];

  const taken = new Map<string, Taken>();
  const ours = new Map<string, NewJob>();
  for (const entry of text.split(",")) {
    const [ord, id, hash] = entry.split(" ") as [string, string, string];
    const job = keyed[Number(ord) - 1] as NewJob;
    const key = keyOf(job);
    if (id === "0") ours.set(key, job);
    else taken.set(key, { hash, id: Number(id) });
  }

  const { created, answer } = judge(groups, taken);
  const ids = created.length === 0 ? [] : await insert(tx, store, created, null, joins);
  const result = answer(ids);

  const kept: { id: JobId; job: NewJob }[] = [];
  for (const [key, job] of ours) {
    const { created: index } = taken.get(key) ?? {};
    kept.push(
      index === undefined ? { id: 0, job } : { id: ids[index] as JobId, job: created[index] as NewJob },
    );
  }
  await tx.query(
    store.statement(
      "keep_given",
      "select $s.keep_given($1, $2::text::float8, $3, $4::text::bigint[], $5::text::text[], $6::text::text[], $7::text::text[])",
    ),
    [
      batchId === undefined ? null : encodeText(batchId),
      store.now(),
      JSON.stringify(result),
      `{${kept.map(({ id }) => id).join()}}`,
      textArray(kept.map(({ job }) => job.name)),
      textArray(kept.map(({ job }) => job.givenId as string)),
      textArray(kept.map(({ job }) => hashOf(job.payload))),
    ],
  );
  return result;
}

/** Group by group: which jobs are stored, and what the answer is once their ids are known. */
function judge(
  groups: readonly (readonly NewJob[])[],
  taken: Map<string, Taken>,
): { created: NewJob[]; answer: (ids: readonly JobId[]) => GroupResult[] } {
  const created: NewJob[] = [];
  const answers = groups.map((group): ((ids: readonly JobId[]) => GroupResult) => {
    const conflict = firstConflict(group, taken);
    if (conflict !== undefined) {
      const { index, by } = conflict;
      return (ids) => ({
        ok: false,
        refusal: { kind: "duplicate-id", existing: by === undefined ? 0 : idOf(by, ids) },
        index,
      });
    }
    const jobs = group.map((job): ((ids: readonly JobId[]) => EnqueueResult) => {
      const key = job.givenId === undefined ? undefined : keyOf(job);
      const existing = key === undefined ? undefined : taken.get(key);
      if (existing !== undefined) return (ids) => ({ status: "existing", id: idOf(existing, ids) });
      const index = created.push(job) - 1;
      if (key !== undefined) taken.set(key, { hash: hashOf(job.payload), id: 0, created: index });
      return (ids) => ({ status: "created", id: ids[index] as JobId });
    });
    return (ids) => ({ ok: true, jobs: jobs.map((one) => one(ids)) });
  });
  return { created, answer: (ids) => answers.map((one) => one(ids)) };
}

function idOf({ id, created }: Taken, ids: readonly JobId[]): JobId {
  return created === undefined ? id : (ids[created] as JobId);
}

/** The first job of a group whose given id belongs to another payload, in the store or in the group. */
function firstConflict(
  group: readonly NewJob[],
  taken: ReadonlyMap<string, Taken>,
): { readonly index: number; readonly by?: Taken } | undefined {
  const inGroup = new Map<string, string>();
  for (const [index, job] of group.entries()) {
    if (job.givenId === undefined) continue;
    const key = keyOf(job);
    const hash = hashOf(job.payload);
    const by = taken.get(key);
    if (by !== undefined && by.hash !== hash) return { index, by };
    const other = inGroup.get(key);
    if (other !== undefined && other !== hash) return { index };
    inGroup.set(key, hash);
  }
  return undefined;
}

function hashOf(payload: string): string {
  return createHash("sha256").update(payload).digest("base64url");
}

/** The length keeps a name and an id apart, whatever characters they hold. */
function keyOf({ name, givenId }: NewJob): string {
  return `${name.length}:${name}${givenId}`;
}
