import { limits } from "../../job/limits.ts";
import type {
  DueSchedules,
  Promoted,
  ScheduleWrite,
  ScheduleWriteResult,
  StoredSchedule,
} from "../../storage/storage.ts";
import { wireLimits } from "../limits.ts";
import { eitherField, list, type ListShape, literal, orNull, record, type Shape, text } from "../shape.ts";
import { counter, id, instant, name } from "./basic.ts";
import { enqueueResults, tickJobs } from "./enqueue.ts";

/** What upkeep does again and again: promotions, schedules, pruning. */

export const promoted: Shape<Promoted> = record({
  needs: { promoted: counter },
  may: { nextAt: instant, tickAt: instant },
});

const scheduleText: Shape<string> = text(limits.scheduleText);
const stored: Shape<StoredSchedule> = record({
  needs: { key: name, text: scheduleText, nextAt: orNull(instant), revision: counter },
  may: { lastId: id },
});
export const schedules: ListShape<StoredSchedule> = list(stored, limits.schedules);
export const dueSchedules: Shape<DueSchedules> = record({
  needs: { now: instant, due: schedules },
  may: { nextAt: instant },
});

const row = record<NonNullable<ScheduleWrite["row"]>>({
  needs: { text: scheduleText, nextAt: orNull(instant) },
  may: {},
});
export const scheduleWrites: ListShape<ScheduleWrite> = list(
  record<ScheduleWrite>({
    needs: { key: name, expected: counter },
    may: { row, jobs: tickJobs, unlessLive: literal(true) },
  }),
  wireLimits.entries,
);
type Written = Extract<ScheduleWriteResult, { ok: true }>;
type Missed = Extract<ScheduleWriteResult, { ok: false }>;
export const scheduleResults: ListShape<ScheduleWriteResult> = list(
  eitherField(
    "jobs",
    record<Written>({ needs: { ok: literal(true), revision: counter, jobs: enqueueResults }, may: {} }),
    record<Missed>({ needs: { ok: literal(false) }, may: {} }),
  ),
  wireLimits.entries,
);

export const pruned: Shape<number> = counter;
