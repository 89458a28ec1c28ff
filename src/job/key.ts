import { isFinal, type JobState } from "./job.ts";

/**
 * Keys of jobs: a unique key lets one job in at a time, a limit key lets some run at a time.
 * The rules are here; storages keep the keys and apply them.
 */

/** A key that one job holds. */
export interface UniqueKey {
  /** The definition's name, or empty for a key that all definitions share. */
  readonly scope: string;
  readonly key: string;
  /**
   * `waiting`: held while the job waits, so not while it runs; `live`: held until it ends; `null`: neither.
   * A job that waits again (a retry) holds its key again, unless another one took it meanwhile.
   */
  readonly while: "waiting" | "live" | null;
  /** Held this long from the enqueue, in ms, whatever becomes of the job; `null` = for ever. */
  readonly forMs?: number | null;
  /** What becomes of a job that meets a holder. */
  readonly onConflict: "keep" | "replace" | "error";
  /** The next job of the key begins with the checkpoint of the last, as long as that is kept. */
  readonly inherit?: true;
}

/** A key of which so many jobs run at a time, in the whole fleet. */
export interface LimitKey {
  readonly scope: string;
  readonly key: string;
  /** A job starts only while fewer than this run. */
  readonly concurrency: number;
}

/** What is kept of a unique key: the job that took it last. */
export interface KeyRow {
  readonly id: number;
  readonly while: "waiting" | "live" | null;
  /** In epoch ms; `null` = for ever; absent = no time. */
  readonly until?: number | null;
}

/** The row of a key that a job takes now. */
export function keyRow(id: number, unique: UniqueKey, now: number): KeyRow {
  const { forMs } = unique;
  if (forMs === undefined) return { id, while: unique.while };
  return { id, while: unique.while, until: forMs === null ? null : now + forMs };
}

/** Whether a key is held. @param state of the job that took it, `undefined` when it is not kept any more */
export function isHeld(row: KeyRow, state: JobState | undefined, now: number): boolean {
  if (isHeldByTime(row, now)) return true;
  if (state === undefined || isFinal(state) || row.while === null) return false;
  return row.while === "live" || state !== "running";
}

/** Whether the row must stay when its job ends. */
export function isHeldByTime({ until }: KeyRow, now: number): boolean {
  return until === null || (until !== undefined && until > now);
}

/** Whether the holder of a key takes over what a new job says: it waits, and in the same lane. */
export function isReplaceable(
  holder: { readonly name: string; readonly queue: string; readonly state: JobState },
  by: { readonly name: string; readonly queue: string },
): boolean {
  const { state } = holder;
  if (state !== "scheduled" && state !== "available" && state !== "blocked") return false;
  return holder.name === by.name && holder.queue === by.queue;
}

export function isSameLimit(a: LimitKey | undefined, b: LimitKey | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.scope === b.scope && a.key === b.key);
}
