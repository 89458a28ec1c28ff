import { describe, expect, test } from "vitest";
import type { JobState } from "./job.ts";
import { JOB_STATES } from "./job.ts";
import { isHeld, isHeldByTime, isReplaceable, type KeyRow, keyRow, type UniqueKey } from "./key.ts";

const now = 1_700_000_000_000;
const unique: UniqueKey = { scope: "a", key: "order 7", while: "live", onConflict: "keep" };

describe("keyRow", () => {
  test.each([
    ["no time", undefined, { id: 7, while: "live" }],
    ["a time, from the enqueue on", 500, { id: 7, while: "live", until: now + 500 }],
    ["for ever", null, { id: 7, while: "live", until: null }],
  ])("%s", (_what, forMs, row) => {
    const key = forMs === undefined ? unique : { ...unique, forMs };
    expect(keyRow(7, key, now)).toStrictEqual(row);
  });
});

describe("isHeld", () => {
  const held = (row: Omit<KeyRow, "id">): (JobState | "gone")[] => {
    const states: (JobState | "gone")[] = [...JOB_STATES, "gone"];
    return states.filter((state) => isHeld({ id: 7, ...row }, state === "gone" ? undefined : state, now));
  };
  const always = [...JOB_STATES, "gone"];
  const waiting = ["scheduled", "available", "blocked"];

  test.each<[string, Omit<KeyRow, "id">, string[]]>([
    ["while it lives", { while: "live" }, [...waiting, "running"]],
    ["while it waits", { while: "waiting" }, waiting],
    ["by nothing", { while: null }, []],
    ["until an instant to come", { while: null, until: now + 1 }, always],
    ["until this very instant: it is over", { while: null, until: now }, []],
    ["for ever", { while: null, until: null }, always],
    ["for a time that is over, and while it lives", { while: "live", until: now }, [...waiting, "running"]],
    ["for a time that is not over, and while it waits", { while: "waiting", until: now + 1 }, always],
  ])("%s", (_what, row, states) => {
    expect(held(row)).toEqual(states);
  });

  test("by time alone, whatever became of the job", () => {
    const rows: KeyRow[] = [
      { id: 7, while: "live" },
      { id: 7, while: "live", until: now },
      { id: 7, while: "live", until: now + 1 },
      { id: 7, while: null, until: null },
    ];
    expect(rows.map((row) => isHeldByTime(row, now))).toEqual([false, false, true, true]);
  });
});

describe("isReplaceable", () => {
  const by = { name: "a", queue: "q" };

  test("while it waits, and not before or after", () => {
    const states = JOB_STATES.filter((state) => isReplaceable({ ...by, state }, by));
    expect(states).toEqual(["scheduled", "available", "blocked"]);
  });

  test("in its own lane only", () => {
    const holder = { ...by, state: "available" } as const;
    expect(isReplaceable(holder, { ...by, queue: "other" })).toBe(false);
    expect(isReplaceable(holder, { ...by, name: "b" })).toBe(false);
  });
});
