import { InvalidOptionError } from "./errors.ts";
import { checkFilter, checkState, type JobFilter } from "./filter.ts";
import { type FleetEvent, follow, type FollowOptions } from "./follow.ts";
import type { AnyJobDefinition } from "./job/definition.ts";
import { limits } from "./job/limits.ts";
import { checkName } from "./job/name.ts";
import { type Queue, queueViews } from "./queues.ts";
import type { HeldKey, ProcessInfo, Stats, Storage } from "./storage/storage.ts";
import { historyView, type HistoryItem } from "./timeline.ts";
import { type Attempt, attemptView, type Job, jobView, toJobId } from "./view.ts";

/** A line of a job's log. */
export interface JobLogLine {
  readonly at: Date;
  readonly level: "debug" | "info" | "warn" | "error";
  readonly text: string;
  /** Of the run that wrote it. */
  readonly attempt: number;
  /** 1 for the first line of the job's life; the oldest are forgotten. */
  readonly number: number;
}

/** A unique key that is held. */
export interface JobKey {
  readonly key: string;
  /** Of the job that took it. It may have ended while the key is held for a time. */
  readonly id: string;
  /** Held until then whatever happens; `Infinity` as a date never comes, so it is `"ever"`. */
  readonly until?: Date | "ever";
}

/** Looking at what is stored: the reading half of `Jobs`. */
export class Look {
  readonly #storage: Storage;

  /** @internal */
  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** One job, or `undefined` when it is not in the storage. @throws InvalidOptionError */
  async get(id: string): Promise<Job | undefined> {
    const [stored] = await this.#storage.get([toJobId(id)]);
    return stored === undefined ? undefined : jobView(stored);
  }

  /**
   * One page of the jobs in one state: available ones in the order they became so, scheduled by due time,
   * finished ones newest first. A page can be short and still have a `next` when `tag` filters.
   *
   * @param query.limit 1 to 1,000. @default 100
   * @param query.after `next` of the page before
   */
  async list(
    query: JobFilter & { readonly limit?: number; readonly after?: string },
  ): Promise<{ jobs: Job[]; next?: string }> {
    const { limit = 100, after, ...filter } = query ?? {};
    checkFilter(filter, ["state", "queue", "name", "tag"]);
    checkState(filter.state);
    checkPage(limit, after);
    const { jobs, next } = await this.#storage.list({
      ...filter,
      limit,
      ...(after === undefined ? {} : { after }),
    });
    return { jobs: jobs.map(jobView), ...(next === undefined ? {} : { next }) };
  }

  /** How many jobs there are; exact up to 10,000 at least. Never scans. */
  async count(filter: Partial<Omit<JobFilter, "tag">> = {}): Promise<{ n: number; exact: boolean }> {
    checkFilter(filter, ["state", "queue", "name"]);
    if (filter.state !== undefined) checkState(filter.state);
    return this.#storage.count(filter);
  }

  /**
   * How many jobs came and how they ended: within the last hour, day, month (by the storage's clock, in whole
   * minutes, hours and days of UTC), and ever. Counted when it happened, so removing jobs changes nothing.
   */
  async stats(filter: { readonly queue?: string; readonly name?: string } = {}): Promise<Stats> {
    checkFilter(filter, ["queue", "name"]);
    return this.#storage.stats(filter);
  }

  /** The failed attempts of a job, oldest first: the first 10 and the last 40. */
  async attempts(id: string): Promise<Attempt[]> {
    return (await this.#storage.attempts(toJobId(id))).map(attemptView);
  }

  /** What its handler logged through `ctx.log`: the last 100 lines, oldest first. */
  async logs(id: string): Promise<JobLogLine[]> {
    return (await this.#storage.logs(toJobId(id))).map(({ at, ...line }) => ({ ...line, at: new Date(at) }));
  }

  /**
   * What happened to a job, oldest first: its enqueue, its failures, what delayed, moved or stopped it, and its end.
   * Bounded: the first 10 and the last 40 failures, and as many of the other events. Empty when the job is not there.
   */
  async history(id: string): Promise<HistoryItem[]> {
    const jobId = toJobId(id);
    const [[job], attempts] = await Promise.all([this.#storage.get([jobId]), this.#storage.attempts(jobId)]);
    return job === undefined ? [] : historyView(job, attempts);
  }

  /**
   * One page of the unique keys that are held now, of one definition or of those that all share.
   *
   * @param query.of a definition, or `"all"` for keys with `scope: "all"`
   * @param query.key only this one
   * @param query.limit 1 to 1,000. @default 100
   */
  async keys(query: {
    readonly of: Pick<AnyJobDefinition, "name"> | "all";
    readonly key?: string;
    readonly limit?: number;
    readonly after?: string;
  }): Promise<{ keys: JobKey[]; next?: string }> {
    const { of, key, limit = 100, after } = query ?? {};
    if (of !== "all" && typeof of?.name !== "string") {
      throw new InvalidOptionError("of", of, 'Use a definition, or "all".');
    }
    checkPage(limit, after);
    const { keys, next } = await this.#storage.keys({
      scope: of === "all" ? "" : of.name,
      limit,
      ...(key === undefined ? {} : { key: checkName(key, "key") }),
      ...(after === undefined ? {} : { after }),
    });
    const now = this.#storage.clock.now();
    return { keys: keys.map((one) => keyView(one, now)), ...(next === undefined ? {} : { next }) };
  }

  /** Every queue with its counts by state and name, whether it is paused, and whether anybody serves it. */
  async queues(): Promise<Queue[]> {
    const [lanes, processes] = await Promise.all([this.#storage.lanes(), this.#storage.processes()]);
    return queueViews(lanes, processes);
  }

  /** The processes that work, or that were lost and still hold jobs. */
  processes(): Promise<ProcessInfo[]> {
    return this.#storage.processes();
  }

  /**
   * What happens in the whole fleet from now on: jobs that end, whoever runs them, in order of their ends; and
   * processes that come, go and are lost. Found by looking, once a second by default, so it holds up nobody; jobs
   * with a retention of 0 are not seen.
   *
   * @example
   * for await (const event of jobs.events({ signal })) if (event.type === "dead") page(event.job);
   */
  events(options: FollowOptions = {}): AsyncIterableIterator<FleetEvent> {
    return follow(this.#storage, options);
  }
}

function checkPage(limit: number, after: string | undefined): void {
  if (after !== undefined && typeof after !== "string") {
    throw new InvalidOptionError("after", after, "Use `next` of the page before.");
  }
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.listPage) {
    throw new InvalidOptionError("limit", limit, `Use an integer from 1 to ${limits.listPage}.`);
  }
}

function keyView({ key, id, until }: HeldKey, now: number): JobKey {
  // A time that is over holds nothing, and storages differ in how long they remember it: its job holds the key.
  const isOver = until === undefined || (until !== null && until <= now);
  const held = isOver ? {} : { until: until === null ? ("ever" as const) : new Date(until) };
  return { key, id: String(id), ...held };
}
