import type { JobState } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import { badCursor, type Candidate, checkListQuery, takePage } from "../page.ts";
import type { ListQuery, StoredJob } from "../storage.ts";
import type { Row, Statement } from "./database.ts";
import type { Value } from "./pg.ts";
import { STATE_NUMBERS } from "./state-number.ts";
import { readJob, storedJob } from "./record.ts";
import type { Store } from "./store.ts";
import { decodeText, encodeText } from "./text.ts";

/**
 * One page of the jobs in one state.
 *
 * @throws InvalidOptionError for a limit out of range, an unknown state, or a cursor of another listing
 */
export async function list(store: Store, query: ListQuery): Promise<{ jobs: StoredJob[]; next?: string }> {
  checkListQuery(query);
  const after = query.after === undefined ? undefined : readCursor(query.state, query.after);
  const rows = await store.database.query(...pageOf(store, query, after));
  return takePage(
    query,
    rows,
    (row) => candidate(query.state, row),
    ([at, place]) => `${query.state}~${Number(at)}~${place}`,
  );
}

/** The statement: which rows the page looks at is decided there, and what is on it by the rule all engines share. */
function pageOf(store: Store, query: ListQuery, after: Place | undefined): [Statement, Value[]] {
  const { state, queue, name, tag, limit } = query;
  // Ready jobs are read from the lines of the lanes asked for alone.
  const passesOver =
    tag !== undefined || (state !== "available" && (queue !== undefined || name !== undefined));
  const rest = (from: number): string =>
    ["text", "text", "text", "text::float8", "text::bigint", "text::integer", "text::integer", "text::bigint"]
      .map((cast, index) => `$${from + index}::${cast}`)
      .join(", ");
  const values = [
    queue === undefined ? null : encodeText(queue),
    name === undefined ? null : encodeText(name),
    // As a tag stands in the row: as JSON.
    tag === undefined ? null : JSON.stringify(tag),
  ];
  const bounds = [
    limit,
    // One more than the page may look at: only then is it known that there is a next one.
    1 + (passesOver ? Math.max(limit, limits.listScan) : limit),
    limits.listText,
  ];
  if (state === "available" || state === "scheduled" || state === "blocked" || state === "running") {
    const place = [after?.at ?? "-Infinity", after?.place ?? 0];
    return [
      store.statement(`page_${state}`, `select * from $s.page_${state}(${rest(1)})`),
      [...values, ...place, ...bounds],
    ];
  }
  return [
    store.statement("page_finished", `select * from $s.page_finished($1::text::smallint, ${rest(2)})`),
    [STATE_NUMBERS[state], ...values, 0, after?.place ?? HIGHEST, ...bounds],
  ];
}

/** No number of an end is higher. */
const HIGHEST = "9223372036854775807";

function candidate(state: JobState, row: Row): Candidate {
  const [, , length, holder, id] = row;
  if (id === null) return PASSED_OVER;
  const record = readJob(row, JOB_AT);
  return {
    ...{ queue: record.spec.queue, name: record.spec.name, tags: record.spec.tags },
    // In bytes, which are never fewer than characters: the database knows them without reading the texts.
    textLength: Number(length),
    view: () => storedJob(record, state, typeof holder === "string" ? decodeText(holder) : undefined),
  };
}

/** Before a job's columns stand its place (two numbers), the length of its texts, and who holds it. */
const JOB_AT = 4;

/** What the database saw to be no match of the filter: nothing matches it, because no name is empty. */
const PASSED_OVER: Candidate = {
  ...{ queue: "", name: "", tags: [], textLength: 0 },
  view: () => {
    throw new RangeError("A job that is not on the page was looked at.");
  },
};

// ── Cursors ──────────────────────────────────────────────────────────────────

/** Where a job stands in the listing of its state: for scheduled ones two numbers, for the others only the last. */
interface Place {
  readonly at: number;
  readonly place: number;
}

/** `state~at~place`: opaque to callers, and a cursor of one state does not fit another. */
const CURSOR = /^([a-z]+)~(-?[\d.e+-]{1,30})~(\d{1,16})$/;

function readCursor(state: JobState, cursor: string): Place {
  const [, ofState, at, place] = CURSOR.exec(cursor) ?? [];
  const found = { at: Number(at), place: Number(place) };
  if (ofState !== state || !Number.isFinite(found.at) || !Number.isSafeInteger(found.place)) {
    throw badCursor(state, cursor);
  }
  return found;
}
