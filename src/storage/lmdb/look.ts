import { type AttemptEntry, type JobId, JOB_STATES, type JobState } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import { badCursor, checkListQuery, takePage } from "../page.ts";
import type { CountQuery, LaneInfo, ListQuery, StoredJob } from "../storage.ts";
import { GONE } from "./chunks.ts";
import { ALL_LANES, type LaneCounts, readCounts } from "./counts.ts";
import { groupEnd, type KeptJob, readJob, storedJob } from "./job.ts";
import {
  endedKey,
  HIGHEST_KEY,
  instantKey,
  type Kind,
  MARKED,
  PLAIN,
  placeKey,
  readEndedKey,
  readInstantKey,
  readPlace,
  readWhole,
  wholeKey,
} from "./keys.ts";
import type { Lane } from "./lanes.ts";
import { readLease, readLine } from "./leases.ts";
import { readyId } from "./place.ts";
import type { LeaseRecord } from "./records.ts";
import type { Store } from "./store.ts";
import type { Table } from "./table.ts";

// All functions here are called within `Store.read`.

export function get(store: Store, ids: readonly JobId[]): (StoredJob | undefined)[] {
  return ids.map((id) => {
    const job = readJob(store.durable, store.lanes, id);
    return job === undefined ? undefined : storedJob(job, leaseOf(store, job));
  });
}

/** The lease of a job that runs. */
function leaseOf(store: Store, { id, record }: KeptJob): LeaseRecord | undefined {
  return record.head.state === "available" ? readLease(store.volatile, id) : undefined;
}

export function attempts(store: Store, id: JobId): AttemptEntry[] {
  const rows = store.durable.attempt.rows(
    wholeKey(id),
    groupEnd(id),
    limits.attemptsFirst + limits.attemptsLast,
  );
  return rows.map(({ value }) => JSON.parse(value) as AttemptEntry);
}

// ── Counting ─────────────────────────────────────────────────────────────────

export function count(store: Store, { state, queue, name }: CountQuery): { n: number; exact: boolean } {
  const states = state === undefined ? JOB_STATES : [state];
  const lanes =
    queue === undefined && name === undefined
      ? [ALL_LANES]
      : store.lanes.select(queue, name).map(({ id }) => id);
  let n = 0;
  for (const lane of lanes) {
    const counts = countsOf(store, lane);
    for (const one of states) n += counts[one];
  }
  return { n, exact: true };
}

export function laneInfos(store: Store): { lanes: LaneInfo[]; pausedQueues: string[] } {
  const lanes = store.lanes.select(undefined, undefined).map(({ id, queue, name, isPaused }) => ({
    queue,
    name,
    paused: isPaused,
    counts: countsOf(store, id),
  }));
  lanes.sort((a, b) => byText(a.queue, b.queue) || byText(a.name, b.name));
  return { lanes, pausedQueues: [...store.lanes.pausedQueues].sort(byText) };
}

function countsOf(store: Store, lane: number): Record<JobState, number> {
  const { scheduled, ready, blocked, completed, cancelled, dead }: LaneCounts = readCounts(
    store.durable,
    lane,
  );
  const { running } = readLine(store.volatile, lane);
  return { scheduled, available: ready - running, blocked, running, completed, cancelled, dead };
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

// ── Listing ──────────────────────────────────────────────────────────────────

/** A job's place in the listing of its state; what the two numbers mean depends on that. */
interface Mark {
  readonly at: number;
  readonly place: number;
  readonly index: number;
}

interface Listed {
  readonly id: JobId;
  readonly mark: Mark;
}

/**
 * One page of the jobs in one state.
 *
 * @throws InvalidOptionError for a limit out of range, an unknown state, or a cursor of another listing
 */
export function list(store: Store, query: ListQuery): { jobs: StoredJob[]; next?: string } {
  checkListQuery(query);
  const after = query.after === undefined ? undefined : readCursor(query.state, query.after);
  return takePage(
    query,
    listed(store, query, after),
    ({ id }) => {
      const job = readJob(store.durable, store.lanes, id);
      if (job === undefined) return undefined;
      const { lane, spec, record } = job;
      return {
        ...{ queue: lane.queue, name: lane.name, tags: spec.tags },
        textLength: spec.payload.length + (record.head.result?.length ?? 0),
        view: () => storedJob(job, leaseOf(store, job)),
      };
    },
    ({ mark }) => cursorAt(query.state, mark),
  );
}

function listed(store: Store, query: ListQuery, after: Mark | undefined): Iterable<Listed> {
  switch (query.state) {
    case "scheduled":
      return scheduledBehind(store, after);
    case "available":
      return availableBehind(store, query, after);
    case "running":
      return idsBehind(store.volatile.lease, after);
    case "blocked":
      return idsBehind(store.durable.blockedId, after);
    case "completed":
    case "cancelled":
    case "dead":
      return endedBefore(store, JOB_STATES.indexOf(query.state), after);
  }
}

/** Rows read in one go. */
const STEP = 256;

function* scheduledBehind({ durable }: Store, after: Mark | undefined): Generator<Listed> {
  let start = after === undefined ? instantKey(-Infinity, 0) : instantKey(after.at, after.place + 1);
  for (;;) {
    const rows = durable.scheduled.rows(start, HIGHEST_KEY, STEP);
    for (const { key } of rows) {
      const { instant, whole } = readInstantKey(key);
      yield { id: whole, mark: { at: instant, place: whole, index: 0 } };
      start = instantKey(instant, whole + 1);
    }
    if (rows.length < STEP) return;
  }
}

/** The ids that are a table's keys. */
function* idsBehind(table: Table, after: Mark | undefined): Generator<Listed> {
  let start = (after?.place ?? 0) + 1;
  for (;;) {
    const rows = table.rows(wholeKey(start), HIGHEST_KEY, STEP);
    for (const { key } of rows) {
      const id = readWhole(key);
      yield { id, mark: { at: 0, place: id, index: 0 } };
      start = id + 1;
    }
    if (rows.length < STEP) return;
  }
}

/** Newest end first: chunk by chunk, and each from its end. */
function* endedBefore({ durable }: Store, state: number, after: Mark | undefined): Generator<Listed> {
  const bottom = endedKey(state, -Infinity, 0);
  let below = endedKey(state + 1, -Infinity, 0);
  if (after !== undefined) {
    const key = endedKey(state, after.at, after.place);
    const text = durable.ended.get(key);
    if (text !== undefined) yield* chunk(key, text, after.index);
    below = key;
  }
  for (;;) {
    const rows = durable.ended.rowsBelow(below, bottom, CHUNKS_STEP);
    for (const { key, value } of rows) {
      yield* chunk(key, value, Number.MAX_SAFE_INTEGER);
      below = key;
    }
    if (rows.length < CHUNKS_STEP) return;
  }
}

const CHUNKS_STEP = 8;

function* chunk(key: Uint8Array, text: string, before: number): Generator<Listed> {
  const { endedAt, chunk: place } = readEndedKey(key);
  const ids = JSON.parse(text) as JobId[];
  for (let index = Math.min(before, ids.length) - 1; index >= 0; index--) {
    const id = ids[index] as JobId;
    if (id !== GONE) yield { id, mark: { at: endedAt, place, index } };
  }
}

/** The lines of the lanes asked for, merged by seq. */
function* availableBehind(store: Store, query: ListQuery, after: Mark | undefined): Generator<Listed> {
  const behind = after?.place ?? 0;
  const lines: AvailableLine[] = [];
  for (const lane of store.lanes.select(query.queue, query.name)) lines.push(...linesOf(store, lane, behind));
  lines.sort((a, b) => a.seq - b.seq);
  // Lines are few as a rule. The one that moves on finds its new place from the front.
  while (lines.length > 0) {
    const line = lines.shift() as AvailableLine;
    yield { id: line.id, mark: { at: 0, place: line.seq, index: 0 } };
    if (!line.advance()) continue;
    let index = lines.findIndex(({ seq }) => seq > line.seq);
    if (index === -1) index = lines.length;
    lines.splice(index, 0, line);
  }
}

/** The lines of a lane that hold an available job behind a seq. */
function* linesOf(store: Store, lane: Lane, behind: number): Generator<AvailableLine> {
  const counts = readCounts(store.durable, lane.id);
  if (counts.ready === 0) return;
  const given = readLine(store.volatile, lane.id);
  for (const kind of [PLAIN, MARKED] as const) {
    const end = placeKey(kind, lane.id + 1, -0x8000, 0);
    let row = store.durable.ready.first(placeKey(kind, lane.id, -0x8000, 0), end);
    while (row !== undefined) {
      const { priority } = readPlace(row.key);
      const cursor = given.cursor(kind, priority);
      for (const isAgain of [false, true]) {
        const line = new AvailableLine(store, { kind, lane: lane.id, priority, cursor, isAgain }, behind);
        if (line.advance()) yield line;
      }
      row = store.durable.ready.first(placeKey(kind, lane.id, priority + 1, 0), end);
    }
  }
}

interface LineOf {
  readonly kind: Kind;
  readonly lane: number;
  readonly priority: number;
  readonly cursor: number;
  readonly isAgain: boolean;
}

/** Available jobs of one line by seq: those behind its cursor, or those given back before it. */
class AvailableLine {
  id: JobId = 0;
  seq: number;
  readonly #store: Store;
  readonly #of: LineOf;

  constructor(store: Store, of: LineOf, behind: number) {
    this.#store = store;
    this.#of = of;
    this.seq = of.isAgain ? behind : Math.max(behind, of.cursor);
  }

  advance(): boolean {
    const { kind, lane, priority, isAgain } = this.#of;
    const { durable, volatile } = this.#store;
    const table = isAgain ? volatile.again : durable.ready;
    const end = placeKey(kind, lane, priority + 1, 0);
    for (;;) {
      const row = table.first(placeKey(kind, lane, priority, this.seq + 1), end);
      if (row === undefined) return false;
      this.seq = readPlace(row.key).seq;
      const value = isAgain ? durable.ready.get(row.key) : row.value;
      if (value === undefined) continue;
      this.id = readyId(value, this.seq);
      return true;
    }
  }
}

/** Opaque to callers, and a cursor of one state does not fit another. */
function cursorAt(state: JobState, { at, place, index }: Mark): string {
  return `${state}~${at}~${place}~${index}`;
}

const CURSOR = /^([a-z]+)~(-?[\d.e+-]{1,30})~(\d{1,16})~(\d{1,16})$/;

function readCursor(state: JobState, cursor: string): Mark {
  const [, ofState, at, place, index] = CURSOR.exec(cursor) ?? [];
  const mark = { at: Number(at), place: Number(place), index: Number(index) };
  if (ofState !== state || !Number.isFinite(mark.at) || !Number.isSafeInteger(mark.place)) {
    throw badCursor(state, cursor);
  }
  return mark;
}
