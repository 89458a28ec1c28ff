import { JOB_STATES, type JobState } from "../../job/job.ts";
import { badCursor, checkListQuery, takePage } from "../page.ts";
import type { CountQuery, ListQuery, StoredJob } from "../storage.ts";
import type { Finished } from "./finished.ts";
import { Heap } from "./heap.ts";
import { type KeptJob, storedJob } from "./kept-job.ts";
import type { Lanes } from "./lane.ts";
import { byPlace, type OrderedJobs, type Place } from "./ordered-jobs.ts";
import type { Processes } from "./processes.ts";

/** What a listing reads. */
export interface ListSources {
  readonly lanes: Lanes;
  readonly scheduled: OrderedJobs;
  readonly blocked: OrderedJobs;
  readonly finished: Finished;
  readonly processes: Processes;
}

/**
 * One page of the jobs in one state.
 *
 * @throws InvalidOptionError for a limit out of range, an unknown state, or a cursor of another listing
 */
export function listPage(sources: ListSources, query: ListQuery): { jobs: StoredJob[]; next?: string } {
  checkListQuery(query);
  const after = query.after === undefined ? undefined : readCursor(query.state, query.after);
  return takePage(
    query,
    jobsFrom(sources, query, after),
    (job) => ({
      ...{ queue: job.spec.queue, name: job.spec.name, tags: job.spec.tags },
      textLength: job.spec.payload.length + (job.head.result?.length ?? 0),
      view: () => storedJob(job),
    }),
    (job) => cursorAt(query.state, job),
  );
}

/** How many jobs there are of a state, a queue and a name, or of all. */
export function countJobs(
  { lanes, counts }: { readonly lanes: Lanes; readonly counts: readonly number[] },
  { state, queue, name }: CountQuery,
): number {
  const indexes = state === undefined ? ALL_STATES : [JOB_STATES.indexOf(state)];
  if (queue === undefined && name === undefined) return sum(counts, indexes);
  let n = 0;
  for (const lane of lanes.select(queue, name)) n += sum(lane.counts, indexes);
  return n;
}

const ALL_STATES = JOB_STATES.map((_state, index) => index);

function sum(counts: readonly number[], indexes: readonly number[]): number {
  let n = 0;
  for (const index of indexes) n += counts[index] ?? 0;
  return n;
}

/** The jobs of the state behind a place, in the order of its listing. */
function jobsFrom(sources: ListSources, query: ListQuery, after: Place | undefined): Iterable<KeptJob> {
  switch (query.state) {
    case "scheduled":
      return sources.scheduled.upwards(after);
    case "available":
      return availableFrom(sources.lanes, query, after);
    case "running":
      return runningFrom(sources.processes, after);
    case "blocked":
      return sources.blocked.upwards(after);
    case "completed":
    case "cancelled":
    case "dead":
      return sources.finished.list(JOB_STATES.indexOf(query.state)).downwards(after);
  }
}

/** The lists of the lanes asked for, merged by seq. */
function* availableFrom(lanes: Lanes, query: ListQuery, after: Place | undefined): Generator<KeptJob> {
  const sources: { job: KeptJob; readonly rest: Iterator<KeptJob> }[] = [];
  for (const lane of lanes.select(query.queue, query.name)) {
    for (const list of lane.lists()) {
      const rest = list.upwards(after);
      const first = rest.next();
      if (first.done !== true) sources.push({ job: first.value, rest });
    }
  }
  const heap = new Heap(sources, (a, b) => byPlace(a.job, b.job));
  for (let source = heap.top(); source !== undefined; source = heap.top()) {
    yield source.job;
    const next = source.rest.next();
    if (next.done === true) {
      heap.dropTop();
    } else {
      source.job = next.value;
      heap.settleTop();
    }
  }
}

/** Running jobs by id. They are as many as the slots of all workers, so they are put in order when asked for. */
function runningFrom(processes: Processes, after: Place | undefined): KeptJob[] {
  const jobs: KeptJob[] = [];
  const behind = after?.place ?? 0;
  for (const process of processes.all()) {
    for (let job = process.first; job !== null; job = job.heldAfter) if (job.id > behind) jobs.push(job);
  }
  return jobs.sort((a, b) => a.id - b.id);
}

/** `state~at~place`: opaque to callers, and a cursor of one state does not fit another. */
function cursorAt(state: JobState, job: KeptJob): string {
  return state === "running" ? `${state}~0~${job.id}` : `${state}~${job.at}~${job.place}`;
}

const CURSOR = /^([a-z]+)~(\d{1,16}(?:\.\d+)?)~(\d{1,16})$/;

function readCursor(state: JobState, cursor: string): Place {
  const [, ofState, at, place] = CURSOR.exec(cursor) ?? [];
  if (ofState !== state) {
    throw badCursor(state, cursor);
  }
  return { at: Number(at), place: Number(place) };
}
