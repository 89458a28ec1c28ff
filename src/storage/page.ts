import { InvalidOptionError } from "../errors.ts";
import { JOB_STATES, type JobState } from "../job/job.ts";
import { limits } from "../job/limits.ts";
import type { KeyQuery, ListQuery, StoredJob } from "./storage.ts";

/** A job that a listing comes by, as far as the page needs to know it. */
export interface Candidate {
  readonly queue: string;
  readonly name: string;
  readonly tags: readonly string[];
  /** Characters of payload and result. */
  readonly textLength: number;
  view(): StoredJob;
}

/**
 * One page of a listing, the same in every engine: which jobs are on it, when it is full, and whether there
 * is a next one.
 *
 * @param places where the jobs stand, in the order of the listing, behind the cursor
 * @param open the job at a place; `undefined` when there is none any more
 * @param cursorAt the cursor that goes on behind a place
 */
export function takePage<P>(
  query: ListQuery,
  places: Iterable<P>,
  open: (place: P) => Candidate | undefined,
  cursorAt: (place: P) => string,
): { jobs: StoredJob[]; next?: string } {
  const isFiltered = query.queue !== undefined || query.name !== undefined || query.tag !== undefined;
  const jobs: StoredJob[] = [];
  let looked = 0;
  let text = 0;
  let last: P | undefined;
  for (const place of places) {
    // There is one more than fits: only now is it known that a next page exists.
    const isFull = jobs.length >= query.limit || text >= limits.listText;
    if (last !== undefined && (isFull || (isFiltered && looked >= limits.listScan))) {
      return { jobs, next: cursorAt(last) };
    }
    const job = open(place);
    if (job === undefined) continue;
    looked += 1;
    last = place;
    if (!matches(job, query)) continue;
    jobs.push(job.view());
    text += job.textLength;
  }
  return { jobs };
}

function matches(job: Candidate, { queue, name, tag }: ListQuery): boolean {
  return (
    (queue === undefined || job.queue === queue) &&
    (name === undefined || job.name === name) &&
    (tag === undefined || job.tags.includes(tag))
  );
}

/** @throws InvalidOptionError for a limit out of range or an unknown state */
export function checkListQuery({ state, limit }: ListQuery): void {
  if (!JOB_STATES.includes(state)) {
    throw new InvalidOptionError("state", state, `Use one of ${JOB_STATES.join(", ")}.`);
  }
  checkLimit(limit);
}

/** @throws InvalidOptionError for a limit out of range */
export function checkKeyQuery({ limit }: KeyQuery): void {
  checkLimit(limit);
}

function checkLimit(limit: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.listPage) {
    throw new InvalidOptionError("limit", limit, `Use an integer from 1 to ${limits.listPage}.`);
  }
}

/** The refusal of a cursor that is none, or belongs to the listing of another state. */
export function badCursor(state: JobState, cursor: string): InvalidOptionError {
  return new InvalidOptionError("after", cursor, `Use the \`next\` of a page of ${state} jobs.`);
}
