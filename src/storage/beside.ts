import type { JobId } from "../job/job.ts";

/** What storages keep beside jobs: log lines, unique keys, and statistics. */

/** One line that a handler logged. */
export interface LogLine {
  /** By the storage's clock as the worker sees it. */
  readonly at: number;
  readonly level: "debug" | "info" | "warn" | "error";
  /** At most `limits.logText` characters. */
  readonly text: string;
}

/** A line as it is kept. */
export interface LogEntry extends LogLine {
  /** 1 for the first line of the job's life. */
  readonly number: number;
  /** Of the run that wrote it. */
  readonly attempt: number;
}

/** Which unique keys to look at. */
export interface KeyQuery {
  /** The name of the definition, or empty for keys that all definitions share. */
  readonly scope: string;
  /** Only this one. */
  readonly key?: string;
  /** 1 to `limits.listPage`. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string;
}

/** A page of keys; it may hold fewer than asked for and still have a `next`. */
export interface KeyPage {
  readonly keys: readonly HeldKey[];
  readonly next?: string;
}

/** A unique key and who holds it. */
export interface HeldKey {
  readonly key: string;
  /** The job that took it. It may have ended, and be gone, while the key is held for a time. */
  readonly id: JobId;
  /** Held until then whatever happens, in epoch ms; `null` = for ever. */
  readonly until?: number | null;
}

/** How many jobs came and how they ended, within a time. */
export interface Flow {
  readonly enqueued: number;
  readonly completed: number;
  readonly cancelled: number;
  readonly dead: number;
}

/** Flow by the storage's clock; counted when it happens, and never taken back. */
export interface Stats {
  /** This minute and the 59 before. */
  readonly hour: Flow;
  /** This hour (of UTC) and the 23 before. */
  readonly day: Flow;
  /** This day (of UTC) and the 29 before. */
  readonly month: Flow;
  readonly total: Flow;
}
