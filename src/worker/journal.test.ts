import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LeaseLostError } from "../errors.ts";
import type { Note, Storage } from "../storage/storage.ts";
import { Journal, logLine } from "./journal.ts";
import type { Run } from "./run.ts";

/** A run and a storage that answers when it is told to. */
function scene(answer: "saved" | "stale" = "saved") {
  const saved: Note[] = [];
  const answers: (() => void)[] = [];
  const aborted: unknown[] = [];
  const run = {
    id: 7,
    lease: {},
    over: false,
    completedIn: false,
    abort: (reason: unknown) => aborted.push(reason),
  };
  const note = (_lease: unknown, one: Note): Promise<"saved" | "stale"> => {
    saved.push(one);
    return new Promise((resolve) => answers.push(() => resolve(answer)));
  };
  const journal = new Journal(run as unknown as Run, { note } as unknown as Storage);
  return { journal, saved, answers, aborted, run };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a journal", () => {
  it("saves at most twice a second, one call at a time, and only what is new", async () => {
    const { journal, saved, answers } = scene();
    for (let ms = 0; ms < 2_000; ms += 10) {
      journal.progress(`${ms}`);
      if (ms === 0) journal.log(logLine(0, "info", "first"));
      await vi.advanceTimersByTimeAsync(10);
      if (ms === 1_200) answers.shift()?.();
    }
    // The first call was under way until 1,200 ms: the next one is half a second after its answer.
    expect(saved).toEqual([
      { progress: "490", log: [{ at: 0, level: "info", text: "first" }] },
      { progress: expect.stringMatching(/^1[67]\d\d$/) as string },
    ]);
  });

  it("is done when all is saved, the call under way included", async () => {
    const { journal, saved, answers } = scene();
    journal.progress("1");
    await vi.advanceTimersByTimeAsync(500);
    journal.progress("2");
    let isDone = false;
    const done = journal.saved().then(() => (isDone = true));
    await vi.advanceTimersByTimeAsync(100);
    expect([isDone, saved.length]).toEqual([false, 1]);
    answers.shift()?.();
    await vi.advanceTimersByTimeAsync(0);
    expect([isDone, saved]).toEqual([false, [{ progress: "1" }, { progress: "2" }]]);
    answers.shift()?.();
    await done;
    expect(journal.isOpen).toBe(false);
  });

  it("does not keep a run from its end for longer than two seconds", async () => {
    const { journal } = scene();
    journal.progress("1");
    let isDone = false;
    void journal.saved().then(() => (isDone = true));
    await vi.advanceTimersByTimeAsync(1_999);
    expect(isDone).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(isDone).toBe(true);
  });

  it.each([
    ["a run whose lease is gone hears it", {}, true],
    ["a run that was completed by its transaction goes on", { completedIn: true }, false],
    ["a run that was given up knows it", { over: true }, false],
  ])("%s, and says nothing more", async (_what, facts, isAborted) => {
    const { journal, saved, answers, aborted, run } = scene("stale");
    Object.assign(run, facts);
    journal.progress("1");
    await vi.advanceTimersByTimeAsync(500);
    answers.shift()?.();
    await vi.advanceTimersByTimeAsync(0);
    journal.progress("2");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(saved).toHaveLength(1);
    expect(journal.isOpen).toBe(false);
    expect(aborted).toEqual(isAborted ? [new LeaseLostError(7)] : []);
  });
});
