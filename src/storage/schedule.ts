import type { JobId } from "../job/job.ts";
import type { EnqueueResult, NewJob } from "./storage.ts";

/**
 * Schedules as a storage keeps them: a key, an instant, and a text that only `schedule/` understands. All that a
 * storage has to do is to hand out what is due, and to write only over what the writer has seen.
 */
export interface StoredSchedule {
  readonly key: string;
  /** JSON text. */
  readonly text: string;
  /** When it is due next, in epoch ms; `null` = never, as long as nobody writes it. */
  readonly nextAt: number | null;
  /** Given anew by every write, and never twice in a storage. */
  readonly revision: number;
  /** The last job that a write stored. */
  readonly lastId?: JobId;
}

/** The schedules whose time has come. */
export interface DueSchedules {
  /** The storage's clock. */
  readonly now: number;
  readonly due: readonly StoredSchedule[];
  /** The first that is not among them, due or not. */
  readonly nextAt?: number;
}

/** One schedule to create, change, fire or remove. */
export interface ScheduleWrite {
  readonly key: string;
  /** The revision that it must have; 0 = there must be none. */
  readonly expected: number;
  /** What it becomes; absent = it is removed. */
  readonly row?: { readonly text: string; readonly nextAt: number | null };
  /** Stored if and only if the write counts. */
  readonly jobs?: readonly NewJob[];
  /** Store no jobs while the one of `lastId` has not ended. */
  readonly unlessLive?: true;
}

/** What became of a write. */
export type ScheduleWriteResult =
  | {
      readonly ok: true;
      /** 0 when it was removed. */
      readonly revision: number;
      /** Jobs that were not stored because of a refusal, or because the last one lives, are left out. */
      readonly jobs: readonly EnqueueResult[];
    }
  /** Somebody else wrote it meanwhile, or it is not there (any more). */
  | { readonly ok: false };
