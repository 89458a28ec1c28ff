import { expect, it } from "vitest";
import { checkTicks, type Grid, type TickEntry, type TickJob } from "./ticks.ts";

// Goal: the judge of `cron.test.ts` finds what it is for, and nothing else.

const GRIDS: Record<string, Grid> = { k: { stepMs: 1_000, isWhole: true } };
const SECOND = 1_000_000;

const up = (by: string, at: number, now: number): TickEntry => ({ at, by, what: "up", now });
const kill = (target: string, at: number): TickEntry => ({ at, by: "test", what: "kill", target });
const fired = (by: string, at: number, ...made: [id: string, tickAt: number][]): TickEntry => ({
  ...{ at, by, what: "fired", lost: 0 },
  fired: [["k", made]],
});
const start = (id: string, at: number, runAt: number, attempt = 1): TickEntry => ({
  ...{ at, by: "p", what: "start", id, key: "k", attempt, runAt },
});
const jobs = (...ids: string[]): TickJob[] => ids.map((id) => ({ id, key: "k", state: "completed" }));
const violations = (entries: TickEntry[], stored: TickJob[]): readonly string[] =>
  checkTicks(entries, stored, GRIDS).violations.map((text) => text.replace(/:.*/, ""));

const THREE = fired("p", SECOND, ["1", 10_000], ["2", 11_000], ["3", 12_000]);

it("finds nothing where every tick made one job", () => {
  expect(violations([up("p", 0, 9_000), THREE, kill("p", 3 * SECOND)], jobs("1", "2", "3"))).toEqual([]);
});

it("finds a tick that made two jobs", () => {
  expect(violations([THREE, start("4", SECOND, 11_000)], jobs("1", "2", "3", "4"))).toEqual(["twice"]);
});

it("finds a gap", () => {
  expect(violations([fired("p", 0, ["1", 10_000], ["3", 12_000])], jobs("1", "3"))).toEqual(["missed"]);
});

it("finds that there was no tick at all", () => {
  expect(violations([], [])).toEqual(["missed"]);
});

it("finds a tick that a process was five seconds past, and no later one", () => {
  const stay = (ms: number): TickEntry[] => [up("p", 0, 9_500), THREE, kill("p", ms * 1_000)];
  expect(violations(stay(8_499), jobs("1", "2", "3"))).toEqual([]);
  expect(violations(stay(8_500), jobs("1", "2", "3"))).toEqual(["missed"]);
});

it("lets a job of which nobody knows the tick fill one gap, and no more", () => {
  const gap = fired("p", 0, ["1", 10_000], ["3", 12_000]);
  expect(violations([gap, start("2", 0, 14_321, 2)], jobs("1", "2", "3"))).toEqual([]);
  expect(violations([gap, start("2", 0, 14_321, 2)], jobs("1", "2", "3", "4"))).toEqual(["twice"]);
});

it("finds a tick where there is none", () => {
  expect(violations([fired("p", 0, ["1", 10_000], ["2", 10_500])], jobs("1", "2"))).toEqual(["stray"]);
  expect(violations([fired("p", 0, ["1", 10_001])], jobs("1"))).toEqual(["stray"]);
});

it("finds a job that did not run", () => {
  expect(violations([fired("p", 0, ["1", 10_000])], [{ id: "1", key: "k", state: "available" }])).toEqual([
    "unrun",
  ]);
});

it("says how late the latest tick was, by the clock of whoever was there", () => {
  const late = [up("p", 0, 9_000), fired("p", 1.2 * SECOND, ["1", 10_000]), kill("p", 2 * SECOND)];
  expect(checkTicks(late, jobs("1"), GRIDS).latestMs).toBeCloseTo(200);
});
