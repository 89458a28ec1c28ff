import { describe, expect, test } from "vitest";
import { type Change, changeHead, replaceHead } from "./change.ts";
import type { HistoryEntry, JobError, JobHead, Retention } from "./job.ts";
import type { LimitKey } from "./key.ts";
import { newHead } from "./lifecycle.ts";

const error: JobError = { name: "Error", message: "boom" };
const retention: Retention = { completedMs: 1_000, cancelledMs: 2_000, deadMs: 3_000 };
const limit: LimitKey = { scope: "a", key: "account 7", concurrency: 2 };
const now = 1_700_000_000_000;
const earlier: HistoryEntry = { at: now - 5_000, kind: "released" };

describe("changeHead", () => {
  const waiting: JobHead = {
    ...newHead({ priority: 5 }, now - 100, now),
    generation: 3,
    attempt: 2,
    marked: true,
    failures: 2,
    error,
    events: [earlier],
  };
  const heads = {
    scheduled: { ...waiting, state: "scheduled", runAt: now + 9_000 },
    available: waiting,
    blocked: { ...waiting, state: "blocked" },
    running: waiting,
    completed: { ...waiting, state: "completed", result: "1", endedAt: now - 5, expiresAt: now + 5 },
    cancelled: { ...waiting, state: "cancelled", reason: "old", endedAt: now - 5, expiresAt: now + 5 },
    dead: { ...waiting, state: "dead", endedAt: now - 5, expiresAt: now + 5 },
  } as const satisfies Record<string, JobHead>;
  type Case = keyof typeof heads;

  const cancel: Change = { kind: "cancel", reason: "stop" };
  const retry: Change = { kind: "retry" };
  const remove: Change = { kind: "remove" };
  const runLater: Change = { kind: "runAt", later: { delayMs: 700 } };
  const runNow: Change = { kind: "runAt", later: { at: now - 1 } };
  const priority: Change = { kind: "priority", priority: -4 };

  const unchanged = { result: "unchanged" };
  const changed = (from: Case, to: Partial<JobHead>): unknown => ({
    result: "changed",
    head: { ...heads[from], ...to },
  });
  const changedTo = (result: string, to: Partial<JobHead>): unknown => ({
    result,
    head: { ...waiting, ...to },
  });
  const isCancelled: Partial<JobHead> = {
    state: "cancelled",
    reason: "stop",
    endedAt: now,
    expiresAt: now + 2_000,
  };
  const told = (entry: Omit<HistoryEntry, "at">): Pick<JobHead, "events"> => ({
    events: [earlier, { at: now, ...entry }],
  });
  const again: Partial<JobHead> = {
    ...told({ kind: "retried" }),
    ...{ state: "available", runAt: now, attempt: 0, marked: false, generation: 4 },
  };

  const movedTo = (ms: number): Partial<JobHead> => told({ kind: "rescheduled-by-hand", runAt: now + ms });
  const moved = told({ kind: "reprioritised" });

  const rows: [Case, Change, unknown][] = [
    ["scheduled", cancel, changed("scheduled", isCancelled)],
    ["available", cancel, changed("available", isCancelled)],
    ["blocked", cancel, changed("blocked", isCancelled)],
    [
      "running",
      cancel,
      changedTo("asked", { ...told({ kind: "cancel-asked", reason: "stop" }), cancelAsked: "stop" }),
    ],
    ["completed", cancel, unchanged],
    ["cancelled", cancel, unchanged],
    ["dead", cancel, unchanged],

    [
      "scheduled",
      retry,
      changed("scheduled", { ...told({ kind: "retried" }), state: "available", runAt: now }),
    ],
    ["available", retry, unchanged],
    ["blocked", retry, unchanged],
    ["running", retry, unchanged],
    ["completed", retry, changedTo("changed", again)],
    ["cancelled", retry, changedTo("changed", again)],
    ["dead", retry, changedTo("changed", again)],

    ["scheduled", remove, { result: "changed", remove: true }],
    ["available", remove, { result: "changed", remove: true }],
    ["blocked", remove, { result: "changed", remove: true }],
    ["running", remove, unchanged],
    ["completed", remove, { result: "changed", remove: true }],
    ["cancelled", remove, { result: "changed", remove: true }],
    ["dead", remove, { result: "changed", remove: true }],

    ["scheduled", runLater, changed("scheduled", { ...movedTo(700), runAt: now + 700 })],
    ["available", runLater, changed("available", { ...movedTo(700), state: "scheduled", runAt: now + 700 })],
    ["blocked", runLater, changed("blocked", { ...movedTo(700), state: "scheduled", runAt: now + 700 })],
    ["running", runLater, unchanged],
    ["completed", runLater, unchanged],
    ["cancelled", runLater, unchanged],
    ["dead", runLater, unchanged],

    ["scheduled", runNow, changed("scheduled", { ...movedTo(-1), state: "available", runAt: now - 1 })],
    ["available", runNow, unchanged],
    ["blocked", runNow, unchanged],
    ["running", runNow, unchanged],
    ["completed", runNow, unchanged],
    ["cancelled", runNow, unchanged],
    ["dead", runNow, unchanged],

    ["scheduled", priority, changed("scheduled", { ...moved, priority: -4 })],
    ["available", priority, changed("available", { ...moved, priority: -4 })],
    ["blocked", priority, changed("blocked", { ...moved, priority: -4 })],
    ["running", priority, unchanged],
    ["completed", priority, unchanged],
    ["cancelled", priority, unchanged],
    ["dead", priority, unchanged],
  ];
  test.each(rows)("%s: %o", (from, change, expected) => {
    expect(changeHead(heads[from], from === "running", { retention }, change, now)).toStrictEqual(expected);
  });

  test("a job asked to cancel once keeps the first reason", () => {
    const askedBefore = { ...waiting, cancelAsked: "first" };
    expect(changeHead(askedBefore, true, { retention }, cancel, now)).toStrictEqual({ result: "asked" });
  });

  test("the priority it has already leaves nothing to do", () => {
    expect(changeHead(waiting, false, { retention }, { kind: "priority", priority: 5 }, now)).toStrictEqual(
      unchanged,
    );
  });

  test.each([
    [0, now],
    [250, now + 250],
    [null, undefined],
  ])("retention of a cancelled job: %s", (cancelledMs, at) => {
    const { head } = changeHead(waiting, false, { retention: { ...retention, cancelledMs } }, cancel, now);
    expect(head?.expiresAt).toBe(at);
    expect("expiresAt" in (head ?? {})).toBe(at !== undefined);
  });

  test("a finished job with a limit that is retried waits for promotion, like one moved to now", () => {
    const retried = changeHead(heads.dead, false, { retention, limit }, retry, now);
    expect(retried).toMatchObject({ result: "changed", head: { state: "scheduled", runAt: now } });
    const movedToNow = changeHead(heads.scheduled, false, { retention, limit }, runNow, now);
    expect(movedToNow).toMatchObject({ result: "changed", head: { state: "scheduled", runAt: now - 1 } });
  });

  test("a job with a limit that is due already has nothing to gain from a retry", () => {
    const due: JobHead = { ...heads.scheduled, runAt: now };
    expect(changeHead(due, false, { retention, limit }, retry, now)).toStrictEqual(unchanged);
    expect(changeHead(due, false, { retention }, retry, now).result).toBe("changed");
  });

  test("a progress is no news of the next life", () => {
    const { head } = changeHead({ ...heads.completed, progress: "1" }, false, { retention }, retry, now);
    expect(head).not.toHaveProperty("progress");
  });
});

describe("replaceHead", () => {
  const inLine: JobHead = {
    ...newHead({ priority: 5 }, now - 100, now),
    ...{ generation: 3, attempt: 2, failures: 2, error },
  };
  const scheduled: JobHead = { ...inLine, state: "scheduled", runAt: now + 9_000 };
  const events: JobHead["events"] = [{ at: now, kind: "replaced" }];
  const { error: _error, ...clean } = inLine;

  const rows: [string, JobHead, number, Partial<JobHead>][] = [
    ["in line, to start now: keeps its start", inLine, now, {}],
    ["blocked, to start now: stays so", { ...inLine, state: "blocked" }, now, { state: "blocked" }],
    ["in line, to start later", inLine, now + 5, { state: "scheduled", runAt: now + 5 }],
    ["scheduled, to start now", scheduled, now, { state: "available", runAt: now }],
    ["scheduled, to start at another time", scheduled, now + 5, { state: "scheduled", runAt: now + 5 }],
  ];
  test.each(rows)("%s", (_what, head, runAt, expected) => {
    expect(replaceHead(head, undefined, { priority: 1 }, runAt, now)).toStrictEqual({
      ...{ ...clean, events, priority: 1, attempt: 0 },
      ...expected,
    });
  });

  test("a limit sends what was scheduled through promotion", () => {
    expect(replaceHead(scheduled, limit, { priority: 1, limit }, now, now).state).toBe("scheduled");
  });

  test.each([
    [
      "the same limit key, whatever its concurrency",
      limit,
      { ...limit, concurrency: 9 },
      "blocked",
      now - 100,
    ],
    ["another limit key", limit, { ...limit, key: "account 8" }, "scheduled", now],
    ["a limit key of another scope", limit, { ...limit, scope: "b" }, "scheduled", now],
    ["no limit key any more", limit, undefined, "available", now],
  ])("a blocked job with %s", (_what, before, after, state, runAt) => {
    const by = { priority: 5, ...(after === undefined ? {} : { limit: after }) };
    expect(replaceHead({ ...inLine, state: "blocked" }, before, by, now, now)).toMatchObject({
      state,
      runAt,
    });
  });

  test("a job in line that gets a limit key waits for promotion, which counts it", () => {
    expect(replaceHead(inLine, undefined, { priority: 5, limit }, now, now).state).toBe("scheduled");
  });
});
