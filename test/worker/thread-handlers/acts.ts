import { threadId } from "node:worker_threads";
import { currentJob } from "../../../src/current-job.ts";
import {
  CancelledError,
  InvalidPayloadError,
  LeaseLostError,
  ShutdownError,
  StateError,
  TimeoutError,
  UnrecoverableError,
} from "../../../src/errors.ts";
import type { ThreadContext } from "../../../src/index.ts";
import { cancel, reschedule, RetryAfter, snooze } from "../../../src/job/outcome.ts";
import { child, guarded, keyed, late } from "./definitions.ts";

/** What a handler can do, by name. Each is the whole handler of one run. */
const ACTS: Record<string, (ctx: ThreadContext, more: unknown) => unknown> = {
  return: () => ({ from: "a thread", isMain: threadId === 0 }),
  nothing: () => undefined,
  "current job": async () => {
    const before = currentJob();
    await new Promise((resolve) => setImmediate(resolve));
    return [before, currentJob()];
  },
  "enqueue with keys": async (ctx) => {
    const refused = await ctx.jobs.enqueue(guarded, 1).catch((error: unknown) => (error as Error).message);
    const statuses: unknown[] = [(await ctx.jobs.enqueue("guarded", 1)).status];
    for (const options of [{}, {}, { unique: { onConflict: "keep" } }, { unique: false }] as const) {
      statuses.push((await ctx.jobs.enqueue(keyed, 5, options)).status);
    }
    return [refused, ...statuses];
  },
  talk: (ctx) => {
    for (let step = 0; step < 100; step += 1) ctx.progress(step / 100);
    ctx.log.info("one");
    ctx.log.warn("two");
    ctx.progress(1, "done");
  },
  unfit: () => ({ when: new Date(0) }),
  snooze: () => snooze("1m"),
  reschedule: () => reschedule("1h"),
  cancel: () => cancel("not wanted"),
  throw: () => {
    throw Object.assign(new TypeError("outer", { cause: new RangeError("inner") }), { code: "E_OUTER" });
  },
  "throw text": () => {
    // oxlint-disable-next-line eslint/no-throw-literal -- what handlers of others do
    throw "just text";
  },
  "throw odd": () => {
    // oxlint-disable-next-line eslint/no-throw-literal -- what handlers of others do
    throw { odd: true };
  },
  "throw proxy": () => {
    throw new Proxy(
      {},
      {
        get: () => {
          throw new Error("unreadable");
        },
      },
    );
  },
  "retry after": () => {
    throw new RetryAfter("7m", "busy");
  },
  unrecoverable: () => {
    throw new UnrecoverableError("no use");
  },
  "return and loop": () => {
    const channel = new BroadcastChannel("return and loop");
    setTimeout(() => {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel is no window
      channel.postMessage("looping");
      for (;;);
    }, 0);
    return "returned";
  },
  thenable: () => ({
    // oxlint-disable-next-line unicorn/no-thenable -- what handlers of others return
    then: (resolve: (value: string) => void) => {
      resolve("first");
      resolve("second");
    },
  }),
  "endless loop": (ctx) => {
    ctx.log.info("loops");
    for (;;);
  },
  exit: () => process.exit(7),
  "exit in a callback": () => new Promise(() => setImmediate(() => process.exit(0))),
  "throw in a callback": () =>
    new Promise(() =>
      setImmediate(() => {
        throw new Error("from a callback");
      }),
    ),
  "reject unheard": () =>
    new Promise(() => {
      void Promise.reject(new Error("nobody listens"));
    }),
  "memory bomb": () => {
    const kept: unknown[] = [];
    for (;;) kept.push(mebibyte());
  },
  hold: (_ctx, mb) => {
    const kept = Array.from({ length: mb as number }, mebibyte);
    return kept.length;
  },
  never: (ctx) => {
    ctx.log.info("loops");
    return new Promise(() => undefined);
  },
  "until the signal": (ctx) =>
    new Promise((_, reject) => {
      ctx.log.info("waits");
      ctx.signal.addEventListener("abort", () => {
        ctx.log.info("heard", {
          name: (ctx.signal.reason as Error).name,
          is: nameOfClass(ctx.signal.reason),
        });
        reject(ctx.signal.reason as Error);
      });
    }),
  "value after the signal": (ctx) =>
    new Promise((resolve) => {
      ctx.log.info("waits");
      ctx.signal.addEventListener("abort", () => resolve("made it"));
    }),
  "look around": async (ctx) => {
    const before = ctx.checkpoint.get("count");
    await ctx.checkpoint.set("count", 1);
    await ctx.checkpoint.set("gone", { a: 1 });
    await ctx.checkpoint.remove("gone");
    await ctx.setResult("in between");
    return {
      job: { ...ctx.job, createdAt: ctx.job.createdAt.getTime(), runAt: ctx.job.runAt.getTime() },
      now: ctx.clock.now(),
      before: before ?? null,
      count: ctx.checkpoint.get("count"),
      gone: ctx.checkpoint.get("gone") === undefined,
    };
  },
  "count and fail": async (ctx) => {
    await ctx.checkpoint.set("count", ctx.job.attempt);
    throw new Error("once more");
  },
  "not there": async (ctx) => {
    const context = ctx as unknown as {
      state: unknown;
      completeIn(tx: object): Promise<void>;
      clock: { at(): void };
    };
    const tries: (() => unknown)[] = [
      () => context.state,
      () => context.completeIn({}),
      () => context.clock.at(),
      () => ctx.jobs.enqueue("unknown", 1),
      () => ctx.jobs.enqueue(child, "no number" as unknown as number),
      () => ctx.jobs.enqueue("child", "no number"),
      () => ctx.jobs.enqueue(late, 1, { priority: 5_000 }),
      () => ctx.jobs.enqueue(late, 1, { tags: [(() => undefined) as unknown as string] }),
      () => ctx.checkpoint.set("date", new Date()),
    ];
    const errors: unknown[] = [];
    for (const attempt of tries) {
      try {
        await attempt();
        errors.push("nothing");
      } catch (error) {
        const { name, message, code } = error as Error & { code?: string };
        errors.push({ name, code: code ?? null, message, is: nameOfClass(error) });
      }
    }
    return errors;
  },
  enqueue: async (ctx) => [
    await ctx.jobs.enqueue(child, 1, { id: "mine" }),
    await ctx.jobs.enqueue(child, 1, { id: "mine" }),
    await ctx.jobs.enqueue("child", 2, { in: "1h" }),
    // The worker does not know this one.
    await ctx.jobs.enqueue(late, 3),
    ...(await ctx.jobs.enqueueMany(late, [4, 5], { tags: ["many"] })),
  ],
  "enqueue and forget": (ctx, n) => {
    for (let i = 0; i < (n as number); i += 1) void ctx.jobs.enqueue(late, i);
  },
  "log in order": (ctx) => {
    for (let i = 0; i < 10; i += 1) ctx.log.info(`line ${i}`, { i });
  },
  "flood the log": (ctx, n) => {
    for (let i = 0; i < (n as number); i += 1) ctx.log.info(`line ${i}`);
  },
  "flood with calls": async (ctx, n) => {
    await Promise.all(Array.from({ length: n as number }, (_, i) => ctx.checkpoint.set("count", i)));
  },
  "flood without end": async (ctx) => {
    for (;;) await Promise.all(Array.from({ length: 100 }, (_, i) => ctx.checkpoint.set("count", i)));
  },
  "flood the pool's port": async (_ctx, n) => {
    const { parentPort } = await import("node:worker_threads");
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port is no window
    for (let i = 0; i < (n as number); i += 1) parentPort?.postMessage({ i });
  },
  "loop at first": (ctx) => {
    ctx.log.info("loops");
    while (ctx.job.attempt === 1);
    return `attempt ${ctx.job.attempt}`;
  },
};

/** By the classes that a handler would import. */
function nameOfClass(error: unknown): string | undefined {
  return Object.entries({
    ...{ StateError, InvalidPayloadError, TimeoutError, CancelledError, ShutdownError, LeaseLostError },
  }).find(([, kind]) => error instanceof kind)?.[0];
}

// oxlint-disable-next-line import/no-default-export -- the form of a handler module
export default function act(
  { act: name, more }: { readonly act: string; readonly more?: unknown },
  ctx: ThreadContext,
): unknown {
  return (ACTS[name] as (typeof ACTS)[string])(ctx, more);
}

/** In few objects, since it is the collector that takes its time. Eight bytes a number. */
function mebibyte(): readonly number[] {
  // oxlint-disable-next-line unicorn/no-new-array -- one allocation of exactly this size
  return new Array<number>(131_072).fill(0.5);
}
