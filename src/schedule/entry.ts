import { limits } from "../job/limits.ts";
import type { NewJob } from "../storage/storage.ts";
import { InvalidOptionError } from "../errors.ts";
import type { Timing } from "./timing.ts";

/** What a schedule says, as storages keep it: as text that only this folder reads. */
export interface ScheduleEntry {
  readonly timing: Timing;
  /** The job that a tick makes, all options resolved. */
  readonly job: Omit<NewJob, "later" | "givenId">;
  readonly missed: MissedPolicy;
  readonly overlap: OverlapPolicy;
  /** No ticks before it, in epoch ms. */
  readonly startAt?: number;
  /** No ticks after it, in epoch ms. */
  readonly until?: number;
  /** Stands in the code of workers, not in a call. */
  readonly declared?: true;
  /** Nothing is due while it is paused; ticks that pass meanwhile are not missed. */
  readonly paused?: true;
  /** No living process declares it any more: since when, and when it was due next. */
  readonly orphan?: { readonly since: number; readonly nextAt: number | null };
  /** The instant of the last tick, whether or not it found the last job still at work. */
  readonly lastTickAt?: number;
}

/** What becomes of ticks that nobody was there for. */
export type MissedPolicy = "skip" | "once" | "all";
/** Whether a tick makes a job while the job of the last one has not ended. */
export type OverlapPolicy = "skip" | "allow";

/** Raised when what older code would do with an entry is no longer right. */
const VERSION = 1;
/** Room for what comes and goes in an entry: that it is paused or rests, and when it fired. */
const COMING_TEXT = 200;

/** @throws InvalidOptionError when what code says is too large; never for one that was stored before */
export function entryText(key: string, entry: ScheduleEntry): string {
  const text = JSON.stringify({ v: VERSION, ...entry });
  const most = limits.scheduleText - COMING_TEXT;
  if (text.length <= most) return text;
  const { paused: _paused, orphan: _orphan, lastTickAt: _lastTickAt, ...said } = entry;
  const { length } = JSON.stringify({ v: VERSION, ...said });
  if (length <= most) return text;
  throw new InvalidOptionError(
    "schedule",
    key,
    `Its text has ${length} characters; the limit is ${most}. Make the payload smaller.`,
  );
}

/** `undefined` when newer code wrote it: then it is newer code's business. */
export function readEntry(text: string): ScheduleEntry | undefined {
  try {
    const { v, ...entry } = JSON.parse(text) as ScheduleEntry & { readonly v: number };
    return v === VERSION ? entry : undefined;
  } catch {
    return undefined;
  }
}
