import { describe, expect, it } from "vitest";
import { check, type Entry, type FinalJob, recoveries, type ViolationName } from "./history.ts";

// A small true story, and what the checker says when one thing in it is untrue.

const LOST_AFTER_MS = 1_000;
const options = { lostAfterMs: LOST_AFTER_MS };

/** Job 1 runs in worker a, which is killed and had told of the start; job 1 runs again in b. Job 2 runs once. */
const story: readonly Entry[] = [
  { at: 10, by: "s", what: "ask", batch: "s#1", numbers: [0, 1] },
  { at: 20, by: "s", what: "ack", batch: "s#1", ids: ["1", "2"] },
  { at: 25, by: "s", what: "ask", batch: "s#2", numbers: [0] },
  { at: 26, by: "s", what: "nak", batch: "s#2", error: "DuplicateIdError" },
  { at: 30, by: "a", what: "beat", process: "pa", sentAt: 29, first: true },
  { at: 40, by: "a", what: "claim", process: "pa", jobs: [[1, 0, "pa.1", false]] },
  { at: 50, by: "a", what: "start", process: "pa", id: "1", batch: "s#1", number: 0, attempt: 1 },
  { at: 60, by: "a", what: "told", process: "pa", starts: [[1, "pa.1"]] },
  { at: 70, by: "test", what: "kill", target: "a" },
  { at: 80, by: "b", what: "beat", process: "pb", sentAt: 79, first: true },
  { at: 1_090, by: "b", what: "rescue", process: "pb", jobs: [[1, "pa", true]] },
  {
    at: 1_100,
    by: "b",
    what: "settle",
    process: "pb",
    sentAt: 1_095,
    runs: [[1, 0, "pb.1", "scheduled", "settled"]],
  },
  {
    at: 1_110,
    by: "b",
    what: "claim",
    process: "pb",
    jobs: [
      [1, 1, "pb.2", false],
      [2, 0, "pb.2", false],
    ],
  },
  { at: 1_120, by: "b", what: "start", process: "pb", id: "1", batch: "s#1", number: 0, attempt: 2 },
  { at: 1_121, by: "b", what: "start", process: "pb", id: "2", batch: "s#1", number: 1, attempt: 1 },
  { at: 1_130, by: "b", what: "end", process: "pb", id: "1", attempt: 2 },
  { at: 1_131, by: "b", what: "end", process: "pb", id: "2", attempt: 1 },
  {
    at: 1_140,
    by: "b",
    what: "settle",
    process: "pb",
    sentAt: 1_135,
    runs: [
      [1, 1, "pb.2", "completed", "settled"],
      [2, 0, "pb.2", "completed", "settled"],
    ],
  },
];

const one: FinalJob = {
  id: "1",
  batch: "s#1",
  number: 0,
  state: "completed",
  attempt: 2,
  marked: false,
  failures: [{ attempt: 1, processId: "pa", error: "ProcessLostError" }],
  result: { process: "pb", attempt: 2 },
};
const two: FinalJob = {
  id: "2",
  batch: "s#1",
  number: 1,
  state: "completed",
  attempt: 1,
  marked: false,
  failures: [],
  result: { process: "pb", attempt: 1 },
};

const names = (entries: readonly Entry[], stored: readonly FinalJob[], more = {}): ViolationName[] => [
  ...new Set(check(entries, stored, { ...options, ...more }).map(({ name }) => name)),
];
/** Without the entries of one kind. */
const without = (what: Entry["what"]): Entry[] => story.filter((entry) => entry.what !== what);

describe("the checker of histories", () => {
  it("finds nothing wrong with a true story, in whatever order it is told", () => {
    expect(check(story, [one, two], options)).toEqual([]);
    expect(check([...story].reverse(), [two, one], options)).toEqual([]);
  });

  it("lost: an acknowledged job is gone, or was not finished", () => {
    expect(names([...story], [one])).toEqual(["lost", "half", "unexpected"]);
    const waiting: FinalJob = { ...two, state: "available", attempt: 0 };
    expect(
      names(story.slice(0, 4), [{ ...one, state: "available", attempt: 0, failures: [] }, waiting]),
    ).toEqual(["lost"]);
    expect(
      names(story.slice(0, 4), [{ ...one, state: "running", attempt: 0, failures: [] }, waiting], {
        mustEnd: false,
      }),
    ).toEqual([]);
    expect(names(story.slice(0, 4), [waiting], { mustEnd: false })).toEqual(["lost", "half"]);
  });

  it("lost: a job that gave up, unless it may", () => {
    const dead: FinalJob = { ...one, state: "dead", attempt: 1 };
    const history = story.filter((entry) => !(entry.what === "start" && entry.attempt === 2));
    expect(names(history, [dead, two])).toEqual(["lost"]);
    expect(names(history, [dead, two], { mayDie: ({ id }: FinalJob) => id === "1" })).toEqual([]);
    expect(names(history, [dead, two], { mayDie: ({ id }: FinalJob) => id === "2" })).toEqual(["lost"]);
  });

  it("unseen: a read right after the acknowledgement did not find the job", () => {
    expect(names([...story, { at: 21, by: "s", what: "unseen", id: "1" }], [one, two])).toEqual(["unseen"]);
  });

  it("unexpected: stored or run without having been asked for", () => {
    const stranger: FinalJob = { ...two, id: "3", batch: "s#9", number: 0 };
    expect(names(story, [one, two, stranger])).toEqual(["unexpected"]);
    expect(names(story, [one, two, { ...stranger, batch: "s#1", number: 7 }])).toContain("unexpected");
    const start: Entry = {
      at: 1_150,
      by: "b",
      what: "start",
      process: "pb",
      id: "9",
      batch: "s#1",
      number: 0,
      attempt: 1,
    };
    expect(names([...story, start], [one, two])).toEqual(["unexpected"]);
  });

  it("ranAfterNak: stored or run although it was refused", () => {
    expect(names(story, [one, two, { ...two, id: "3", batch: "s#2", number: 0 }])).toEqual(["ranAfterNak"]);
    const start: Entry = {
      at: 1_150,
      by: "b",
      what: "start",
      process: "pb",
      id: "3",
      batch: "s#2",
      number: 0,
      attempt: 1,
    };
    expect(names([...story, start], [one, two])).toEqual(["ranAfterNak"]);
  });

  it("storedTwice: one job asked for, two stored", () => {
    expect(names(story, [one, two, { ...two, id: "3" }])).toEqual(["storedTwice"]);
  });

  it("half: a part of a group is stored, acknowledged or not", () => {
    const unanswered = story.filter(({ what }) => what !== "ack");
    expect(names(unanswered, [one, two])).toEqual([]);
    expect(
      names(
        unanswered.filter((entry) => !("id" in entry && entry.id === "2")),
        [one],
      ),
    ).toEqual(["half"]);
    expect(names([{ at: 1, by: "s", what: "ask", batch: "s#1", numbers: [0, 1] }], [])).toEqual([]);
  });

  describe("concurrent", () => {
    const overlapping = (startB: number, beats: readonly number[] = [29], endA = 2_000_000): Entry[] => [
      { at: 10, by: "s", what: "ask", batch: "s#1", numbers: [0] },
      ...beats.map((sentAt): Entry => ({
        at: sentAt + 1,
        by: "a",
        what: "beat",
        process: "pa",
        sentAt,
        first: false,
      })),
      { at: 50, by: "a", what: "start", process: "pa", id: "2", batch: "s#1", number: 0, attempt: 1 },
      { at: endA, by: "a", what: "end", process: "pa", id: "2", attempt: 1 },
      { at: startB, by: "b", what: "start", process: "pb", id: "2", batch: "s#1", number: 0, attempt: 1 },
    ];
    const alone: FinalJob = { ...two, number: 0 };

    it("while the first one's beats arrive", () => {
      expect(names(overlapping(500), [alone])).toEqual(["concurrent"]);
      expect(names(overlapping(29 + LOST_AFTER_MS * 1_000), [alone])).toEqual(["concurrent"]);
      expect(names(overlapping(1_500_000, [29, 900_000]), [alone])).toEqual(["concurrent"]);
      // A beat accepted after the second start: the first process was never lost.
      expect(names(overlapping(1_500_000, [29, 1_800_000]), [alone])).toEqual(["concurrent"]);
    });

    it("is no violation after the silence limit, after the end, or after the death", () => {
      expect(names(overlapping(30 + LOST_AFTER_MS * 1_000), [alone])).toEqual([]);
      expect(names(overlapping(500, [29], 499), [alone])).toEqual([]);
      const killed = overlapping(500).filter(({ what }) => what !== "end");
      expect(names(killed, [alone])).toEqual(["concurrent"]);
      expect(names([...killed, { at: 400, by: "test", what: "kill", target: "a" }], [alone])).toEqual([]);
      expect(names([...killed, { at: 600, by: "test", what: "kill", target: "a" }], [alone])).toEqual([
        "concurrent",
      ]);
    });
  });

  it("doneTwice: two leases completed one job; a repeated settle is none", () => {
    const again = (token: string): Entry[] => [
      ...story,
      {
        at: 1_200,
        by: "b",
        what: "settle",
        process: "pb",
        sentAt: 1_190,
        runs: [[2, 0, token, "completed", "settled"]],
      },
    ];
    expect(names(again("pa.7"), [one, two])).toEqual(["doneTwice"]);
    expect(names(again("pb.2"), [one, two])).toEqual([]);
    const refused: Entry = {
      at: 1_200,
      by: "a",
      what: "settle",
      process: "pa",
      sentAt: 1_190,
      runs: [[2, 0, "pa.7", "completed", "stale"]],
    };
    expect(names([...story, refused], [one, two])).toEqual([]);
  });

  it("zombieAccepted: an old lease still counted after a newer claim", () => {
    const late = (sentAt: number, answer: string): Entry[] => [
      ...story,
      {
        at: 1_128,
        by: "a",
        what: "settle",
        process: "pa",
        sentAt,
        runs: [[1, 0, "pa.1", "scheduled", answer]],
      },
    ];
    expect(names(late(1_127, "settled"), [one, two])).toEqual(["zombieAccepted"]);
    expect(names(late(1_127, "stale"), [one, two])).toEqual([]);
    expect(names(late(1_109, "settled"), [one, two])).toEqual([]);
  });

  it("ranAfterDone: started after it had been completed", () => {
    const start: Entry = {
      at: 1_150,
      by: "b",
      what: "start",
      process: "pb",
      id: "2",
      batch: "s#1",
      number: 1,
      attempt: 2,
    };
    expect(names([...story, start], [one, two])).toEqual(["ranAfterDone"]);
  });

  it("attemptMissing: a run known to have started was lost, and nothing was spent", () => {
    expect(names(story, [{ ...one, attempt: 1, failures: [] }, two])).toEqual(["attemptMissing"]);
    // Nobody knew of the start: nothing has to be spent.
    expect(names(without("told"), [{ ...one, attempt: 1, failures: [] }, two])).toEqual([]);
    // It was settled by the one that died, as its result shows.
    const settled: FinalJob = { ...one, attempt: 1, failures: [], result: { process: "pa", attempt: 1 } };
    expect(
      names(
        story.filter(({ at }) => at < 1_000),
        [settled, { ...two }],
      ),
    ).toEqual([]);
  });

  it("attemptUnfounded: spent on a run that never started, or on a process that was never lost", () => {
    const unstarted = story.filter((entry) => !(entry.what === "start" && entry.process === "pa"));
    expect(names(unstarted, [one, two])).toEqual(["attemptUnfounded"]);
    // The claim of a marked job counts as its start.
    expect(names(unstarted, [{ ...one, marked: true }, two])).toEqual([]);
    expect(names(without("kill"), [one, two])).toContain("attemptUnfounded");
    const silent: Entry[] = [
      ...without("kill"),
      { at: 70, by: "a", what: "end", process: "pa", id: "1", attempt: 1 },
      { at: 71, by: "a", what: "fenced", process: "pa" },
    ];
    expect(names(silent, [one, two])).toEqual([]);
  });

  it("attemptMiscounted: the stored number does not fit the runs that count", () => {
    expect(names(story, [{ ...one, attempt: 3 }, two])).toEqual(["attemptMiscounted"]);
    expect(names(story, [one, { ...two, attempt: 0 }])).toEqual(["attemptMiscounted"]);
    const gap: FinalJob = { ...one, failures: [{ attempt: 2, processId: "pa", error: "ProcessLostError" }] };
    expect(names(story, [gap, two])).toContain("attemptMiscounted");
  });

  it("deadUnstarted: gave up without a start", () => {
    const dead: FinalJob = { ...two, state: "dead", attempt: 1, marked: true, failures: one.failures };
    const history = story.filter((entry) => !("id" in entry && entry.id === "2"));
    expect(names(history, [one, dead], { mayDie: () => true })).toEqual(["deadUnstarted"]);
  });
});

describe("the recovery times", () => {
  it("last from the kill until somebody else has the job in hand", () => {
    expect(recoveries(story)).toEqual([1.02]);
    const unrescued = story.filter(({ what }) => what !== "rescue");
    expect(recoveries(unrescued)).toEqual([1.04]);
    expect(recoveries(story.filter(({ at }) => at < 1_000))).toEqual([Number.POSITIVE_INFINITY]);
    expect(recoveries(without("kill"))).toEqual([]);
    const ended: Entry = { at: 69, by: "a", what: "end", process: "pa", id: "1", attempt: 1 };
    expect(recoveries([...story, ended])).toEqual([]);
  });
});
