import { expect, it } from "vitest";
import { checkSlots, type SlotEntry, StandstillWatch } from "./slots.ts";

// Goal: the judge of `limits.test.ts` finds what it is for, and nothing else.

const step = (what: "start" | "end", at: number, process: string, id: string): SlotEntry => ({
  ...{ at, by: process, what, process, id, key: "k" },
});
const start = step.bind(undefined, "start");
const end = step.bind(undefined, "end");
const beat = (at: number, process: string): SlotEntry => ({
  at,
  by: process,
  what: "beat",
  process,
  sentAt: at,
});
const kill = (at: number, target: string): SlotEntry => ({ at, by: "test", what: "kill", target });
const claim = (at: number, id: number, generation = 0): SlotEntry => ({
  ...{ at, by: "p", what: "claim", process: "p" },
  jobs: [[id, generation, "t", false]],
});
const settle = (sentAt: number, id: number, generation = 0, answer = "settled"): SlotEntry => ({
  ...{ at: sentAt + 5, by: "p", what: "settle", sentAt },
  runs: [[id, generation, "t", "completed", answer]],
});
const KEYS = new Map([
  ["1", "k"],
  ["2", "k"],
  ["3", "other"],
]);
const check = (...entries: SlotEntry[]): ReturnType<typeof checkSlots> =>
  checkSlots(entries, KEYS, { k: 1 }, { lostAfterMs: 1 });

it("finds nothing in runs one after the other, of one job too", () => {
  const verdict = check(
    start(0, "p", "1"),
    end(5, "p", "1"),
    start(5, "p", "1"),
    end(9, "p", "1"),
    start(9, "q", "2"),
  );
  expect(verdict.violations).toEqual([]);
  expect(verdict.ran).toEqual({ k: 1 });
});

it("finds two runs at once", () => {
  expect(
    check(start(0, "p", "1"), start(4, "q", "2"), end(5, "p", "1"), end(9, "q", "2")).violations,
  ).toHaveLength(1);
});

it("does not count jobs of another key", () => {
  expect(
    check(start(0, "p", "1"), start(4, "q", "3"), end(5, "p", "1"), end(9, "q", "3")).violations,
  ).toEqual([]);
});

it("counts a run until its process is killed", () => {
  const run = [start(0, "p", "1"), kill(5, "p")];
  expect(check(...run, start(6, "q", "2"), end(9, "q", "2")).violations).toEqual([]);
  const other = [start(4, "q", "2"), end(9, "q", "2")];
  expect(check(start(0, "p", "1"), ...other, kill(5, "p")).violations).toHaveLength(1);
});

it("does not count what a process runs on that others may take for lost", () => {
  const run = [beat(0, "p"), start(0, "p", "1"), start(1_500, "q", "2"), beat(1_600, "q")];
  expect(check(...run, end(1_700, "p", "1"), end(1_800, "q", "2")).violations).toEqual([]);
});

it("finds two leases at once", () => {
  expect(check(claim(0, 1), claim(5, 2), settle(4, 1), settle(9, 2)).violations).toEqual([]);
  expect(check(claim(0, 1), claim(3, 2), settle(4, 1), settle(9, 2)).violations).toHaveLength(1);
});

it("counts a lease until the settle that counts, whoever sends it", () => {
  expect(
    check(claim(0, 1), settle(2, 1, 0, "stale"), claim(3, 2), settle(4, 1), settle(9, 2)).violations,
  ).toHaveLength(1);
  expect(check(claim(0, 1), settle(2, 1), claim(3, 2), settle(4, 1, 1), settle(9, 2)).violations).toEqual([]);
});

it("finds a key that stands still while others wait", () => {
  const watch = new StandstillWatch();
  watch.look("k", 2, 0, { at: 1_000, running: 1, waiting: 3 });
  watch.look("k", 2, 0, { at: 5_000, running: 1, waiting: 3 });
  expect(watch.longestMs).toBe(4);
});

it.each([
  ["it runs as many as may", 0, { running: 2, waiting: 3 }],
  ["nothing waits", 0, { running: 1, waiting: 0 }],
  ["one has started since", 2_000, { running: 1, waiting: 3 }],
])("lets a key be of which %s", (_what, lastStartAt, counts) => {
  const watch = new StandstillWatch();
  watch.look("k", 2, 0, { at: 1_000, running: 1, waiting: 3 });
  watch.look("k", 2, lastStartAt, { at: 5_000, ...counts });
  watch.look("k", 2, lastStartAt, { at: 6_000, running: 1, waiting: 3 });
  watch.look("k", 2, lastStartAt, { at: 7_000, running: 1, waiting: 3 });
  expect(watch.longestMs).toBeLessThan(2);
});
