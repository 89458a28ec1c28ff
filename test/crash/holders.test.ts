import { expect, it } from "vitest";
import { checkHolders, checkScans, type HolderEntry, type HolderJob, type KeyRule } from "./holders.ts";

// Goal: the judge of `unique.test.ts` finds what it is for, and nothing else.

const RULES: readonly KeyRule[] = [
  { key: "live", kind: "live" },
  { key: "waiting", kind: "waiting" },
  { key: "for", kind: "for", forMs: 100 },
];

const answered = (
  sentAt: number,
  at: number,
  status: "created" | "existing" | "replaced" | "held",
  id: string,
  key = "live",
): HolderEntry => ({ at, by: "p", what: "answered", call: `p#${at}`, key, sentAt, status, id });
const beat: HolderEntry = { at: 1, by: "p", what: "beat", process: "p", sentAt: 0 };
const claim = (at: number, id: number): HolderEntry => ({
  ...{ at, by: "p", what: "claim", process: "p" },
  jobs: [[id, 0, "t", false]],
});
const settle = (sentAt: number, id: number, state: string, answer = "settled"): HolderEntry => ({
  ...{ at: sentAt + 2, by: "p", what: "settle", sentAt },
  runs: [[id, 0, "t", state, answer]],
});
const job = (id: string, key = "live", changes: Partial<HolderJob> = {}): HolderJob => ({
  ...{ id, key, state: "completed", generation: 0, createdAt: Number(id) * 1_000, ...changes },
});
const violations = (entries: HolderEntry[], jobs: HolderJob[]): readonly string[] =>
  checkHolders([beat, ...entries], jobs, RULES, { lostAfterMs: 1 }).violations.map((text) =>
    text.replace(/:.*/, ""),
  );

const FIRST = [answered(5, 10, "created", "1"), claim(20, 1)];
const SECOND = answered(40, 50, "created", "2");

it("finds nothing where one comes after the other", () => {
  expect(
    violations([...FIRST, settle(30, 1, "completed"), SECOND, claim(60, 2)], [job("1"), job("2")]),
  ).toEqual([]);
});

it("finds two that were live at once", () => {
  const both = [...FIRST, SECOND, claim(60, 2), settle(70, 1, "completed")];
  expect(violations(both, [job("1"), job("2")])).toEqual(["two"]);
});

it("finds two at once also when the answers of both are not known", () => {
  const both = [claim(20, 1), claim(30, 2), claim(40, 1), settle(70, 2, "dead")];
  expect(violations(both, [job("1"), job("2")])).toEqual(["two"]);
});

it("does not count what a stale settle says", () => {
  const stale = [
    ...FIRST,
    settle(30, 1, "completed"),
    SECOND,
    claim(60, 2),
    settle(70, 1, "completed", "stale"),
  ];
  expect(violations(stale, [job("1"), job("2")])).toEqual([]);
});

it("does not believe in what a process does that others may take for lost", () => {
  const late = [...FIRST, settle(1_200, 2, "completed"), { ...claim(1_500, 1) }];
  expect(violations(late, [job("1"), job("2")])).toEqual([]);
});

it.each(["existing", "replaced", "held"] as const)(
  "finds an answer that names one that had ended: %s",
  (status) => {
    const ended = [...FIRST, settle(30, 1, "completed")];
    expect(violations([...ended, answered(31, 50, status, "1")], [job("1")])).toEqual([]);
    expect(violations([...ended, answered(33, 50, status, "1")], [job("1")])).toEqual(["stale"]);
  },
);

it("takes a cancelled one for ended from the answer on", () => {
  const over: HolderEntry = { at: 30, by: "p", what: "over", id: "1", liveAt: 25 };
  expect(violations([...FIRST, over, answered(31, 50, "existing", "1")], [job("1")])).toEqual(["stale"]);
  expect(violations([...FIRST, over, answered(29, 50, "existing", "1")], [job("1")])).toEqual([]);
});

it("finds an answer that names one that ran, where a key is held while its job waits", () => {
  const ran = [claim(20, 1), answered(21, 30, "existing", "1", "waiting")];
  expect(violations(ran, [job("1", "waiting")])).toEqual(["stale"]);
  // It was given back, and so waited again.
  expect(violations(ran, [job("1", "waiting", { generation: 1 })])).toEqual([]);
});

it("finds a key taken before its time was over", () => {
  const at = (createdAt: number): HolderJob => job(String(createdAt), "for", { createdAt });
  expect(violations([], [at(1_000), at(1_100), at(1_300)])).toEqual([]);
  expect(violations([], [at(1_000), at(1_099), at(1_300)])).toEqual(["soon"]);
});

it("finds a job that is gone, is another key's, had not been asked for, or did not end", () => {
  expect(violations([answered(5, 10, "created", "1")], [])).toEqual(["lost"]);
  expect(violations([answered(5, 10, "existing", "1")], [job("1", "for")])).toEqual(["wrong"]);
  const early = [answered(5, 10, "existing", "1"), answered(20, 30, "created", "1")];
  expect(violations(early, [job("1")])).toEqual(["unborn"]);
  expect(violations([], [job("1", "live", { state: "available" })])).toEqual(["unended"]);
});

it("finds two in two scans, and only those that both have seen", () => {
  const one = { id: "1", key: "live", state: "running", generation: 0 };
  const two = { ...one, id: "2", state: "available" };
  expect(checkScans([one, two], [one, two], RULES)).toHaveLength(1);
  expect(checkScans([one], [one, two], RULES)).toEqual([]);
  expect(checkScans([one, { ...two, key: "for" }], [one, { ...two, key: "for" }], RULES)).toEqual([]);
});

it("finds two that wait with a key that is held while its job waits", () => {
  const one = { id: "1", key: "waiting", state: "scheduled", generation: 0 };
  const two = { ...one, id: "2", state: "available" };
  expect(checkScans([one, two], [one, two], RULES)).toHaveLength(1);
  for (const change of [{ state: "running" }, { generation: 1 }]) {
    const other = { ...two, ...change };
    expect(checkScans([one, other], [one, other], RULES)).toEqual([]);
  }
});

it("tells how long a key took that was asked for at its job's end", () => {
  const over: HolderEntry = { at: 1_000, by: "p", what: "over", id: "1" };
  const asked: HolderEntry = { at: 1_100, by: "p", what: "asked", call: "p#4000", key: "live", after: "1" };
  const { probesMs, answersMs } = checkHolders(
    [over, asked, answered(1_100, 4_000, "created", "2")],
    [job("1"), job("2")],
    RULES,
    { lostAfterMs: 1 },
  );
  expect({ probesMs, answersMs }).toEqual({ probesMs: [3], answersMs: [2.9] });
});
