import { StorageFullError } from "../../errors.ts";
import { isFinal, JOB_STATES, type JobId } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import type {
  DueSchedules,
  EnqueueResult,
  NewJob,
  ScheduleWrite,
  ScheduleWriteResult,
  StoredSchedule,
} from "../storage.ts";
import type { JobStore } from "./job-store.ts";

/** Schedules, and the jobs that their ticks store. */
export class Schedules {
  readonly #store: JobStore;
  readonly #label: string;
  readonly #schedules = new Map<string, StoredSchedule>();
  #revisions = 0;
  /** When the first is due; looked up when asked for, after a write. */
  #first: number | undefined;
  #isFirstKnown = true;

  constructor(store: JobStore, label: string) {
    this.#store = store;
    this.#label = label;
  }

  all(): StoredSchedule[] {
    return [...this.#schedules.values()];
  }

  get firstAt(): number | undefined {
    if (!this.#isFirstKnown) {
      let first = Number.POSITIVE_INFINITY;
      for (const { nextAt } of this.#schedules.values())
        if (nextAt !== null && nextAt < first) first = nextAt;
      this.#first = first === Number.POSITIVE_INFINITY ? undefined : first;
      this.#isFirstKnown = true;
    }
    return this.#first;
  }

  due(limit: number, now: number): DueSchedules {
    const waiting = this.all().filter(({ nextAt }) => nextAt !== null) as (StoredSchedule & {
      nextAt: number;
    })[];
    waiting.sort((a, b) => a.nextAt - b.nextAt || (a.key < b.key ? -1 : 1));
    const due = waiting.filter(({ nextAt }) => nextAt <= now).slice(0, limit);
    const next = waiting[due.length];
    return { now, due, ...(next === undefined ? {} : { nextAt: next.nextAt }) };
  }

  /** @throws StorageFullError before anything is written */
  write(writes: readonly ScheduleWrite[], now: number): ScheduleWriteResult[] {
    const more = new Set(
      writes.filter(({ key, row }) => row !== undefined && !this.#schedules.has(key)).map(({ key }) => key),
    );
    if (this.#schedules.size + more.size > limits.schedules) {
      throw new StorageFullError(
        `The storage "${this.#label}" has ${this.#schedules.size} schedules; its bound is ${limits.schedules}. ` +
          "Remove some: one schedule can make jobs for many things.",
      );
    }
    this.#store.checkRoom(
      writes.map(({ jobs }) => jobs ?? []),
      now,
    );
    this.#isFirstKnown = false;
    return writes.map((write) => this.#writeOne(write, now));
  }

  #writeOne({ key, expected, row, jobs, unlessLive }: ScheduleWrite, now: number): ScheduleWriteResult {
    const before = this.#schedules.get(key);
    if ((before?.revision ?? 0) !== expected) return { ok: false };
    const isHeldUp = unlessLive === true && before?.lastId !== undefined && this.#isLive(before.lastId);
    const stored = isHeldUp ? [] : this.#storeEach(jobs ?? [], now);
    if (row === undefined) {
      this.#schedules.delete(key);
      return { ok: true, revision: 0, jobs: stored };
    }
    const revision = ++this.#revisions;
    const lastId = stored.at(-1)?.id ?? before?.lastId;
    this.#schedules.set(key, { key, ...row, revision, ...(lastId === undefined ? {} : { lastId }) });
    return { ok: true, revision, jobs: stored };
  }

  #storeEach(jobs: readonly NewJob[], now: number): EnqueueResult[] {
    return jobs.flatMap((job) => {
      const result = this.#store.storeGroup([job], now);
      return result.ok ? result.jobs : [];
    });
  }

  #isLive(id: JobId): boolean {
    const job = this.#store.jobs.get(id);
    return job !== undefined && !isFinal(JOB_STATES[job.state] as (typeof JOB_STATES)[number]);
  }
}
