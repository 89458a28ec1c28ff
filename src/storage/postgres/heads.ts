import type { AttemptEntry, JobHead, JobId } from "../../job/job.ts";
import { isFinal } from "../../job/job.ts";
import { forgottenAttempt, keepsCheckpoint } from "../../job/lifecycle.ts";
import type { Lease, NewJob } from "../storage.ts";
import { encodeExtra } from "./extra.ts";
import type { Queryable, Row } from "./database.ts";
import type { Value } from "./pg.ts";
import { STATE_NUMBERS } from "./state-number.ts";
import { encodePolicy, encodeTags, type JobRecord, readJob } from "./record.ts";
import { leaseParameters, type Store, textArray } from "./store.ts";
import { decodeText, encodeText } from "./text.ts";

/** Jobs whose rows are locked at once: others wait for whoever holds them. */
export const LOCKED_JOBS = 500;

/**
 * A job that nobody else can move until the transaction ends. Of its record, `payload` is left out and a result
 * is `""`, because no rule reads them.
 */
export interface LockedJob {
  readonly record: JobRecord;
  /** Where it is, as a number of {@link STATE_NUMBERS}; `none` for one that is lost between its places. */
  readonly place: number;
  /** Its row in `scheduled` or `ready`. */
  readonly tid: string | null;
  /** Its place in the line, while it waits there or runs. */
  readonly seq: string | null;
  /** The process that runs it, as stored. */
  readonly holder: string | null;
  /** When the lock was had, by the storage's clock. */
  readonly now: number;
}

/** A job whose run ends. */
export interface LockedRun extends LockedJob {
  /** The process that claimed it to run it. */
  readonly ranBy: string;
}

/** What becomes of a locked job. */
export interface HeadChange {
  readonly job: LockedJob;
  /** Absent: it is removed. */
  readonly after?: JobHead;
  /** The run that goes on goes on. */
  readonly keepsRunning?: boolean;
  /** It goes back to the place in the line that it had. */
  readonly keepsPlace?: boolean;
  /** The generation of the lease that ended its run. */
  readonly settledGeneration?: number;
  readonly attempt?: AttemptEntry;
  /** Another job with the same unique key, whose words it takes over. */
  readonly by?: NewJob;
}

/** What the row of a job does not say. */
const WAITING: ReadonlyMap<number, "scheduled" | "blocked"> = new Map([
  [STATE_NUMBERS.scheduled, "scheduled"],
  [STATE_NUMBERS.blocked, "blocked"],
]);

/** Lock jobs wherever they are. Those that do not exist are not in the answer. @param joins in a transaction of the user */
export async function lockJobs(
  tx: Queryable,
  store: Store,
  ids: readonly JobId[],
  joins = false,
): Promise<Map<JobId, LockedJob>> {
  const values = [store.now(), `{${[...new Set(ids)].join()}}`];
  const rows = joins
    ? await lockedInText(tx, store, values)
    : await tx.query(
        store.statement("hold_jobs", "select * from $s.hold_jobs($1::text::float8, $2::text::bigint[])"),
        values,
      );
  const jobs = new Map<JobId, LockedJob>();
  for (const row of rows) {
    const [now, place, tid, seq, holder] = row as LockRow;
    const record = readJob(row, 5);
    const state = WAITING.get(Number(place));
    jobs.set(record.id, {
      record: state === undefined ? record : { ...record, head: { ...record.head, state } },
      place: Number(place),
      tid,
      seq,
      holder,
      now: Number(now),
    });
  }
  return jobs;
}

/** The same rows as one text: all that comes through a transaction of the user as it is. */
async function lockedInText(tx: Queryable, store: Store, values: readonly Value[]): Promise<Row[]> {
  const statement = store.statement(
    "hold_jobs_joined",
    "select coalesce(json_agg(h), '[]')::text from $s.hold_jobs($1::text::float8, $2::text::bigint[]) as h",
  );
  const [row] = await tx.query(statement, values);
  const found = JSON.parse(row?.[0] as string) as Record<string, string | number | boolean | null>[];
  return found.map((one) => Object.values(one).map(asInRow));
}

function asInRow(value: string | number | boolean | null): string | null {
  if (value === null || typeof value === "string") return value;
  return typeof value === "boolean" ? (value ? "t" : "f") : String(value);
}

/** Lock the jobs of leases. By index: the runs of those that stand. */
export async function lockRuns(
  tx: Queryable,
  store: Store,
  leases: readonly Lease[],
): Promise<Map<number, LockedRun>> {
  const statement = store.statement(
    "hold_runs",
    "select * from $s.hold_runs($1::text::float8, $2::text::bigint[], $3::text::int[], $4::text::text[], $5::text::int[])",
  );
  const [ids, generations, tokens, of] = leaseParameters(leases, store.leases);
  const rows = await tx.query(statement, [store.now(), ids, generations, tokens, of]);
  const runs = new Map<number, LockedRun>();
  for (const row of rows) {
    const [ordinal, now, seq, holder, ranBy] = row as RunRow;
    runs.set(Number(ordinal) - 1, {
      record: readJob(row, 5),
      place: STATE_NUMBERS.running,
      tid: null,
      seq,
      holder,
      ranBy: decodeText(ranBy),
      now: Number(now),
    });
  }
  return runs;
}

/**
 * Write what becomes of locked jobs, in this order, and tell those who wait for it. Each job comes once.
 *
 * @param tokens leases to forget when nothing is left of them
 */
export async function writeHeads(
  tx: Queryable,
  store: Store,
  changes: readonly HeadChange[],
  tokens: readonly string[] = [],
): Promise<void> {
  const statement = store.statement(
    "write_heads",
    "select $s.write_heads($1::text::json, $2::text::text[])::text",
  );
  await tx.query(statement, [JSON.stringify(changes.map(toRow)), textArray(tokens)]);
}

type LockRow = readonly [
  now: string,
  place: string,
  tid: string | null,
  seq: string | null,
  holder: string | null,
  ...job: Row,
];
type RunRow = readonly [
  ordinal: string,
  now: string,
  seq: string,
  holder: string,
  ranBy: string,
  ...job: Row,
];

/**
 * A change as the type `head_change` of the schema. Reasons and errors are JSON texts in a JSON text: the inner
 * one spares PostgreSQL what its texts cannot hold.
 */
function toRow(change: HeadChange): Readonly<Record<string, unknown>> {
  const { job, after, attempt } = change;
  const { record, place } = job;
  const from = { id: record.id, lane: record.lane, tid: job.tid, src: numberOf(place) };
  if (after === undefined) return { ...from, dst: STATE_NUMBERS.none };
  const { head } = record;
  const settledGeneration = change.settledGeneration ?? record.settledGeneration;
  const asks = change.keepsRunning === true && after.cancelAsked !== undefined ? job.holder : null;
  return {
    ...from,
    dst: change.keepsRunning === true ? STATE_NUMBERS.running : STATE_NUMBERS[after.state],
    seq: change.keepsPlace === true ? job.seq : null,
    run_at: after.runAt,
    started_at: after.startedAt,
    ended_at: after.endedAt,
    expires_at: after.expiresAt,
    generation: after.generation,
    attempt: after.attempt,
    failures: after.failures,
    snoozes: after.snoozes,
    releases: after.releases,
    settled_generation: settledGeneration < 0 ? null : settledGeneration,
    priority: after.priority,
    marked: after.marked,
    settled_by: after.settledBy === undefined ? null : encodeText(after.settledBy),
    cancel_asked: jsonText(after.cancelAsked),
    sets_error: after.error !== head.error,
    error: after.error === head.error ? null : jsonText(after.error),
    sets_result: after.result !== head.result,
    result: after.result === head.result || after.result === undefined ? null : encodeText(after.result),
    reason: jsonText(after.reason),
    sets_events: after.events !== head.events,
    events: after.events === head.events ? null : jsonText(after.events),
    sets_progress: after.progress !== head.progress,
    progress: after.progress === undefined ? null : encodeText(after.progress),
    keeps_checkpoint: !isFinal(after.state) || keepsCheckpoint(after.state, record.spec.unique),
    ...(change.by === undefined ? {} : specOf(change.by)),
    ...(attempt === undefined
      ? {}
      : {
          entry_number: attempt.number,
          entry: JSON.stringify(attempt),
          forgets: forgottenAttempt(attempt.number),
        }),
    asks,
  };
}

/** A new row of the table of policies would make others wait for this transaction: the policy goes with the job. */
function specOf(job: NewJob): Readonly<Record<string, unknown>> {
  const extra = encodeExtra(job);
  return {
    sets_spec: true,
    payload: encodeText(job.payload),
    policy: null,
    policy_text: encodePolicy(job).text,
    keep_ms: job.retention.completedMs,
    tags: encodeTags(job.tags),
    extra: extra?.text ?? null,
    limit_id: extra?.limitId ?? null,
    concurrency: extra?.concurrency ?? null,
  };
}

/** What is nowhere was left behind by a claim: it counts as running. */
function numberOf(place: number): number {
  return place === STATE_NUMBERS.none ? STATE_NUMBERS.running : place;
}

function jsonText(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}
