import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  cancel,
  CancelledError,
  defineBatchJob,
  defineJob,
  fixed,
  implement,
  InvalidOptionError,
  InvalidPayloadError,
  InvalidValueError,
  type JobContext,
  json,
  MissingHandlerError,
  reschedule,
  RetryAfter,
  ShutdownError,
  snooze,
  TimeoutError,
  UnrecoverableError,
} from "../index.ts";
import { perform } from "./perform.ts";
import { TestClock } from "./test-clock.ts";

/** Runs until its signal fires, then throws the reason. */
const patient = defineJob({
  name: "patient",
  timeout: "1m",
  run: (_payload, ctx) =>
    new Promise<string>((_resolve, reject) =>
      ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error)),
    ),
});

describe("perform", () => {
  it("answers the result as it comes back through JSON, with the handler's own view of the job", async () => {
    const job = defineJob({
      name: "greet",
      payload: json<{ who: string; extra?: string | undefined }>(),
      tags: ["polite"],
      run: (payload, ctx) => ({
        ...{ payload, extra: "extra" in payload, gone: undefined },
        ...{ attempt: ctx.job.attempt, tags: ctx.job.tags, queue: ctx.job.queue },
      }),
    });
    const done = await perform(job, { who: "ann", extra: undefined }, { queue: "letters" });
    if (done.outcome !== "completed") throw new Error(done.outcome);
    // `undefined` does not survive, neither in the payload nor in the result.
    expect(done.result).toEqual({
      ...{ payload: { who: "ann" }, extra: false },
      ...{ attempt: 1, tags: ["polite"], queue: "letters" },
    });
    expect("gone" in done.result).toBe(false);
    expect(done.job).toMatchObject({ name: "greet", state: "completed", attempt: 1, queue: "letters" });
    expect([done.checkpoint, done.enqueued]).toEqual([{}, []]);
  });

  it("asks the schema at the enqueue and before the run: its output goes to the handler", async () => {
    const job = defineJob({
      name: "at",
      payload: z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }),
      run: ({ at }) => at.getUTCFullYear(),
    });
    const at = "2031-02-03T04:05:06Z";
    expect(await perform(job, { at })).toMatchObject({ outcome: "completed", result: 2031 });
    await expect(perform(job, { at: "soon" })).rejects.toThrow(InvalidPayloadError);
    // @ts-expect-error a date is no text
    await expect(perform(job, { at: new Date() })).rejects.toThrow(InvalidPayloadError);
  });

  it("completes without a result, with the reason, when JSON cannot carry it", async () => {
    const done = await perform(defineJob({ name: "big", run: () => ({ n: 10n }) }));
    expect(done).toMatchObject({ outcome: "completed", result: undefined });
    expect(done).toHaveProperty("reason", expect.stringMatching(/bigint/i));
  });

  it("answers what was thrown, and the delay before the next attempt, without jitter", async () => {
    const job = defineJob({ name: "fails", maxRetries: 2, run: () => Promise.reject(new Error("no")) });
    const clock = new TestClock(1_000);
    const first = await perform(job, undefined, { clock });
    expect(first).toMatchObject({ outcome: "retry", delayMs: 2_000, runAt: new Date(3_000) });
    expect(first).toHaveProperty("error.message", "no");
    expect(await perform(job, undefined, { attempt: 2 })).toMatchObject({ outcome: "retry", delayMs: 4_000 });
    expect(await perform(job, undefined, { attempt: 3 })).toMatchObject({
      ...{ outcome: "dead", error: { name: "Error", message: "no" } },
      job: { attempt: 3, state: "dead" },
    });
    expect(clock.pending).toBe(0);
  });

  it("says every other outcome as data", async () => {
    const ends = (run: () => unknown, options = {}) => perform(defineJob({ name: "ends", run, ...options }));
    const throws = (error: Error) => () => Promise.reject(error);
    expect(await ends(() => snooze("5m"))).toMatchObject({ outcome: "snoozed", delayMs: 300_000 });
    expect(await ends(() => reschedule(new Date("2030-01-02")))).toMatchObject({
      ...{ outcome: "rescheduled", runAt: new Date("2030-01-02"), delayMs: 86_400_000 },
    });
    expect(await ends(() => cancel("not needed"))).toMatchObject({
      ...{ outcome: "cancelled", reason: "not needed" },
    });
    expect(await ends(throws(new UnrecoverableError("never")))).toMatchObject({ outcome: "dead" });
    expect(await ends(throws(new RetryAfter("7s")))).toMatchObject({ outcome: "retry", delayMs: 7_000 });
  });

  it("runs once, though the job is due again at once and enqueues its like", async () => {
    let runs = 0;
    const again = defineJob({ name: "again", payload: json<number>(), backoff: fixed(0) });
    const other = defineJob({ name: "other", payload: json<{ n: number }>() });
    const job = implement(again, async (n, ctx) => {
      runs += 1;
      await ctx.jobs.enqueue(again, n + 1);
      await ctx.jobs.enqueue(other, { n }, { in: "1h" });
      throw new Error("once more");
    });
    const done = await perform(job, 1);
    expect(runs).toBe(1);
    expect(done).toMatchObject({ outcome: "retry", delayMs: 0 });
    expect(done.enqueued).toMatchObject([
      { name: "again", payload: 2, state: "available" },
      { name: "other", payload: { n: 1 }, state: "scheduled", runAt: new Date("2030-01-01T01:00:00Z") },
    ]);
  });

  it("begins with the checkpoint it is given, and answers what the run made of it", async () => {
    const job = defineJob({
      name: "steps",
      run: async (_payload, ctx) => {
        const at = ctx.checkpoint.get<number>("at") ?? 0;
        await ctx.checkpoint.set("at", at + 1);
        await ctx.checkpoint.remove("old");
        if (at < 2) throw new Error("interrupted");
        return at;
      },
    });
    const first = await perform(job);
    expect(first).toMatchObject({ outcome: "retry", checkpoint: { at: 1 } });
    const checkpoint = { ...first.checkpoint, old: [1], kept: { a: null } };
    const second = await perform(job, undefined, { attempt: 2, checkpoint });
    expect(second.checkpoint).toEqual({ at: 2, kept: { a: null } });
    const third = await perform(job, undefined, { checkpoint: second.checkpoint });
    expect(third).toMatchObject({ outcome: "completed", result: 2, checkpoint: { at: 3 } });
    expect(third.job).toMatchObject({ attempt: 1 });
  });

  it("gives the handler the state, and leaves that to its owner", async () => {
    class Mail {
      #sent: string[] = [];
      isOpen = true;
      template = Object.assign(() => "Dear", { greeting: "Dear " });
      send(to: string): number {
        return this.#sent.push(this.template.greeting + to);
      }
      get sent(): readonly string[] {
        return this.#sent;
      }
      async [Symbol.asyncDispose](): Promise<void> {
        this.isOpen = false;
      }
    }
    const job = defineJob({
      name: "mail",
      payload: json<string>(),
      run: (to, ctx: JobContext<{ readonly mail: Mail } | Mail>) => {
        const mail = "mail" in ctx.state ? ctx.state.mail : ctx.state;
        return [mail.send(to), mail.template.greeting, mail.sent.length];
      },
    });
    const mail = new Mail();
    expect(await perform(job, "ann", { state: mail })).toMatchObject({ result: [1, "Dear ", 1] });
    expect(await perform(job, "bob", { state: { mail } })).toMatchObject({ result: [2, "Dear ", 2] });
    expect(mail).toMatchObject({ isOpen: true, sent: ["Dear ann", "Dear bob"] });
    // @ts-expect-error there is no state
    expect(await perform(job, "carl", {})).toMatchObject({ outcome: "retry" });
  });

  it("lets a timeout pass by its clock, while the handler runs", async () => {
    const reasons: unknown[] = [];
    const job = implement(defineJob({ name: "slow", timeout: "1m" }), async (_payload, ctx) => {
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      reasons.push(ctx.signal.reason);
      return "too late";
    });
    const done = await perform(job, undefined, { during: ({ clock }) => clock.advance("1m") });
    expect(done).toMatchObject({ outcome: "retry", error: { name: "TimeoutError" } });
    expect(reasons).toEqual([expect.any(TimeoutError)]);
  });

  it("asks the handler to end when the job is cancelled or the worker stops", async () => {
    const seen: unknown[] = [];
    const watching = defineJob({
      name: "watching",
      run: (payload, ctx) => {
        ctx.signal.addEventListener("abort", () => seen.push(ctx.signal.reason));
        return patient.run?.(payload, ctx as never);
      },
    });
    expect(
      await perform(watching, undefined, {
        during: async ({ cancel: ask }) => expect(await ask("changed my mind")).toBe("asked"),
      }),
    ).toMatchObject({ outcome: "cancelled", reason: "changed my mind", error: { name: "CancelledError" } });
    const released = await perform(watching, undefined, { attempt: 2, during: ({ stop }) => stop() });
    expect(released).toMatchObject({ outcome: "released", job: { state: "available", attempt: 1 } });
    expect(seen).toEqual([expect.any(CancelledError), expect.any(ShutdownError)]);
  });

  it("rejects with what `during` throws, and ends the run all the same", async () => {
    let reason: unknown;
    const job = defineJob({
      name: "held",
      run: (_payload, ctx) =>
        new Promise((resolve) =>
          ctx.signal.addEventListener("abort", () => {
            reason = ctx.signal.reason;
            resolve(1);
          }),
        ),
    });
    const during = () => Promise.reject(new Error("from the test"));
    await expect(perform(job, undefined, { during })).rejects.toThrow("from the test");
    expect(reason).toBeInstanceOf(ShutdownError);
  });

  it("refuses what makes no sense", async () => {
    await expect(perform(defineJob({ name: "unbound" }))).rejects.toThrow(MissingHandlerError);
    const job = defineJob({ name: "job", maxRetries: 1, run: () => 1 });
    for (const attempt of [0, 3, 1.5, Number.NaN]) {
      await expect(perform(job, 0, { attempt })).rejects.toThrow(InvalidOptionError);
    }
    await expect(perform(job, 0, { attempt: 3 })).rejects.toThrow(/from 1 to 2/);
    await expect(perform(job, 0, { attempt: 1_001, maxRetries: Infinity })).rejects.toThrow(/to 1000/);
    await expect(perform(job, 0, { checkpoint: { at: 1n } })).rejects.toThrow(InvalidValueError);
    await expect(perform(job, 0, { checkpoint: [] as never })).rejects.toThrow(InvalidOptionError);
    await expect(perform(job, 0, { clock: { now: () => 0 } as never })).rejects.toThrow(InvalidOptionError);
    // @ts-expect-error a job is performed now
    await expect(perform(job, 0, { attemp: 1 })).rejects.toThrow(InvalidOptionError);
    // @ts-expect-error what is no definition
    await expect(perform({ run: () => 1 })).rejects.toThrow(InvalidOptionError);
  });

  it("leaves no timer behind, whatever the end", async () => {
    const holding = (): number =>
      process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = holding();
    const clock = new TestClock();
    const during = (): void => expect(holding()).toBeGreaterThan(0);
    await perform(patient, 0, { clock, during: ({ stop }) => stop() });
    await perform(defineJob({ name: "fine", run: () => 1 }), 0, { clock, during });
    await expect(perform(defineJob({ name: "unbound" }))).rejects.toThrow(MissingHandlerError);
    // Fewer, when one of another test has gone meanwhile.
    expect(holding()).toBeLessThanOrEqual(before);
    expect(clock.pending).toBe(0);
  });

  it("hands a job of a batch handler over as a batch of one", async () => {
    const sizes: number[] = [];
    const job = defineBatchJob({
      name: "batch",
      payload: json<number>(),
      run: (items) => {
        sizes.push(items.length);
        return items.map(({ payload }) => (payload > 2 ? new Error("too large") : payload * 2));
      },
    });
    expect(await perform(job, 1)).toMatchObject({ outcome: "completed", result: 2 });
    expect(await perform(job, 3)).toMatchObject({ outcome: "retry", error: { message: "too large" } });
    expect(sizes).toEqual([1, 1]);
  });

  it("runs a handler in a thread like any other", async () => {
    const thread = new URL("../../test/worker/thread-handlers/plain.js", import.meta.url);
    const job = defineJob({ name: "threaded", payload: json<{ file: string }>(), thread });
    expect(await perform(job, { file: "a/b.txt" }, { attempt: 2 })).toMatchObject({
      ...{ outcome: "completed", result: { name: "b.txt", attempt: 2 } },
    });
  });
});
