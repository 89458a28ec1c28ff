import { StorageFullError } from "../../errors.ts";
import { isFinal, type JobId } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import type {
  DueSchedules,
  EnqueueResult,
  NewJob,
  ScheduleWrite,
  ScheduleWriteResult,
  StoredSchedule,
} from "../storage.ts";
import { splitBody, withBody } from "./body.ts";
import { HOLD_JOBS } from "./enqueue.ts";
import type { DurableTables } from "./environments.ts";
import { HIGHEST_KEY, LOWEST_KEY, orderedTextKey, readTimed, textKey, timedKey } from "./keys.ts";
import type { Ledger } from "./ledger.ts";
import type { Store } from "./store.ts";
import { storeGroup } from "./store-group.ts";

// ── Looking, within `Store.read` or inside the gate ──────────────────────────

/** When the first schedule is due. */
export function firstTick({ scheduleAt }: DurableTables): number | undefined {
  const first = scheduleAt.first(LOWEST_KEY, HIGHEST_KEY);
  return first === undefined ? undefined : readTimed(first.key).instant;
}

export function allSchedules({ schedule }: DurableTables): StoredSchedule[] {
  return schedule
    .rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER)
    .map(({ value }) => decodeSchedule(value));
}

/** Those whose time has come, the longest due first. */
export function dueSchedules({ durable }: Store, limit: number, now: number): DueSchedules {
  const rows = durable.scheduleAt.rows(LOWEST_KEY, HIGHEST_KEY, limit + 1);
  const due: StoredSchedule[] = [];
  for (const { key, value } of rows) {
    const { instant } = readTimed(key);
    if (instant > now || due.length === limit) return { now, due, nextAt: instant };
    const found = readSchedule(durable, JSON.parse(value) as string);
    if (found !== undefined) due.push(found);
  }
  return { now, due };
}

function readSchedule({ schedule }: DurableTables, key: string): StoredSchedule | undefined {
  const text = schedule.get(textKey(key));
  return text === undefined ? undefined : decodeSchedule(text);
}

// ── Writing ──────────────────────────────────────────────────────────────────

/**
 * Write schedules, each for itself, in as many holds of the gate as their jobs ask for.
 *
 * @throws StorageFullError before anything is written, as far as nobody else writes some meanwhile
 */
export async function writeSchedules(
  store: Store,
  writes: readonly ScheduleWrite[],
  now: () => number,
): Promise<ScheduleWriteResult[]> {
  const results: ScheduleWriteResult[] = [];
  while (results.length < writes.length) {
    const slice = sliceFrom(writes, results.length);
    const left = writes.slice(results.length);
    const some = await store.hold(() => {
      let written: ScheduleWriteResult[] = [];
      store.writeDurable(now(), (ledger) => {
        checkRoom(store.label, ledger, left);
        written = slice.map((write) => writeOne(ledger, write));
      });
      return written;
    });
    results.push(...some);
  }
  return results;
}

function sliceFrom(writes: readonly ScheduleWrite[], start: number): readonly ScheduleWrite[] {
  let size = 0;
  let end = start;
  for (; end < writes.length; end++) {
    size += 1 + (writes[end]?.jobs?.length ?? 0);
    if (size > HOLD_JOBS && end > start) break;
  }
  return writes.slice(start, end);
}

function checkRoom(label: string, { tables, schedules }: Ledger, writes: readonly ScheduleWrite[]): void {
  const added = new Set<string>();
  for (const { key, row } of writes)
    if (row !== undefined && readSchedule(tables, key) === undefined) added.add(key);
  if (added.size === 0 || schedules + added.size <= limits.schedules) return;
  throw new StorageFullError(
    `${label} has ${schedules} schedules and ${added.size} more do not fit; its bound is ${limits.schedules}. ` +
      "Remove some: one schedule can make jobs for many things.",
  );
}

function writeOne(
  ledger: Ledger,
  { key, expected, row, jobs = [], unlessLive }: ScheduleWrite,
): ScheduleWriteResult {
  const { tables } = ledger;
  const before = readSchedule(tables, key);
  if ((before?.revision ?? 0) !== expected) return { ok: false };
  const isHeldUp = unlessLive === true && isLive(ledger, before?.lastId);
  const stored = isHeldUp ? [] : storeEach(ledger, jobs);
  const order = orderedTextKey(key);
  if (typeof before?.nextAt === "number") tables.scheduleAt.remove(timedKey(before.nextAt, order));
  if (row === undefined) {
    tables.schedule.remove(textKey(key));
    if (before !== undefined) ledger.countSchedule(-1);
    return { ok: true, revision: 0, jobs: stored };
  }
  const { text, nextAt } = row;
  const revision = ledger.nextNumber();
  const lastId = stored.at(-1)?.id ?? before?.lastId;
  const after = { key, text, nextAt, revision, ...(lastId === undefined ? {} : { lastId }) };
  tables.schedule.put(textKey(key), encodeSchedule(after));
  if (nextAt !== null) tables.scheduleAt.put(timedKey(nextAt, order), JSON.stringify(key));
  if (before === undefined) ledger.countSchedule(1);
  return { ok: true, revision, jobs: stored };
}

function isLive(ledger: Ledger, id: JobId | undefined): boolean {
  const state = id === undefined ? undefined : ledger.stateOf(id);
  return state !== undefined && !isFinal(state);
}

function storeEach(ledger: Ledger, jobs: readonly NewJob[]): EnqueueResult[] {
  return jobs.flatMap((job) => {
    const result = storeGroup(ledger, [job]);
    return result.ok ? result.jobs : [];
  });
}

// ── As text ──────────────────────────────────────────────────────────────────

function encodeSchedule({ key, text, nextAt, revision, lastId }: StoredSchedule): string {
  return withBody(JSON.stringify([key, nextAt, revision, ...(lastId === undefined ? [] : [lastId])]), text);
}

function decodeSchedule(row: string): StoredSchedule {
  const { header, body } = splitBody(row);
  const [key, nextAt, revision, lastId] = header as [string, number | null, number, JobId?];
  return { key, text: body as string, nextAt, revision, ...(lastId === undefined ? {} : { lastId }) };
}
