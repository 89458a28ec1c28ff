import type { NewJob, ScheduleWrite, Storage, StoredSchedule } from "../storage/storage.ts";
import { StateError, StorageUnavailableError } from "../errors.ts";
import type { ScheduleDeclaration } from "./declaration.ts";
import { entryText, readEntry, type ScheduleEntry } from "./entry.ts";
import { nextTick } from "./fire.ts";
import type { Timing } from "./timing.ts";

/** Times that others may be quicker before something must be wrong. */
const TRIES = 50;

/**
 * Change one schedule: read it, say what it becomes, write it if nobody else has meanwhile, and again from the
 * beginning if somebody has. What is answered with `undefined` is left as it is.
 */
export async function change<T>(
  storage: Storage,
  key: string,
  what: (stored: StoredSchedule | undefined) => {
    readonly write?: Omit<ScheduleWrite, "key" | "expected">;
    readonly answer: T;
  },
  seen?: SeenSchedules,
): Promise<{ readonly answer: T; readonly jobs: readonly { readonly id: number }[] }> {
  for (let tries = 0; tries < TRIES; tries++) {
    const isSeen = seen !== undefined && tries === 0;
    const stored = isSeen ? seen.byKey.get(key) : (await storage.schedules()).find((one) => one.key === key);
    const { write, answer } = what(stored);
    if (write === undefined) return { answer, jobs: [] };
    const [result] = await storage.writeSchedules([{ key, expected: stored?.revision ?? 0, ...write }]);
    if (result?.ok === true) return { answer, jobs: result.jobs };
  }
  throw new StorageUnavailableError(
    `The schedule "${key}" changed ${TRIES} times while it was to be written.`,
  );
}

/** Schedules as somebody saw them just now: to look at all of them again for each of many would take for ever. */
export interface SeenSchedules {
  readonly now: number;
  readonly byKey: ReadonlyMap<string, StoredSchedule>;
}

export async function seenSchedules(storage: Storage): Promise<SeenSchedules> {
  const { now } = await storage.dueSchedules(1);
  return { now, byKey: new Map((await storage.schedules()).map((one) => [one.key, one])) };
}

/** @throws StateError for one that newer code wrote */
export function entryOf(stored: StoredSchedule): ScheduleEntry {
  const entry = readEntry(stored.text);
  if (entry !== undefined) return entry;
  throw new StateError(`The schedule "${stored.key}" was written by newer code: change it with that.`);
}

/**
 * Store what code says of a schedule. One that says the same as before keeps everything; with another timing
 * it begins anew; and it stays paused.
 *
 * @param job the job that a tick makes
 * @param seen how the schedules stood just now, where that is known
 */
export async function save(
  storage: Storage,
  declaration: ScheduleDeclaration,
  job: NewJob,
  declared: boolean,
  seen?: SeenSchedules,
): Promise<void> {
  const now = seen?.now ?? (await storage.dueSchedules(1)).now;
  const { later: _later, givenId: _givenId, trace: _trace, ...template } = job;
  await change(
    storage,
    declaration.key,
    (stored) => {
      const before = stored === undefined ? undefined : entryOf(stored);
      const timing = timingOf(declaration, before, now);
      const entry: ScheduleEntry = {
        timing,
        job: template,
        missed: declaration.missed,
        overlap: declaration.overlap,
        ...(declaration.startAt === undefined ? {} : { startAt: declaration.startAt }),
        ...(declaration.until === undefined ? {} : { until: declaration.until }),
        ...(declared ? { declared: true as const } : {}),
        ...(before?.paused === true ? { paused: true as const } : {}),
        ...(before?.lastTickAt === undefined ? {} : { lastTickAt: before.lastTickAt }),
      };
      const isSame =
        before !== undefined &&
        before.startAt === entry.startAt &&
        before.until === entry.until &&
        same(before.timing, timing);
      const kept = before?.orphan === undefined ? stored?.nextAt : before.orphan.nextAt;
      const nextAt =
        entry.paused === true ? null : isSame ? (kept ?? null) : firstTick(declaration, entry, now);
      const text = entryText(declaration.key, entry);
      if (stored !== undefined && stored.text === text && stored.nextAt === nextAt)
        return { answer: undefined };
      return { write: { row: { text, nextAt } }, answer: undefined };
    },
    seen,
  );
}

/** An interval that is as it was goes on counting from where it did. */
function timingOf(
  { timing, startAt }: ScheduleDeclaration,
  before: ScheduleEntry | undefined,
  now: number,
): Timing {
  if (timing.kind === "cron") return timing;
  if (startAt !== undefined) return { ...timing, anchor: startAt };
  const was = before?.startAt === undefined ? before?.timing : undefined;
  const isSame = was?.kind === "every" && was.everyMs === timing.everyMs;
  return { ...timing, anchor: isSame ? was.anchor : now };
}

function firstTick(
  { first, startAt, until }: ScheduleDeclaration,
  entry: ScheduleEntry,
  now: number,
): number | null {
  if (first === "later") return nextTick(entry, now);
  const at = Math.max(now, startAt ?? now);
  return at > (until ?? at) ? null : at;
}

function same(a: Timing, b: Timing): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
