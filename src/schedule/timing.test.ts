import { describe, expect, it } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import { cronTiming, tickAfter, ticksBefore, type Timing } from "./timing.ts";

const iso = (at: number | null): string => (at === null ? "never" : new Date(at).toISOString());
const ms = (text: string): number => Date.parse(text);

function ticks(timing: Timing, from: string, n: number): string[] {
  const found: string[] = [];
  for (let at = tickAfter(timing, ms(from)); at !== null && found.length < n; at = tickAfter(timing, at)) {
    found.push(iso(at).replace(".000Z", "Z"));
  }
  return found;
}

// Goal: zones and changes of the clocks as a person with a calendar reads them. Written by hand: the local time of
// each tick, turned into UTC by the offsets that the zone had on that day.
describe("cron across the changes of the clocks", () => {
  it.each<[what: string, expression: string, zone: string, from: string, expected: string[]]>([
    [
      "New York, spring forward: 02:30 does not exist on 8 March and comes at 03:00 EDT",
      "30 2 * * *",
      "America/New_York",
      "2026-03-07T00:00:00Z",
      ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
    ],
    [
      "New York, back: 01:30 exists twice on 1 November and comes once, in EDT",
      "30 1 * * *",
      "America/New_York",
      "2026-10-31T00:00:00Z",
      ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
    ],
    [
      "New York, back: a tick every hour comes every hour, the doubled one twice",
      "0 * * * *",
      "America/New_York",
      "2026-11-01T03:30:00Z",
      ["2026-11-01T04:00:00Z", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"],
    ],
    [
      "Berlin, spring forward: 02:30 does not exist on 29 March and comes at 03:00 CEST",
      "30 2 * * *",
      "Europe/Berlin",
      "2026-03-28T00:00:00Z",
      ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    ],
    [
      "Berlin, back: 02:30 exists twice on 25 October and comes once, in CEST",
      "30 2 * * *",
      "Europe/Berlin",
      "2026-10-24T00:00:00Z",
      ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    ],
    [
      "Berlin: nine o'clock stays nine o'clock on both sides of a change",
      "0 9 * * *",
      "Europe/Berlin",
      "2026-10-24T00:00:00Z",
      ["2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z"],
    ],
    [
      "Sydney, forward on 4 October at 02:00 AEST: 02:15 comes at 03:00 AEDT",
      "15 2 * * *",
      "Australia/Sydney",
      "2026-10-02T12:00:00Z",
      ["2026-10-02T16:15:00Z", "2026-10-03T16:00:00Z", "2026-10-04T15:15:00Z"],
    ],
    [
      "Sydney, back on 5 April at 03:00 AEDT: 02:15 comes once, in AEDT",
      "15 2 * * *",
      "Australia/Sydney",
      "2026-04-03T12:00:00Z",
      ["2026-04-03T15:15:00Z", "2026-04-04T15:15:00Z", "2026-04-05T16:15:00Z"],
    ],
    [
      "Lord Howe, forward by half an hour on 4 October: every half hour goes on without a gap",
      "*/30 * * * *",
      "Australia/Lord_Howe",
      "2026-10-03T14:20:00Z",
      ["2026-10-03T14:30:00Z", "2026-10-03T15:00:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"],
    ],
    [
      "Lord Howe, forward by half an hour: 02:15 comes at 02:30",
      "15 2 * * *",
      "Australia/Lord_Howe",
      "2026-10-02T12:00:00Z",
      ["2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    ],
    [
      "Lord Howe, back by half an hour on 5 April: every half hour goes on",
      "*/30 * * * *",
      "Australia/Lord_Howe",
      "2026-04-04T14:20:00Z",
      ["2026-04-04T14:30:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:00:00Z"],
    ],
    [
      "Apia had no 30 December 2011: noon of the 29th is followed by noon of the 31st, 24 hours later",
      "0 12 * * *",
      "Pacific/Apia",
      "2011-12-28T12:00:00Z",
      ["2011-12-28T22:00:00Z", "2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z"],
    ],
    [
      "Apia, a job for the day that never was comes no sooner than a year later",
      "0 12 30 12 *",
      "Pacific/Apia",
      "2011-12-01T00:00:00Z",
      ["2012-12-29T22:00:00Z"],
    ],
    [
      "Casablanca leaves summer time for Ramadan on 15 February 2026 at 03:00: 02:30 comes once, before it",
      "30 2 * * *",
      "Africa/Casablanca",
      "2026-02-14T00:00:00Z",
      ["2026-02-14T01:30:00Z", "2026-02-15T01:30:00Z", "2026-02-16T02:30:00Z"],
    ],
    [
      "Casablanca comes back to it on 22 March 2026 at 02:00: 02:30 comes at 03:00",
      "30 2 * * *",
      "Africa/Casablanca",
      "2026-03-21T00:00:00Z",
      ["2026-03-21T02:30:00Z", "2026-03-22T02:00:00Z", "2026-03-23T01:30:00Z"],
    ],
    [
      "Kathmandu is 5:45 ahead, without changes",
      "0 6 * * *",
      "Asia/Kathmandu",
      "2026-01-01T00:00:00Z",
      ["2026-01-01T00:15:00Z", "2026-01-02T00:15:00Z"],
    ],
  ])("%s", (_what, expression, zone, from, expected) => {
    const timing = cronTiming(expression, zone);
    expect(ticks(timing, from, expected.length)).toEqual(expected);
  });
});

describe("ticks before an instant", () => {
  const cases: Timing[] = [
    { kind: "every", everyMs: 90_000, anchor: ms("2026-03-01T00:00:17Z") },
    { kind: "every", everyMs: 333, anchor: ms("2026-10-25T00:00:00Z") },
    cronTiming("*/20 * * * * *", "America/New_York"),
    cronTiming("*/30 * * * *", "Australia/Lord_Howe"),
    cronTiming("30 2 * * *", "Europe/Berlin"),
    cronTiming("0 0 1 * *", "Africa/Casablanca"),
  ];
  it.each(cases)("are those that come one after the other: $kind $expression $everyMs", (timing) => {
    for (const around of ["2026-03-08T07:10:00.500Z", "2026-03-29T01:00:00Z", "2026-10-25T01:30:00Z"]) {
      const from = ms(around) - (timing.kind === "every" ? 20_000 : 7_200_000);
      const before = ms(around);
      const forward: number[] = [];
      for (let at = tickAfter(timing, from - 1); at !== null && at < before; at = tickAfter(timing, at)) {
        forward.push(at);
      }
      expect(ticksBefore(timing, before, from, 1_000).map(iso)).toEqual(forward.map(iso));
      expect(ticksBefore(timing, before, from, 3).map(iso)).toEqual(forward.slice(-3).map(iso));
      expect(ticksBefore(timing, before, from, 0)).toEqual([]);
    }
  });

  it("finds the last ones of a long time without counting all of them", () => {
    const timing = cronTiming("* * * * * *", "UTC");
    const before = ms("2026-01-01T00:00:00Z");
    expect(ticksBefore(timing, before, 0, 2).map(iso)).toEqual([
      "2025-12-31T23:59:58.000Z",
      "2025-12-31T23:59:59.000Z",
    ]);
    const every: Timing = { kind: "every", everyMs: 100, anchor: 0 };
    expect(ticksBefore(every, before, 0, 1)).toEqual([before - 100]);
  });
});

describe("an expression that makes no sense", () => {
  it.each(["* * *", "61 * * * *", "0 0 30 2 *", "", "now", "* * * * * * *", "0 0 0 * * * * *"])(
    "is refused: %j",
    (expression) => {
      expect(() => cronTiming(expression, "UTC")).toThrow(InvalidOptionError);
    },
  );

  it.each(["Mars/Olympus", "", "Europe/"])("has no zone %j", (zone) => {
    expect(() => cronTiming("0 0 * * *", zone)).toThrow(/zone/);
  });

  it("is not refused for its spaces", () => {
    expect(cronTiming("  0 9  * * 1-5 ", "UTC").expression).toBe("0 9 * * 1-5");
  });
});
