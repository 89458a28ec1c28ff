import { limits } from "../job/limits.ts";
import type { NewJob, ScheduleWrite, StoredSchedule } from "../storage/storage.ts";
import { entryText, type ScheduleEntry } from "./entry.ts";
import { tickAfter, ticksBefore } from "./timing.ts";

/**
 * How late a tick may come and still be on time: longer than it takes another process to notice that the one
 * that would have fired it is gone.
 */
const ON_TIME_MS = 10_000;

/**
 * What a schedule that is due makes: the jobs of its ticks, and when it is due next. Pure. A tick's job carries
 * the instant of the tick as its `tickAt`, and at first as its `runAt`.
 *
 * Ticks on time make a job each. Those that are older were missed, and the policy says what they make: nothing,
 * one job for all, or one each, the last `limits.missedTicks` of them.
 *
 * @param now the storage's clock
 */
export function fire(
  stored: StoredSchedule & { readonly nextAt: number },
  entry: ScheduleEntry,
  now: number,
): ScheduleWrite {
  const { key, revision: expected, nextAt } = stored;
  const all = ticksToFire(entry, nextAt, now);
  // Large payloads go in several writes: the ticks that do not fit are due again at once.
  const ticks = all.slice(0, Math.max(1, Math.floor(limits.enqueueBytes / entry.job.payload.length)));
  const last = ticks.at(-1);
  const after: ScheduleEntry = last === undefined ? entry : { ...entry, lastTickAt: last };
  return {
    key,
    expected,
    row: { text: entryText(key, after), nextAt: all[ticks.length] ?? nextTick(entry, now) },
    jobs: ticks.map((at): NewJob => ({ ...entry.job, later: { at }, tickAt: at })),
    ...(entry.overlap === "skip" ? { unlessLive: true as const } : {}),
  };
}

/** When an entry is due next, after an instant; `null` = never. */
export function nextTick(
  entry: Pick<ScheduleEntry, "timing" | "startAt" | "until">,
  after: number,
): number | null {
  // At `startAt` itself there may be a tick.
  const next = tickAfter(entry.timing, Math.max(after, (entry.startAt ?? Number.NEGATIVE_INFINITY) - 1));
  return next === null || next > (entry.until ?? Number.POSITIVE_INFINITY) ? null : next;
}

function ticksToFire(
  { timing, missed, overlap, until }: ScheduleEntry,
  nextAt: number,
  now: number,
): number[] {
  const end = Math.min(now, until ?? now) + 1;
  const onTimeFrom = Math.max(nextAt, now - ON_TIME_MS);
  const ticks: number[] = [];
  // The instant it was due is a tick also when the timing does not have it.
  if (nextAt >= onTimeFrom && nextAt < end) ticks.push(nextAt);
  for (
    let at = tickAfter(timing, ticks[0] ?? onTimeFrom - 1);
    at !== null && at < end;
    at = tickAfter(timing, at)
  ) {
    ticks.push(at);
  }
  const most = missed === "skip" ? 0 : missed === "once" ? 1 : limits.missedTicks;
  const late = nextAt < onTimeFrom ? ticksBefore(timing, Math.min(onTimeFrom, end), nextAt, most) : [];
  if (late.length === 0 && most > 0 && nextAt < onTimeFrom) late.push(nextAt);
  const all = [...late, ...ticks];
  // The first would be live when the others come: the newest is the one that counts.
  return overlap === "skip" ? all.slice(-1) : all;
}
