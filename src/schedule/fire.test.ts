import { describe, expect, it } from "vitest";
import { exponential } from "../job/backoff.ts";
import { limits } from "../job/limits.ts";
import type { StoredSchedule } from "../storage/storage.ts";
import { entryText, readEntry, type ScheduleEntry } from "./entry.ts";
import { fire, nextTick } from "./fire.ts";

const MINUTE = 60_000;
const entry: ScheduleEntry = {
  timing: { kind: "every", everyMs: MINUTE, anchor: 0 },
  job: {
    ...{
      name: "tick",
      queue: "default",
      payload: "1",
      priority: 0,
      maxRetries: 5,
      timeoutMs: null,
      tags: [],
    },
    backoff: exponential(),
    retention: { completedMs: 0, cancelledMs: 0, deadMs: 0 },
  },
  missed: "once",
  overlap: "allow",
};

/** The instants for which jobs are made, in minutes, and the next one. */
function fired(
  change: Partial<ScheduleEntry>,
  nextAt: number,
  now: number,
): { at: number[]; nextAt: number | null } {
  const changed = { ...entry, ...change };
  const stored: StoredSchedule & { nextAt: number } = {
    key: "k",
    text: entryText("k", changed),
    nextAt,
    revision: 7,
  };
  const write = fire(stored, changed, now);
  expect(write.expected).toBe(7);
  return {
    at: (write.jobs ?? []).map(({ later, tickAt }) => {
      expect(later).toEqual({ at: tickAt });
      return (tickAt as number) / MINUTE;
    }),
    nextAt: write.row?.nextAt === null ? null : (write.row?.nextAt as number) / MINUTE,
  };
}

describe("what a due schedule makes", () => {
  const late = 100 * MINUTE + 15_000;
  it.each<
    [
      what: string,
      change: Partial<ScheduleEntry>,
      nextAt: number,
      now: number,
      at: number[],
      next: number | null,
    ]
  >([
    ["its tick, on time", {}, 5 * MINUTE, 5 * MINUTE, [5], 6],
    ["its tick, 10 s late", { missed: "skip" }, 5 * MINUTE, 5 * MINUTE + 10_000, [5], 6],
    [
      "nothing for one that was missed, if it says so",
      { missed: "skip" },
      5 * MINUTE,
      5 * MINUTE + 10_001,
      [],
      6,
    ],
    ["one job for all that were missed", { missed: "once" }, 5 * MINUTE, late, [100], 101],
    ["one each of those that were missed", { missed: "all" }, 97 * MINUTE, late, [97, 98, 99, 100], 101],
    [
      "one of all while jobs must not overlap",
      { missed: "all", overlap: "skip" },
      97 * MINUTE,
      late,
      [100],
      101,
    ],
    ["a first tick that is not on its way", {}, 5.5 * MINUTE, 5.5 * MINUTE, [5.5], 6],
    ["the last one before its end", { until: 5 * MINUTE }, 5 * MINUTE, 5 * MINUTE, [5], null],
    ["none after its end", { until: 5 * MINUTE, missed: "all" }, 4 * MINUTE, 9 * MINUTE, [4, 5], null],
  ])("%s", (_what, change, nextAt, now, at, next) => {
    expect(fired(change, nextAt, now)).toEqual({ at, nextAt: next });
  });

  it("no more than 1,000 of those that were missed, and then the last ones", () => {
    const { at, nextAt } = fired({ missed: "all" }, MINUTE, 5_000 * MINUTE + 30_000);
    expect(at).toHaveLength(1_000);
    expect([at[0], at.at(-1), nextAt]).toEqual([4_001, 5_000, 5_001]);
  });

  it("every tick of the last 10 s, whatever was missed before", () => {
    const timing = { kind: "every", everyMs: 1_000, anchor: 0 } as const;
    const { at } = fired({ timing, missed: "skip" }, 0, 60_000);
    expect(at.map((minutes) => Math.round(minutes * 60))).toEqual([
      50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60,
    ]);
  });

  it("as many at a time as their payloads allow, and the others at once", () => {
    const payload = JSON.stringify("x".repeat(60_000));
    const { at, nextAt } = fired(
      { missed: "all", job: { ...entry.job, payload } },
      MINUTE,
      500 * MINUTE + 15_000,
    );
    expect([at.length, at[0], nextAt]).toEqual([279, 1, 280]);
  });

  it("remembers the last tick", () => {
    const stored: StoredSchedule & { nextAt: number } = { key: "k", text: "", nextAt: MINUTE, revision: 1 };
    const write = fire(stored, entry, MINUTE);
    expect(readEntry(write.row?.text ?? "")?.lastTickAt).toBe(MINUTE);
  });
});

describe("an entry", () => {
  it("of newer code is not read", () => {
    expect(readEntry(JSON.stringify({ ...entry, v: 2 }))).toBeUndefined();
    expect(readEntry("no json")).toBeUndefined();
  });

  it("that was stored can always be written again: paused, resting, fired", () => {
    const largest = (payload: number): ScheduleEntry => ({
      ...entry,
      job: { ...entry.job, payload: `"${"x".repeat(payload)}"` },
    });
    let length = limits.scheduleText;
    const fits = (): boolean => {
      try {
        return entryText("k", largest(length)) !== "";
      } catch {
        return false;
      }
    };
    while (!fits()) length -= 1;
    const { instantMax: at } = limits;
    const stored: StoredSchedule & { nextAt: number } = { key: "k", text: "", nextAt: MINUTE, revision: 1 };
    expect(fire(stored, largest(length), MINUTE).jobs).toHaveLength(1);
    const resting = entryText("k", {
      ...largest(length),
      ...{ paused: true, lastTickAt: at, orphan: { since: at, nextAt: at } },
    });
    expect(resting.length).toBeLessThanOrEqual(limits.scheduleText);
  });

  it("comes back as it was written", () => {
    expect(readEntry(entryText("k", entry))).toEqual(entry);
  });

  it("has no tick before its start", () => {
    expect(nextTick({ timing: entry.timing, startAt: 5 * MINUTE }, MINUTE)).toBe(5 * MINUTE);
  });

  it("has no next tick when its end has come", () => {
    expect(nextTick({ timing: entry.timing, until: 3 * MINUTE }, 3 * MINUTE)).toBeNull();
  });
});
