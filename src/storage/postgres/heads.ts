import type { AttemptEntry, JobHead, JobId } from "../../job/job.ts";
import { isFinal } from "../../job/job.ts";
import { forgottenAttempt, keepsCheckpoint } from "../../job/lifecycle.ts";
import type { Lease } from "../storage.ts";
import type { Queryable, Row } from "./database.ts";
import { STATE_NUMBERS } from "./migration/first/tables.ts";
import { type JobRecord, readJob } from "./record.ts";
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
}

/** Lock jobs wherever they are. Those that do not exist are not in the answer. */
export async function lockJobs(
  tx: Queryable,
  store: Store,
  ids: readonly JobId[],
): Promise<Map<JobId, LockedJob>> {
  const statement = store.statement(
    "lock_jobs",
    "select * from $s.lock_jobs($1::text::float8, $2::text::bigint[])",
  );
  const rows = await tx.query(statement, [store.now(), `{${[...new Set(ids)].join()}}`]);
  const jobs = new Map<JobId, LockedJob>();
  for (const row of rows) {
    const [now, place, tid, seq, holder] = row as LockRow;
    const record = readJob(row, 5);
    const isScheduled = Number(place) === STATE_NUMBERS.scheduled;
    jobs.set(record.id, {
      record: isScheduled ? { ...record, head: { ...record.head, state: "scheduled" } } : record,
      place: Number(place),
      tid,
      seq,
      holder,
      now: Number(now),
    });
  }
  return jobs;
}

/** Lock the jobs of leases. By index: the runs of those that stand. */
export async function lockRuns(
  tx: Queryable,
  store: Store,
  leases: readonly Lease[],
): Promise<Map<number, LockedRun>> {
  const statement = store.statement(
    "lock_runs",
    "select * from $s.lock_runs($1::text::float8, $2::text::bigint[], $3::text::int[], $4::text::text[], $5::text::int[])",
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
  const statement = store.statement("write_heads", "select $s.write_heads($1::text::json, $2::text::text[])");
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
    keeps_checkpoint: !isFinal(after.state) || keepsCheckpoint(after.state),
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

/** What is nowhere was left behind by a claim: it counts as running. */
function numberOf(place: number): number {
  return place === STATE_NUMBERS.none ? STATE_NUMBERS.running : place;
}

function jsonText(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}
