import { StorageFullError } from "../../errors.ts";
import type { JobId } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import type {
  DueSchedules,
  EnqueueResult,
  GroupResult,
  NewJob,
  ScheduleWrite,
  ScheduleWriteResult,
  StoredSchedule,
} from "../storage.ts";
import { admitFreed } from "./admit.ts";
import type { Queryable, Row } from "./database.ts";
import { enqueueIn, mayReplace } from "./enqueue.ts";
import { type Store, textArray } from "./store.ts";
import { decodeText } from "./text.ts";

/** The schedules that are due, the longest due first. */
export async function dueSchedules(store: Store, limit: number): Promise<DueSchedules> {
  const [first, ...rows] = await store.database.query(
    store.statement("due_schedules", "select * from $s.due_schedules($1::text::float8, $2::text::int)"),
    [store.now(), limit],
  );
  const now = Number(first?.[0]);
  const waiting = rows.map(([, ...row]) => readSchedule(row));
  const due = waiting.filter(({ nextAt }) => (nextAt as number) <= now).slice(0, limit);
  const nextAt = waiting[due.length]?.nextAt ?? undefined;
  return { now, due, ...(nextAt === undefined ? {} : { nextAt }) };
}

export async function schedules(store: Store): Promise<StoredSchedule[]> {
  const rows = await store.database.query(
    store.statement("schedules", "select key, text, next_at, revision, last_id from $s.schedule"),
    [],
  );
  return rows.map(readSchedule);
}

function readSchedule(row: Row): StoredSchedule {
  const [key, text, nextAt, revision, lastId] = row as [string, string, string | null, string, string | null];
  return {
    key: decodeText(key),
    text: decodeText(text),
    nextAt: nextAt === null ? null : Number(nextAt),
    revision: Number(revision),
    ...(lastId === null ? {} : { lastId: Number(lastId) }),
  };
}

/** A schedule as far as a write must know it. */
type Known = Pick<StoredSchedule, "revision" | "lastId">;
/** What a write comes to, before its jobs are stored. */
interface Accepted {
  readonly write: ScheduleWrite;
  readonly before: Known | undefined;
  readonly revision: number;
  readonly jobs: readonly NewJob[];
}

/**
 * Write schedules, each only if nobody else did meanwhile, and store their jobs with them: in one transaction, under
 * the locks of their rows.
 *
 * @throws StorageFullError
 */
export function writeSchedules(
  store: Store,
  writes: readonly ScheduleWrite[],
): Promise<ScheduleWriteResult[]> {
  if (writes.length === 0) return Promise.resolve([]);
  return store.database.transaction(async (tx) => {
    const known = await lockSchedules(tx, store, writes);
    const live = await liveJobs(tx, store, [...known.values()]);
    const revisions = await newRevisions(tx, store, writes.length);
    const accepted = writes.map((write): Accepted | undefined => {
      const { key, expected, row, jobs = [], unlessLive } = write;
      const before = known.get(key);
      if ((before?.revision ?? 0) !== expected) return undefined;
      const isHeldUp = unlessLive === true && before?.lastId !== undefined && live.has(before.lastId);
      const revision = row === undefined ? 0 : (revisions.pop() as number);
      if (row === undefined) known.delete(key);
      else known.set(key, { ...before, revision });
      return { write, before, revision, jobs: isHeldUp ? [] : jobs };
    });
    const jobs = accepted.flatMap((one) => one?.jobs ?? []);
    const stored =
      jobs.length === 0
        ? []
        : await enqueueIn(
            tx,
            store,
            jobs.map((job) => [job]),
          );
    const results = accepted.map((one) => resultOf(one, stored));
    await saveSchedules(tx, store, accepted, results);
    if (jobs.some(mayReplace)) await admitFreed(tx, store);
    return results;
  });
}

/** The next results in line are those of its jobs. */
function resultOf(one: Accepted | undefined, stored: GroupResult[]): ScheduleWriteResult {
  if (one === undefined) return { ok: false };
  const results: EnqueueResult[] = stored
    .splice(0, one.jobs.length)
    .flatMap((group) => (group.ok ? group.jobs : []));
  return { ok: true, revision: one.revision, jobs: results };
}

async function lockSchedules(
  tx: Queryable,
  store: Store,
  writes: readonly ScheduleWrite[],
): Promise<Map<string, Known>> {
  const keys = textArray([...new Set(writes.map(({ key }) => key))]);
  const lock = async (): Promise<Map<string, Known>> => {
    const rows = await tx.query(
      store.statement(
        "lock_schedules",
        "select key, '', next_at, revision, last_id from $s.schedule where key = any ($1::text::text[]) order by key for update",
      ),
      [keys],
    );
    return new Map(rows.map((row) => [decodeText(row[0] as string), readSchedule(row)]));
  };
  const known = await lock();
  const areNew = (): boolean => writes.some(({ key, row }) => row !== undefined && !known.has(key));
  if (!areNew()) return known;
  // One at a time makes new ones, so that their number is exact, and of two that make the same one comes first.
  await tx.query(
    store.statement(
      "lock_new_schedules",
      "select pg_advisory_xact_lock(hashtextextended($1 || ' schedules', 0))::text",
    ),
    [store.schema],
  );
  const found = await lock();
  const [row] = await tx.query(store.statement("count_schedules", "select count(*) from $s.schedule"), []);
  const stored = Number(row?.[0]);
  const more = new Set(
    writes.filter(({ key, row: to }) => to !== undefined && !found.has(key)).map(({ key }) => key),
  );
  if (stored + more.size > limits.schedules) {
    throw new StorageFullError(
      `${store.label} has ${stored} schedules; its bound is ${limits.schedules}. ` +
        "Remove some: one schedule can make jobs for many things.",
    );
  }
  return found;
}

/** Those of the last jobs that are kept and have not ended. */
async function liveJobs(tx: Queryable, store: Store, known: readonly Known[]): Promise<ReadonlySet<JobId>> {
  const ids = known.flatMap(({ lastId }) => lastId ?? []);
  if (ids.length === 0) return new Set();
  const rows = await tx.query(
    store.statement("live_jobs", "select id from $s.job where id = any ($1::text::bigint[])"),
    [`{${ids.join()}}`],
  );
  return new Set(rows.map(([id]) => Number(id)));
}

/** In falling order, to be taken from the end. */
async function newRevisions(tx: Queryable, store: Store, n: number): Promise<number[]> {
  const rows = await tx.query(
    store.statement("new_revisions", "select $s.new_revision() from generate_series(1, $1::text::int)"),
    [n],
  );
  return rows.map(([revision]) => Number(revision)).sort((a, b) => b - a);
}

/** The last write of each key is what stays. */
async function saveSchedules(
  tx: Queryable,
  store: Store,
  accepted: readonly (Accepted | undefined)[],
  results: readonly ScheduleWriteResult[],
): Promise<void> {
  const last = new Map<string, { row: ScheduleWrite["row"]; revision: number; lastId: JobId | undefined }>();
  for (const [index, one] of accepted.entries()) {
    const result = results[index];
    if (one === undefined || result?.ok !== true) continue;
    const { key, row } = one.write;
    last.set(key, { row, revision: one.revision, lastId: result.jobs.at(-1)?.id ?? one.before?.lastId });
  }
  const gone = [...last].filter(([, { row }]) => row === undefined).map(([key]) => key);
  const kept = [...last].filter(([, { row }]) => row !== undefined);
  if (gone.length > 0) {
    await tx.query(
      store.statement("remove_schedules", "delete from $s.schedule where key = any ($1::text::text[])"),
      [textArray(gone)],
    );
  }
  if (kept.length === 0) return;
  await tx.query(
    store.statement(
      "save_schedules",
      `insert into $s.schedule (key, text, next_at, revision, last_id)
       select * from unnest($1::text::text[], $2::text::text[], $3::text::float8[], $4::text::bigint[], $5::text::bigint[])
       on conflict (key) do update set text = excluded.text, next_at = excluded.next_at, revision = excluded.revision,
         last_id = excluded.last_id`,
    ),
    [
      textArray(kept.map(([key]) => key)),
      textArray(kept.map(([, { row }]) => row?.text ?? "")),
      `{${kept.map(([, { row }]) => row?.nextAt ?? "null").join()}}`,
      `{${kept.map(([, { revision }]) => revision).join()}}`,
      `{${kept.map(([, { lastId }]) => lastId ?? "null").join()}}`,
    ],
  );
}
