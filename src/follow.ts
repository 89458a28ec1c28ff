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

/** Jobs that reach one final state. */
class Ends {
  readonly #storage: Storage;
  readonly #query: { readonly state: FinalState; readonly queue?: string; readonly name?: string };
  /** The last end seen, and the jobs that ended at that very instant. */
  #lastAt = Number.NEGATIVE_INFINITY;
  #seen = new Set<JobId>();
  #isFirst = true;

  constructor(
    storage: Storage,
    state: FinalState,
    filter: { readonly queue?: string; readonly name?: string },
  ) {
    this.#storage = storage;
    this.#query = { state, ...filter };
  }

  /** Those that came since the last look: the newest stand first, so it goes on until it meets what it knows. */
  async fresh(): Promise<StoredJob[]> {
    const found: StoredJob[] = [];
    for (let after: string | undefined; ;) {
      const limit = this.#isFirst ? 1 : PAGE;
      const page = await this.#storage.list({
        ...this.#query,
        limit,
        ...(after === undefined ? {} : { after }),
      });
      const news = page.jobs.filter(
        ({ id, endedAt = 0 }) => endedAt > this.#lastAt || (endedAt === this.#lastAt && !this.#seen.has(id)),
      );
      const isPast = page.jobs.some(({ endedAt = 0 }) => endedAt < this.#lastAt);
      found.push(...news);
      if (this.#isFirst || isPast || page.next === undefined) break;
      after = page.next;
    }
    this.#remember(found);
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    return isFirst ? [] : found.reverse();
  }

  #remember(found: readonly StoredJob[]): void {
    for (const { id, endedAt = 0 } of found) {
      if (endedAt > this.#lastAt) {
        this.#lastAt = endedAt;
        this.#seen = new Set();
      }
      if (endedAt === this.#lastAt) this.#seen.add(id);
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
