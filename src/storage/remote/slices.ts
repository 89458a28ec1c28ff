import type { NewJob, ScheduleWrite, Settlement } from "../storage.ts";

/** Text that one call carries, in characters, unless one entry alone has more: frames stay far below their limit. */
const SLICE_LENGTH = 8_388_608;

/** Entries in as few calls as their text allows, in order. */
export function slices<T>(entries: readonly T[], textOf: (entry: T) => number): (readonly T[])[] {
  const found: T[][] = [];
  let length = 0;
  let current: T[] = [];
  for (const entry of entries) {
    const more = textOf(entry);
    if (current.length > 0 && length + more > SLICE_LENGTH) {
      found.push(current);
      current = [];
      length = 0;
    }
    current.push(entry);
    length += more;
  }
  if (current.length > 0) found.push(current);
  return found.length === 1 ? [entries] : found;
}

export function textOfGroup(group: readonly NewJob[]): number {
  let length = 0;
  for (const { payload } of group) length += payload.length;
  return length;
}

export function textOfSettlement({ outcome, enqueue }: Settlement): number {
  const result = outcome.state === "completed" ? (outcome.result?.length ?? 0) : 0;
  return result + (enqueue === undefined ? 0 : textOfGroup(enqueue));
}

/** Jobs of one write that have the same payload carry it once. */
export function textOfWrite({ row, jobs = [] }: ScheduleWrite): number {
  let length = row?.text.length ?? 0;
  let before: string | undefined;
  for (const { payload } of jobs) {
    if (payload !== before) length += payload.length;
    before = payload;
  }
  return length;
}
