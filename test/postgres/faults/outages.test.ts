import { describe, expect, it } from "vitest";
import type { Entry } from "../../crash/history.ts";
import { afterCrashes, type FaultEntry, loudestSecond, recoveryMs } from "./outages.ts";
import { problemsIn } from "./server-log.ts";

// Goal: the judge of the fault tests excuses what a crash of the server explains, and nothing else.
// Method: histories by hand, a few entries each.

const S = 1_000_000;

function claim(at: number, process: string, token: string, generation = 0): Entry {
  return { at, by: process, what: "claim", process, jobs: [[7, generation, token, false]] };
}

function start(at: number, process: string): Entry {
  return { at, by: process, what: "start", process, id: "7", batch: "b", number: 0, attempt: 1 };
}

function settle(at: number, process: string, token: string, answer: string, sentAt = at): Entry {
  return { at, by: process, what: "settle", process, sentAt, runs: [[7, 0, token, "completed", answer]] };
}

const crash = (from: number, until: number, isCrash = true): FaultEntry[] => [
  { at: from, by: "test", what: "away", isCrash },
  { at: until, by: "test", what: "back" },
];

describe("what crashes explain", () => {
  it("a claim just before, given out again, with all that was done under it", () => {
    const after = afterCrashes([
      claim(9.8 * S, "a", "a.1"),
      start(9.9 * S, "a"),
      ...crash(10 * S, 11 * S),
      claim(12 * S, "b", "b.1"),
      start(12.1 * S, "b"),
      settle(12.2 * S, "a", "a.1", "stale"),
      settle(12.3 * S, "b", "b.1", "settled"),
    ]);
    expect(after.problems).toEqual([]);
    expect(after.voids).toEqual([
      { id: 7, process: "a", token: "a.1", at: 9.8 * S, beforeCrash: 0.2 * S, refused: 1 },
    ]);
    expect(after.entries.filter(({ what }) => what === "start")).toEqual([start(12.1 * S, "b")]);
    const settled = after.entries.flatMap((entry) => (entry.what === "settle" ? entry.runs : []));
    expect(settled).toEqual([[7, 0, "b.1", "completed", "settled"]]);
  });

  it("not a claim long before, nor one without a crash, nor a settle under it", () => {
    const twice = (...between: FaultEntry[]): string[] => [
      ...afterCrashes([claim(5 * S, "a", "a.1"), ...between, claim(12 * S, "b", "b.1")]).problems,
    ];
    expect(twice()).toEqual(["job 7 was given out twice, and no crash explains a.1"]);
    expect(twice(...crash(10 * S, 11 * S))).toHaveLength(1);
    expect(twice(...crash(6 * S, 7 * S, false))).toHaveLength(1);
    expect(twice(...crash(6 * S, 7 * S))).toEqual([]);
    expect(twice(...crash(6 * S, 7 * S), settle(13 * S, "a", "a.1", "settled"))).toEqual([
      "job 7 was settled under a.1, which was void",
    ]);
  });

  it("reported starts just before, which may be lost as well", () => {
    const told = (at: number): Entry => ({ at, by: "a", what: "told", process: "a", starts: [[7, "a.1"]] });
    const { entries } = afterCrashes([told(1 * S), told(9.9 * S), ...crash(10 * S, 11 * S)]);
    expect(entries).toEqual([told(1 * S)]);
  });
});

it("a repeated settle counts from when it was first sent", () => {
  const { entries } = afterCrashes([
    claim(1 * S, "a", "a.1"),
    settle(3 * S, "a", "a.1", "unheard", 2 * S),
    settle(5 * S, "a", "a.1", "settled", 4 * S),
  ]);
  const sent = entries.flatMap((entry) => (entry.what === "settle" ? entry.sentAt : []));
  expect(sent).toEqual([2 * S, 2 * S]);
});

it("recovery is the time to the first answer with work, of each process and for each return", () => {
  const all = [
    ...crash(1 * S, 2 * S),
    claim(2.5 * S, "a", "a.1"),
    ...crash(3 * S, 4 * S),
    claim(6 * S, "a", "a.2"),
  ];
  expect(recoveryMs(all, ["a"])).toEqual([500, 2_000]);
  expect(recoveryMs(all, ["b"])).toEqual([Infinity, Infinity]);
});

it("lines are counted by process and second, those of handlers not", () => {
  const line = (second: number, text: string, isShown: boolean): FaultEntry => {
    return { at: second * S, by: "a", what: "line", level: "warn", text, isShown, second };
  };
  const all = [
    line(1, "x", true),
    line(1, "y", false),
    line(2, "z", true),
    line(1, 'job 7 "work" failed', true),
  ];
  expect(loudestSecond(all)).toEqual({ said: 2, shown: 1 });
});

it("the server's log is searched for what nobody has allowed, deadlocks always", () => {
  const log = `2026-01-01 00:00:00.000 UTC [1] jobwright ERROR:  deadlock detected
2026-01-01 00:00:00.000 UTC [1] jobwright DETAIL:  Process 1 waits
2026-01-01 00:00:00.000 UTC [1] jobwright LOG:  nothing
2026-01-01 00:00:00.000 UTC [2] app ERROR:  canceling statement due to user request
2026-01-01 00:00:00.000 UTC [3] FATAL:  the database system is starting up
2026-01-01 00:00:00.000 UTC [3] FATAL:  the database system is starting up`;
  const all = [{ text: /./, why: "everything" }];
  expect(problemsIn(log, all)).toEqual(["1 × ERROR:  deadlock detected\n  DETAIL:  Process 1 waits"]);
  expect(problemsIn(log, [{ text: /canceling/, why: "asked for" }])).toHaveLength(2);
  expect(problemsIn(log, []).at(-1)).toBe("2 × FATAL:  the database system is starting up");
});
