import {
  type AnyJobDefinition,
  cancel,
  type JobContext,
  JobwrightError,
  reschedule,
  RetryAfter,
  snooze,
  UnrecoverableError,
} from "../../src/index.ts";

/** One run as its handler saw it. */
export type RunRecord = Readonly<Record<string, unknown>>;

/** What a handler does before it ends. */
export type Step =
  | "log"
  | "progress"
  | "checkpoint"
  | "checkpoint and remove"
  | "set a result"
  | "enqueue another"
  | "enqueue a unique one"
  | "look at itself"
  | "ask to cancel itself"
  | "change itself"
  | "report too much progress"
  | "save what JSON cannot carry";

/** How it ends. */
export type End =
  | "return"
  | "return nothing"
  | "return odd values"
  | "return what JSON cannot carry"
  | "throw"
  | "throw with a cause"
  | "throw a text"
  | "throw what ends it"
  | "retry later"
  | "retry at once, once"
  | "snooze"
  | "snooze at once, once"
  | "reschedule"
  | "reschedule to an instant"
  | "cancel"
  | "snooze until nonsense";

export type Act = Step | End;

/** What a handler is to do, by attempt: the last entry holds for all later ones. */
export interface Work {
  readonly n: number;
  readonly key?: string;
  readonly acts?: readonly (readonly Act[])[];
}

/** What handlers of a script share: where they write down each run, and what they enqueue. */
export interface Shared {
  readonly runs: RunRecord[];
  readonly plain: AnyJobDefinition;
  readonly unique: AnyJobDefinition;
}

const steps: Readonly<Record<Step, (work: Work, ctx: JobContext<Shared>) => Promise<void>>> = {
  log: async (_work, ctx) => {
    ctx.log.info(`attempt ${ctx.job.attempt}`, { detail: "not kept" });
    ctx.log.warn("again");
  },
  progress: async ({ n }, ctx) => ctx.progress(n / 100, "on the way"),
  checkpoint: async (_work, ctx) => {
    await ctx.checkpoint.set("count", (ctx.checkpoint.get<number>("count") ?? 0) + 1);
  },
  "checkpoint and remove": async (_work, ctx) => {
    await ctx.checkpoint.set("odd \u{1f680} key", { list: [1, null, "a\u0000b"] });
    await ctx.checkpoint.remove("count");
  },
  "set a result": async ({ n }, ctx) => ctx.setResult({ early: n }),
  "enqueue another": async ({ n, key }, ctx) => {
    const { plain } = ctx.state;
    await ctx.jobs.enqueue(plain, { n: n + 1, key: `from ${key ?? "none"}` }, { priority: -1, in: "5s" });
  },
  "enqueue a unique one": async ({ n, key = "a" }, ctx) => {
    await ctx.jobs.enqueue(ctx.state.unique, { n, key });
  },
  "look at itself": async (_work, ctx) => {
    const found = await ctx.jobs.get(ctx.job.id);
    ctx.state.runs.push({ found });
  },
  "ask to cancel itself": async (_work, ctx) => {
    const asked = await ctx.jobs.cancel(ctx.job.id, "asked from inside");
    ctx.state.runs.push({ asked });
  },
  "change itself": async (_work, ctx) => {
    const { id } = ctx.job;
    const removed = await ctx.jobs.remove(id);
    const retried = await ctx.jobs.retry(id);
    ctx.state.runs.push({ removed, retried });
  },
  "report too much progress": async (_work, ctx) => ctx.progress(2),
  "save what JSON cannot carry": async (_work, ctx) => {
    await ctx.checkpoint.set("bad", 1n);
  },
};

const ends: Readonly<Record<End, (work: Work, ctx: JobContext<Shared>) => unknown>> = {
  return: ({ n }) => ({ doubled: 2 * n }),
  "return nothing": () => undefined,
  "return odd values": () => ({
    "\u2028": "\u0000",
    half: "\ud800",
    big: 1e21,
    minus: -0,
    list: [undefined, null],
  }),
  "return what JSON cannot carry": () => ({ big: 1n }),
  throw: ({ n }) => {
    throw new Error(`failed with ${n}`);
  },
  "throw with a cause": () => {
    throw Object.assign(new TypeError("outer", { cause: new RangeError("inner") }), { code: "E_OUTER" });
  },
  "throw a text": () => {
    // oxlint-disable-next-line no-throw-literal -- handlers of users do
    throw "just words";
  },
  "throw what ends it": () => {
    throw new UnrecoverableError("no use");
  },
  "retry later": () => {
    throw new RetryAfter("20s", "busy");
  },
  "retry at once, once": (_work, ctx) => {
    if (ctx.job.attempt === 1) throw new RetryAfter(0);
    return "second";
  },
  snooze: () => snooze("40s"),
  "snooze at once, once": async (_work, ctx) => {
    if (ctx.checkpoint.get("snoozed") === true) return "after a snooze";
    await ctx.checkpoint.set("snoozed", true);
    return snooze(0);
  },
  reschedule: () => reschedule("2m"),
  "reschedule to an instant": (_work, ctx) => reschedule(new Date(ctx.clock.now() + 90_000)),
  cancel: () => cancel("the handler said so"),
  "snooze until nonsense": () => snooze("soon" as "1s"),
};

export const STEPS: readonly Step[] = Object.keys(steps) as Step[];
export const ENDS: readonly End[] = Object.keys(ends) as End[];

/** The handler of most definitions: writes down that it ran, and does what its payload says for this attempt. */
export async function runActs(work: Work, ctx: JobContext<Shared>): Promise<unknown> {
  const { id, name, queue, attempt, maxRetries, createdAt, runAt, tags } = ctx.job;
  const { acts = [["return"]] } = work;
  const now = acts[Math.min(attempt, acts.length) - 1] ?? ["return"];
  ctx.state.runs.push({
    ...{ id, name, queue, attempt, maxRetries, createdAt, runAt, tags, acts: now },
    count: ctx.checkpoint.get("count"),
  });
  let end: unknown;
  for (const act of now) {
    if (act in steps) {
      try {
        await steps[act as Step](work, ctx);
      } catch (error) {
        // What a context refuses is an answer, too; the run goes on to its end.
        if (!(error instanceof JobwrightError)) throw error;
        ctx.state.runs.push({ act, error });
      }
    } else {
      end = await ends[act as End](work, ctx);
    }
  }
  return end;
}
