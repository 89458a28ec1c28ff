import { setTimeout as wait } from "node:timers/promises";
import { type Duration, toMs } from "./duration.ts";
import { checkFilter } from "./filter.ts";
import { FINAL_STATES, type FinalState, type JobId } from "./job/job.ts";
import type { ProcessInfo, Storage, StoredJob } from "./storage/storage.ts";
import { type Job, jobView } from "./view.ts";

/** Something that happened in the fleet. */
export type FleetEvent =
  | { readonly type: FinalState; readonly job: Job }
  | { readonly type: "process-joined" | "process-left" | "process-lost"; readonly process: ProcessInfo };

/** What to hear of. */
export interface FollowOptions {
  /** Only jobs of this queue. */
  readonly queue?: string;
  /** Only jobs of this name. */
  readonly name?: string;
  /** Ends it. */
  readonly signal?: AbortSignal;
  /** Real time between two looks, 50 ms at least. @default "1s" */
  readonly every?: Duration;
}

/** Ended jobs in one look at the storage. */
const PAGE = 500;

/** What happens in the whole fleet from the first call of `next` on. */
export async function* follow(
  storage: Storage,
  options: FollowOptions,
): AsyncGenerator<FleetEvent, void, undefined> {
  const { signal, every = "1s", ...filter } = options;
  checkFilter(filter, ["queue", "name"]);
  const everyMs = toMs(every, "every", { min: 50 });
  const ends = FINAL_STATES.map((state) => new Ends(storage, state, filter));
  const fleet = new Fleet(storage);
  await Promise.all([...ends.map((end) => end.fresh()), fleet.changes()]);
  for (;;) {
    if (signal?.aborted === true) return;
    try {
      await wait(everyMs, undefined, signal === undefined ? {} : { signal });
    } catch {
      return;
    }
    const jobs = (await Promise.all(ends.map((end) => end.fresh()))).flat();
    jobs.sort((a, b) => (a.endedAt as number) - (b.endedAt as number));
    for (const job of jobs) yield { type: job.state as FinalState, job: jobView(job) };
    yield* await fleet.changes();
  }
}

/** Ended jobs remembered of one final state; those that ended before them count as told. */
const SEEN_MAX = 10_000;
/** Pages without a job of the filter that are passed on the way to one. */
const EMPTY_PAGES = 5;

/**
 * Jobs that reach one final state. An end can be seen later than others that came after it: it belongs to a
 * transaction that took its time, or to a clock that was set back. So what counts is which jobs were seen, as far back
 * as a page of the newest reaches, and not when the last of them ended.
 */
class Ends {
  readonly #storage: Storage;
  readonly #query: { readonly state: FinalState; readonly queue?: string; readonly name?: string };
  readonly #seen = new Map<JobId, number>();
  /** Whatever ended by then, and was not seen, is none of the news. */
  #toldUntil = Number.NEGATIVE_INFINITY;
  #isFirst = true;

  constructor(
    storage: Storage,
    state: FinalState,
    filter: { readonly queue?: string; readonly name?: string },
  ) {
    this.#storage = storage;
    this.#query = { state, ...filter };
  }

  /** Those that came since the last look: the newest stand first, so it goes on until a page has no news. */
  async fresh(): Promise<StoredJob[]> {
    const found: StoredJob[] = [];
    let empty = 0;
    for (let after: string | undefined; ;) {
      const query = { ...this.#query, limit: PAGE };
      const { jobs, next } = await this.#storage.list(after === undefined ? query : { ...query, after });
      const news = jobs.filter(
        ({ id, endedAt = 0 }) => endedAt > this.#toldUntil && this.#seen.get(id) !== endedAt,
      );
      for (const { id, endedAt = 0 } of news) this.#seen.set(id, endedAt);
      found.push(...news);
      if (jobs.length === 0) empty += 1;
      const isKnown = jobs.length > 0 && news.length === 0;
      if (this.#isFirst && jobs.length > 0 && next !== undefined) this.#toldUntil = jobs.at(-1)?.endedAt ?? 0;
      if (next === undefined || isKnown || empty > EMPTY_PAGES || (this.#isFirst && jobs.length > 0)) break;
      after = next;
    }
    this.#forgetOld();
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    return isFirst ? [] : found.reverse();
  }

  #forgetOld(): void {
    if (this.#seen.size <= SEEN_MAX) return;
    const byEnd = [...this.#seen].sort(([, a], [, b]) => a - b);
    for (const [id, endedAt] of byEnd.slice(0, byEnd.length - SEEN_MAX / 2)) {
      this.#seen.delete(id);
      this.#toldUntil = Math.max(this.#toldUntil, endedAt);
    }
  }
}

/** Processes that come and go. */
class Fleet {
  readonly #storage: Storage;
  #known: Map<string, ProcessInfo> | undefined;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async changes(): Promise<FleetEvent[]> {
    const before = this.#known;
    const now = new Map((await this.#storage.processes()).map((one) => [one.id, one]));
    this.#known = now;
    if (before === undefined) return [];
    const events: FleetEvent[] = [];
    for (const [id, process] of now) {
      const old = before.get(id);
      if (old === undefined) events.push({ type: "process-joined", process });
      if (process.lost && old?.lost !== true) events.push({ type: "process-lost", process });
    }
    for (const [id, process] of before) {
      if (!now.has(id)) events.push({ type: "process-left", process });
    }
    return events;
  }
}
