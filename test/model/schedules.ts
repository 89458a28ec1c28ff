import { isFinal, type JobId } from "../../src/job/job.ts";
import type {
  DueSchedules,
  EnqueueResult,
  GroupResult,
  NewJob,
  ScheduleWrite,
  ScheduleWriteResult,
  StoredSchedule,
} from "../../src/storage/storage.ts";
import type { ModelJob } from "./model-job.ts";

interface Jobs {
  readonly now: number;
  find(id: JobId): ModelJob | undefined;
  enqueueGroup(group: readonly NewJob[]): GroupResult;
}

/** Schedules by key, with revisions of the model's own. */
export class Schedules {
  rows: StoredSchedule[] = [];
  readonly #model: Jobs;
  #revisions = 0;

  constructor(model: Jobs) {
    this.#model = model;
  }

  get firstAt(): number | undefined {
    return this.#waiting()[0]?.nextAt;
  }

  due(limit: number): DueSchedules {
    const { now } = this.#model;
    const waiting = this.#waiting();
    const due = waiting.filter(({ nextAt }) => nextAt <= now).slice(0, limit);
    const next = waiting[due.length];
    return { now, due, ...(next === undefined ? {} : { nextAt: next.nextAt }) };
  }

  find(key: string): StoredSchedule | undefined {
    return this.rows.find((one) => one.key === key);
  }

  write(writes: readonly ScheduleWrite[]): ScheduleWriteResult[] {
    return writes.map(({ key, expected, row, jobs = [], unlessLive }) => {
      const before = this.find(key);
      if ((before?.revision ?? 0) !== expected) return { ok: false };
      const stored = unlessLive === true && this.lives(before) ? [] : jobs.flatMap((job) => this.#store(job));
      this.rows = this.rows.filter((one) => one !== before);
      if (row === undefined) return { ok: true, revision: 0, jobs: stored };
      this.#revisions += 1;
      const lastId = stored.at(-1)?.id ?? before?.lastId;
      const revision = this.#revisions;
      this.rows.push({ key, ...row, revision, ...(lastId === undefined ? {} : { lastId }) });
      return { ok: true, revision, jobs: stored };
    });
  }

  /** Whether the last job of a schedule is there and has not ended. */
  lives(schedule: StoredSchedule | undefined): boolean {
    const job = schedule?.lastId === undefined ? undefined : this.#model.find(schedule.lastId);
    return job !== undefined && !isFinal(job.head.state);
  }

  #store(job: NewJob): readonly EnqueueResult[] {
    const result = this.#model.enqueueGroup([job]);
    return result.ok ? result.jobs : [];
  }

  #waiting(): (StoredSchedule & { nextAt: number })[] {
    return this.rows
      .filter((one): one is StoredSchedule & { nextAt: number } => one.nextAt !== null)
      .toSorted((a, b) => a.nextAt - b.nextAt || (a.key < b.key ? -1 : 1));
  }
}
