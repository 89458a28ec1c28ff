// oxlint-disable vitest/no-conditional-expect -- what must hold depends on the value that was drawn
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backoffMs, exponential, fixed } from "./backoff.ts";
import type { HistoryEntry, JobError, JobHead, Retention } from "./job.ts";
import type { LimitKey, UniqueKey } from "./key.ts";
import {
  applyOutcome,
  attemptEntry,
  decide,
  forgottenAttempt,
  instantOf,
  keepsCheckpoint,
  newHead,
  type Outcome,
  promoteHead,
  type RunEnd,
  type RunFacts,
  type RunningJob,
  stateAt,
} from "./lifecycle.ts";
import { limits } from "./limits.ts";

const error: JobError = { name: "Error", message: "boom" };
const lostError = { name: "ProcessLostError", code: "JOBWRIGHT_PROCESS_LOST" };
const retention: Retention = { completedMs: 1_000, cancelledMs: 2_000, deadMs: 3_000 };
const now = 1_700_000_000_000;
const facts: RunFacts = { token: "p1:7", startedAt: now - 50, now };

const limit: LimitKey = { scope: "a", key: "account 7", concurrency: 2 };
const unique: UniqueKey = { scope: "a", key: "order 7", while: "live", onConflict: "keep" };

/** First run, two retries, 1 s apart. */
const fresh: RunningJob = { attempt: 0, maxRetries: 2, backoff: fixed("1s") };
const lastTry: RunningJob = { ...fresh, attempt: 2 };
const asked = { cancelAsked: "operator" };

const threw: RunEnd = { kind: "threw", error };
const threwFatal: RunEnd = { kind: "threw", error, fatal: true };
const retryAfter: RunEnd = { kind: "threw", error, retryAfterMs: 9_000 };
const snoozed: RunEnd = { kind: "snoozed", later: { delayMs: 5_000 } };
const rescheduled: RunEnd = { kind: "rescheduled", later: { at: now + 5_000 } };
const lostRunning: RunEnd = { kind: "lost", processId: "p9", started: true };
const lostAhead: RunEnd = { kind: "lost", processId: "p9", started: false };

const retryIn = (delayMs: number, what: unknown = error): unknown => ({
  state: "scheduled",
  later: { delayMs },
  attempt: "spent",
  error: what,
});

describe("decide", () => {
  // Every row of the table of design §5, and each again with a cancel asked.
  const rows: [string, RunningJob, RunEnd, unknown][] = [
    ["a value", fresh, { kind: "returned", result: "1" }, { state: "completed", result: "1" }],
    ["no value", fresh, { kind: "returned" }, { state: "completed" }],
    ["a throw, retries left", fresh, threw, retryIn(1_000)],
    ["a throw, one retry left", { ...fresh, attempt: 1 }, threw, retryIn(1_000)],
    ["a throw, none left", lastTry, threw, { state: "dead", error }],
    ["a throw without retries", { ...fresh, maxRetries: 0 }, threw, { state: "dead", error }],
    ["a throw, retries without end", { ...fresh, attempt: 2 ** 31, maxRetries: null }, threw, retryIn(1_000)],
    ["an unrecoverable throw", fresh, threwFatal, { state: "dead", error }],
    [
      "an unrecoverable throw, retries without end",
      { ...fresh, maxRetries: null },
      threwFatal,
      { state: "dead", error },
    ],
    [
      "a throw of a run that got further: counted anew",
      { ...lastTry, gotFurther: true },
      threw,
      { state: "scheduled", later: { delayMs: 1_000 }, attempt: "first", error },
    ],
    [
      "a throw of a run that got further, without retries",
      { ...fresh, maxRetries: 0, gotFurther: true },
      threw,
      { state: "dead", error },
    ],
    ["RetryAfter", fresh, retryAfter, retryIn(9_000)],
    ["RetryAfter 0", fresh, { ...retryAfter, retryAfterMs: 0 } as RunEnd, retryIn(0)],
    ["RetryAfter, none left", lastTry, retryAfter, { state: "dead", error }],
    [
      "an unrecoverable RetryAfter",
      fresh,
      { ...retryAfter, fatal: true } as RunEnd,
      { state: "dead", error },
    ],
    ["snooze", fresh, snoozed, { state: "scheduled", later: { delayMs: 5_000 }, attempt: "kept" }],
    [
      "snooze at the last attempt",
      lastTry,
      snoozed,
      { state: "scheduled", later: { delayMs: 5_000 }, attempt: "kept" },
    ],
    [
      "reschedule",
      lastTry,
      rescheduled,
      { state: "scheduled", later: { at: now + 5_000 }, attempt: "reset" },
    ],
    ["cancel(reason)", fresh, { kind: "cancelled", reason: "old" }, { state: "cancelled", reason: "old" }],
    ["shutdown", fresh, { kind: "released" }, { state: "available", marked: false }],
    ["shutdown at the last attempt", lastTry, { kind: "released" }, { state: "available", marked: false }],
    ["process lost while running", fresh, lostRunning, retryIn(1_000, expect.objectContaining(lostError))],
    [
      "process lost while running, none left",
      lastTry,
      lostRunning,
      { state: "dead", error: expect.objectContaining(lostError) },
    ],
    ["process lost while only read ahead", fresh, lostAhead, { state: "available", marked: true }],
    [
      "process lost while only read ahead, no retries",
      { ...fresh, maxRetries: 0 },
      lostAhead,
      { state: "available", marked: true },
    ],

    [
      "cancel asked, a value: the work is done",
      { ...fresh, ...asked },
      { kind: "returned", result: "1" },
      { state: "completed", result: "1" },
    ],
    [
      "cancel asked, a throw",
      { ...fresh, ...asked },
      threw,
      { state: "cancelled", reason: "operator", error },
    ],
    [
      "cancel asked, an unrecoverable throw",
      { ...fresh, ...asked },
      threwFatal,
      { state: "cancelled", reason: "operator", error },
    ],
    [
      "cancel asked, RetryAfter",
      { ...fresh, ...asked },
      retryAfter,
      { state: "cancelled", reason: "operator", error },
    ],
    ["cancel asked, snooze", { ...fresh, ...asked }, snoozed, { state: "cancelled", reason: "operator" }],
    [
      "cancel asked, reschedule",
      { ...fresh, ...asked },
      rescheduled,
      { state: "cancelled", reason: "operator" },
    ],
    [
      "cancel asked, cancel(reason): the handler knows best",
      { ...fresh, ...asked },
      { kind: "cancelled", reason: "old" },
      { state: "cancelled", reason: "old" },
    ],
    [
      "cancel asked, shutdown",
      { ...fresh, ...asked },
      { kind: "released" },
      { state: "cancelled", reason: "operator", unspent: true },
    ],
    [
      "cancel asked, process lost while running",
      { ...fresh, ...asked },
      lostRunning,
      { state: "cancelled", reason: "operator" },
    ],
    [
      "cancel asked, process lost while only read ahead",
      { ...fresh, ...asked },
      lostAhead,
      { state: "cancelled", reason: "operator", unspent: true },
    ],
  ];
  test.each(rows)("%s", (_what, job, end, outcome) => {
    expect(decide(job, end, 0.5)).toEqual(outcome);
  });

  test("a lost process is named", () => {
    expect(decide(fresh, lostRunning, 0)).toMatchObject({
      error: { message: expect.stringContaining("p9") as string },
    });
  });

  test("waits by the attempt that failed, with the given randomness", () => {
    for (const attempt of [0, 1, 7]) {
      const outcome = decide({ attempt, maxRetries: null, backoff: exponential() }, threw, 0.25);
      expect(outcome).toMatchObject({ later: { delayMs: backoffMs(exponential(), attempt + 1, 0.25) } });
    }
  });
});

describe("newHead", () => {
  test("is available when its time has come, scheduled before", () => {
    expect(newHead({ priority: 3 }, now, now)).toEqual({
      state: "available",
      priority: 3,
      generation: 0,
      attempt: 0,
      runAt: now,
      marked: false,
      failures: 0,
      snoozes: 0,
      releases: 0,
    });
    expect(newHead({ priority: 0 }, now - 1, now).state).toBe("available");
    expect(newHead({ priority: 0 }, now + 1, now).state).toBe("scheduled");
  });

  test("with a limit is scheduled even if its time has come: promotion counts its key", () => {
    expect(newHead({ priority: 3, limit }, now, now)).toMatchObject({ state: "scheduled", runAt: now });
    expect(stateAt(limit, now - 1, now)).toBe("scheduled");
    expect(stateAt(undefined, now - 1, now)).toBe("available");
  });
});

const earlier: HistoryEntry = { at: now - 99_500, kind: "released" };

/** A job on its third life: it failed before, was snoozed and released, is marked, and is asked to cancel. */
const running: JobHead = {
  state: "available",
  priority: 5,
  generation: 8,
  attempt: 2,
  runAt: now - 10_000,
  marked: true,
  failures: 4,
  snoozes: 2,
  releases: 3,
  cancelAsked: "operator",
  settledBy: "p0:1",
  error: { name: "Error", message: "earlier" },
  startedAt: now - 99_000,
  progress: "0.5",
  events: [earlier],
};

describe("applyOutcome", () => {
  const { cancelAsked: _asked, ...unasked } = running;
  const { error: _error, ...clean } = unasked;
  const settled = { settledBy: "p1:7", startedAt: now - 50 };
  const final = { attempt: 3, endedAt: now };
  const told = (entry: Omit<HistoryEntry, "at">): Pick<JobHead, "events"> => ({
    events: [earlier, { at: now, ...entry }],
  });

  const rows: [string, Outcome, JobHead][] = [
    [
      "release: its old place, nothing spent",
      { state: "available", marked: false },
      { ...unasked, ...told({ kind: "released" }), settledBy: "p1:7", generation: 9, releases: 4 },
    ],
    [
      "retry",
      { state: "scheduled", later: { delayMs: 500 }, attempt: "spent", error },
      {
        ...unasked,
        ...settled,
        state: "scheduled",
        runAt: now + 500,
        generation: 9,
        attempt: 3,
        error,
        failures: 5,
      },
    ],
    [
      "retry without a wait is available at once",
      { state: "scheduled", later: { delayMs: 0 }, attempt: "spent", error },
      { ...unasked, ...settled, runAt: now, generation: 9, attempt: 3, error, failures: 5 },
    ],
    [
      "retry of a run that got further than the ones before: its failure is the first",
      { state: "scheduled", later: { delayMs: 500 }, attempt: "first", error },
      {
        ...unasked,
        ...settled,
        state: "scheduled",
        runAt: now + 500,
        generation: 9,
        attempt: 1,
        marked: false,
        error,
        failures: 5,
      },
    ],
    [
      "snooze: no attempt, no failure, no suspicion",
      { state: "scheduled", later: { delayMs: 500 }, attempt: "kept" },
      {
        ...unasked,
        ...settled,
        ...told({ kind: "snoozed", runAt: now + 500 }),
        state: "scheduled",
        runAt: now + 500,
        generation: 9,
        snoozes: 3,
        marked: false,
      },
    ],
    [
      "reschedule: attempts start anew",
      { state: "scheduled", later: { at: now + 500 }, attempt: "reset" },
      {
        ...unasked,
        ...settled,
        ...told({ kind: "rescheduled", runAt: now + 500 }),
        state: "scheduled",
        runAt: now + 500,
        generation: 9,
        attempt: 0,
        marked: false,
      },
    ],
    [
      "reschedule to an instant that has passed is available at once",
      { state: "scheduled", later: { at: now - 5 }, attempt: "reset" },
      {
        ...unasked,
        ...settled,
        ...told({ kind: "rescheduled", runAt: now - 5 }),
        runAt: now - 5,
        generation: 9,
        attempt: 0,
        marked: false,
      },
    ],
    [
      "completed: no error is left",
      { state: "completed", result: "42" },
      { ...clean, ...settled, ...final, state: "completed", result: "42", expiresAt: now + 1_000 },
    ],
    [
      "completed without a result",
      { state: "completed" },
      { ...clean, ...settled, ...final, state: "completed", expiresAt: now + 1_000 },
    ],
    [
      "cancelled",
      { state: "cancelled", reason: "old" },
      { ...unasked, ...settled, ...final, state: "cancelled", reason: "old", expiresAt: now + 2_000 },
    ],
    [
      "cancelled before any run began: no attempt spent",
      { state: "cancelled", reason: "old", unspent: true },
      {
        ...unasked,
        ...settled,
        ...final,
        attempt: unasked.attempt,
        state: "cancelled",
        reason: "old",
        expiresAt: now + 2_000,
      },
    ],
    [
      "cancelled with the handler's error",
      { state: "cancelled", reason: "old", error },
      {
        ...unasked,
        ...settled,
        ...final,
        state: "cancelled",
        reason: "old",
        error,
        failures: 5,
        expiresAt: now + 2_000,
      },
    ],
    [
      "dead",
      { state: "dead", error },
      { ...unasked, ...settled, ...final, state: "dead", error, failures: 5, expiresAt: now + 3_000 },
    ],
  ];
  test.each(rows)("%s", (_what, outcome, head) => {
    expect(applyOutcome(running, { retention }, outcome, facts)).toStrictEqual(head);
  });

  test("a retry of a job with a limit waits for promotion, and a release does not", () => {
    const again = applyOutcome(
      running,
      { retention, limit },
      { state: "scheduled", later: { delayMs: 0 }, attempt: "spent", error },
      facts,
    );
    expect(again).toMatchObject({ state: "scheduled", runAt: now });
    const released = applyOutcome(
      running,
      { retention, limit },
      { state: "available", marked: false },
      facts,
    );
    expect(released.state).toBe("available");
  });

  test("a mark is set by a loss and kept by a release", () => {
    const unmarked = { ...running, marked: false };
    const marks = [
      applyOutcome(unmarked, { retention }, { state: "available", marked: true }, facts).marked,
      applyOutcome(unmarked, { retention }, { state: "available", marked: false }, facts).marked,
      applyOutcome(running, { retention }, { state: "available", marked: false }, facts).marked,
    ];
    expect(marks).toEqual([true, false, true]);
  });

  test("a result noted during the run stays, and a returned one replaces it", () => {
    const noted = { ...running, result: "1" };
    expect(applyOutcome(noted, { retention }, { state: "completed" }, facts).result).toBe("1");
    expect(applyOutcome(noted, { retention }, { state: "completed", result: "2" }, facts).result).toBe("2");
    expect(applyOutcome(noted, { retention }, { state: "dead", error }, facts).result).toBe("1");
  });

  const ends: [string, Outcome][] = [
    ["completedMs", { state: "completed" }],
    ["cancelledMs", { state: "cancelled", reason: "x" }],
    ["deadMs", { state: "dead", error }],
  ];
  test.each(ends)("retention: 0 is now, null is never, by %s", (key, outcome) => {
    const keep = (ms: number | null): JobHead =>
      applyOutcome(running, { retention: { ...retention, [key]: ms } }, outcome, facts);
    expect(keep(0).expiresAt).toBe(now);
    expect(keep(250).expiresAt).toBe(now + 250);
    expect("expiresAt" in keep(null)).toBe(false);
  });

  test("a start beyond year 9999 is the end of year 9999", () => {
    expect(instantOf({ delayMs: limits.instantMax }, now)).toBe(limits.instantMax);
    expect(instantOf({ at: limits.instantMax + 1 }, now)).toBe(limits.instantMax);
  });
});

test("a checkpoint outlives all but success and cancellation", () => {
  const states: Outcome["state"][] = ["available", "scheduled", "completed", "cancelled", "dead"];
  expect(states.filter((state) => keepsCheckpoint(state))).toEqual(["available", "scheduled", "dead"]);
  expect(states.filter((state) => keepsCheckpoint(state, unique))).toEqual([
    "available",
    "scheduled",
    "dead",
  ]);
  expect(states.filter((state) => keepsCheckpoint(state, { ...unique, inherit: true }))).toEqual(states);
});

test("promotion changes nothing but the state", () => {
  const waiting = newHead({ priority: 1 }, now + 5, now);
  expect(promoteHead(waiting)).toStrictEqual({ ...waiting, state: "available" });
  expect(promoteHead(waiting, false)).toStrictEqual({ ...waiting, state: "blocked" });
});

describe("failed attempts", () => {
  test("an entry tells the run that failed", () => {
    const after = applyOutcome(running, { retention }, { state: "dead", error }, facts);
    expect(attemptEntry(running, after, "p1", facts)).toEqual({
      number: 5,
      attempt: 3,
      processId: "p1",
      startedAt: now - 50,
      endedAt: now,
      error,
    });
  });

  test("of 500 the first 10 and the last 40 are kept, never more than 50 on the way", () => {
    let head = newHead({ priority: 0 }, now, now);
    const kept = new Map<number, number>();
    const job = { maxRetries: null, backoff: fixed("1s") };
    for (let run = 1; run <= 500; run++) {
      const after = applyOutcome(
        head,
        { retention },
        decide({ ...job, attempt: head.attempt }, threw, 0),
        facts,
      );
      const entry = attemptEntry(head, after, "p1", facts);
      kept.set(entry.number, entry.attempt);
      const forgotten = forgottenAttempt(entry.number);
      // Whatever is to be dropped is there: nothing is dropped twice or too early.
      if (forgotten !== undefined) expect(kept.delete(forgotten)).toBe(true);
      expect(kept.size).toBe(Math.min(run, 50));
      head = after;
    }
    const first = Array.from({ length: 10 }, (_, i) => i + 1);
    const last = Array.from({ length: 40 }, (_, i) => i + 461);
    expect([...kept.keys()]).toEqual([...first, ...last]);
    expect([...kept.values()]).toEqual([...first, ...last]);
    expect(head).toMatchObject({ attempt: 500, failures: 500, generation: 500 });
  });
});

// Goal: whatever happens to a job, its numbers stay true.
// Method: random lives of up to 60 ends; after each, what must always hold.
test("over any life: attempts bounded by maxRetries, generations raised by every end that is not final", () => {
  const later = fc.constantFrom({ delayMs: 0 }, { delayMs: 60_000 }, { at: now - 1 }, { at: now + 1 });
  const end: fc.Arbitrary<RunEnd> = fc.oneof(
    fc.constantFrom<RunEnd>({ kind: "returned" }, threw, threw, threw, threwFatal, retryAfter, {
      kind: "released",
    }),
    later.map((at): RunEnd => ({ kind: "snoozed", later: at })),
    later.map((at): RunEnd => ({ kind: "rescheduled", later: at })),
    fc.boolean().map((started): RunEnd => ({ kind: "lost", processId: "p", started })),
  );
  const maxRetries = fc.option(fc.integer({ min: 0, max: 6 }), { nil: null });
  fc.assert(
    fc.property(maxRetries, fc.array(end, { maxLength: 60 }), (retries, ends) => {
      let head = newHead({ priority: 0 }, now, now);
      let failuresThisCycle = 0;
      for (const last of ends) {
        const job = { attempt: head.attempt, maxRetries: retries, backoff: fixed("1s") };
        const after = applyOutcome(head, { retention }, decide(job, last, 0), facts);
        const failed = last.kind === "threw" || (last.kind === "lost" && last.started);
        failuresThisCycle = last.kind === "rescheduled" ? 0 : failuresThisCycle + (failed ? 1 : 0);
        if (retries !== null) expect(after.attempt).toBeLessThanOrEqual(retries + 1);
        expect(after.failures - head.failures).toBe(failed ? 1 : 0);
        if (after.state === "scheduled" || after.state === "available") {
          expect(after.attempt).toBe(failuresThisCycle);
          expect(after.generation).toBe(head.generation + 1);
          expect(after.endedAt).toBeUndefined();
          head = after;
          continue;
        }
        expect(after.generation).toBe(head.generation);
        expect(after.attempt).toBe(head.attempt + 1);
        if (last.kind === "threw" && last.fatal !== true)
          expect(failuresThisCycle).toBe((retries ?? Number.NaN) + 1);
        expect(after.expiresAt).toBe(now + (after.state === "dead" ? 3_000 : 1_000));
        return;
      }
    }),
    { numRuns: 2_000 },
  );
});
