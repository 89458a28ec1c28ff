import * as v from "valibot";
import { expectTypeOf } from "vitest";
import { z } from "zod";
import type { Duration } from "../duration.ts";
import type { JobContext, ThreadContext } from "../worker/context.ts";
import {
  defineJob,
  implement,
  type InputOf,
  type PayloadOf,
  type ResultOf,
  type StateOf,
  type ThreadHandler,
} from "./definition.ts";
import type { EnqueueOptions } from "./options.ts";
import { cancel, reschedule, snooze } from "./outcome.ts";
import { json } from "./schema.ts";

interface App {
  readonly images: { resize(file: string): Promise<number> };
}

// ── What goes in and what the handler gets ───────────────────────────────────

const withTransform = defineJob({
  name: "with-transform",
  payload: z.object({
    at: z.iso.datetime().transform((text) => new Date(text)),
    width: z.number().default(10),
  }),
  run(payload) {
    expectTypeOf(payload).toEqualTypeOf<{ at: Date; width: number }>();
    return payload.width;
  },
});
expectTypeOf<InputOf<typeof withTransform>>().toEqualTypeOf<{ at: string; width?: number | undefined }>();
expectTypeOf<PayloadOf<typeof withTransform>>().toEqualTypeOf<{ at: Date; width: number }>();
expectTypeOf<ResultOf<typeof withTransform>>().toEqualTypeOf<number>();
expectTypeOf(withTransform.name).toEqualTypeOf<"with-transform">();

const withValibot = defineJob({
  name: "with-valibot",
  payload: v.object({ id: v.pipe(v.string(), v.transform(Number)) }),
  run: async ({ id }) => {
    expectTypeOf(id).toEqualTypeOf<number>();
    return { doubled: id * 2 };
  },
});
expectTypeOf<InputOf<typeof withValibot>>().toEqualTypeOf<{ id: string }>();
expectTypeOf<ResultOf<typeof withValibot>>().toEqualTypeOf<{ doubled: number }>();

const withJson = defineJob({
  name: "with-json",
  payload: json<{ who: string }>(),
  run: ({ who }) => `Hello, ${who}!`,
});
expectTypeOf<InputOf<typeof withJson>>().toEqualTypeOf<{ who: string }>();
expectTypeOf<ResultOf<typeof withJson>>().toEqualTypeOf<string>();

const withoutSchema = defineJob({
  name: "without-schema",
  run: (payload) => expectTypeOf(payload).toEqualTypeOf<unknown>(),
});
expectTypeOf<InputOf<typeof withoutSchema>>().toEqualTypeOf<unknown>();

const withNothing = defineJob({ name: "with-nothing" });
expectTypeOf<InputOf<typeof withNothing>>().toEqualTypeOf<unknown>();

// A name that is only known at run time is as good as a literal.
const dynamic = defineJob({ name: `imported-${String(Date.now())}` as string, payload: json<number>() });
expectTypeOf(dynamic.name).toEqualTypeOf<string>();

// ── Results ──────────────────────────────────────────────────────────────────

const withDirectives = defineJob({
  name: "with-directives",
  payload: json<{ ready: boolean; old: boolean; round: number }>(),
  async run({ ready, old, round }) {
    if (!ready) return snooze("5m");
    if (old) return cancel("too old");
    if (round < 3) return reschedule("1h");
    return { round };
  },
});
// The directives are no results.
expectTypeOf<ResultOf<typeof withDirectives>>().toEqualTypeOf<{ round: number }>();

const withoutResult = defineJob({ name: "without-result", payload: json<number>(), async run() {} });
expectTypeOf<ResultOf<typeof withoutResult>>().toEqualTypeOf<void>();

const onlySnoozes = defineJob({ name: "only-snoozes", run: () => snooze("1s") });
expectTypeOf<ResultOf<typeof onlySnoozes>>().toEqualTypeOf<never>();

// ── State ────────────────────────────────────────────────────────────────────

const withState = defineJob({
  name: "with-state",
  payload: z.object({ file: z.string() }),
  async run({ file }, ctx: JobContext<App>) {
    expectTypeOf(ctx.signal).toEqualTypeOf<AbortSignal>();
    // @ts-expect-error the state has no such member
    void ctx.state.sounds;
    return ctx.state.images.resize(file);
  },
});
expectTypeOf<StateOf<typeof withState>>().toEqualTypeOf<App>();
expectTypeOf<InputOf<typeof withState>>().toEqualTypeOf<{ file: string }>();
expectTypeOf<ResultOf<typeof withState>>().toEqualTypeOf<number>();

// A handler that does not look at the state runs beside any.
expectTypeOf<StateOf<typeof withJson>>().toEqualTypeOf<unknown>();
defineJob({
  name: "looks-at-nothing",
  payload: json<number>(),
  run(_payload, ctx) {
    expectTypeOf(ctx.state).toEqualTypeOf<unknown>();
    // @ts-expect-error nobody said what the state is
    void ctx.state.images;
  },
});

// ── implement ────────────────────────────────────────────────────────────────

const contract = defineJob({ name: "contract", payload: z.object({ n: z.string().transform(Number) }) });
expectTypeOf<InputOf<typeof contract>>().toEqualTypeOf<{ n: string }>();
const bound = implement(contract, ({ n }, ctx: JobContext<App>) => {
  expectTypeOf(n).toEqualTypeOf<number>();
  void ctx.state.images;
  return n > 3 ? { big: true } : snooze("1m");
});
expectTypeOf<InputOf<typeof bound>>().toEqualTypeOf<{ n: string }>();
expectTypeOf<ResultOf<typeof bound>>().toEqualTypeOf<{ big: boolean }>();
expectTypeOf<StateOf<typeof bound>>().toEqualTypeOf<App>();
expectTypeOf(bound.name).toEqualTypeOf<"contract">();

const plainlyBound = implement(defineJob({ name: "plain", payload: json<{ a: 1 }>() }), ({ a }) => a);
expectTypeOf<ResultOf<typeof plainlyBound>>().toEqualTypeOf<1>();

// @ts-expect-error the payload has no such member
implement(contract, ({ m }) => m as unknown);

// ── Options ──────────────────────────────────────────────────────────────────

defineJob({
  name: "by-payload",
  payload: z.object({ tenant: z.string(), at: z.string().transform((text) => new Date(text)) }),
  queue: ({ tenant }) => `tenant-${tenant}`,
  // Functions see the schema's output, as the handler does.
  priority: ({ at }) => at.getMonth(),
  tags: ({ tenant }) => [tenant],
  run: ({ tenant }) => tenant,
});
defineJob({
  name: "by-json",
  payload: json<{ tenant: string }>(),
  queue: (payload) => {
    expectTypeOf(payload).toEqualTypeOf<{ tenant: string }>();
    return payload.tenant;
  },
  run: (payload) => payload.tenant,
});

defineJob({
  name: "by-keys",
  payload: z.object({ tenant: z.string(), at: z.string().transform((text) => new Date(text)) }),
  // Functions of keys see the schema's output, too, without saying its type.
  unique: {
    key: (payload) => {
      expectTypeOf(payload).toEqualTypeOf<{ tenant: string; at: Date }>();
      return payload.at.getTime();
    },
    while: "waiting",
    onConflict: "replace",
  },
  limit: { key: ({ tenant }) => tenant, concurrency: 2 },
  run: ({ tenant }) => tenant,
});
defineJob({
  name: "by-short-keys",
  payload: json<{ a: string }>(),
  concurrencyKey: ({ a }) => a,
  unique: true,
});
defineJob({ name: "by-fixed-keys", unique: "one", limit: 3, resetAttempts: "checkpoint" });
const dated = json<{ a: Date }>();
// @ts-expect-error a key is text or a number
defineJob({ name: "x", payload: dated, unique: { key: ({ a }) => a } });
// @ts-expect-error the payload has no such member
defineJob({ name: "x", payload: dated, limit: { key: ({ b }) => String(b), concurrency: 1 } });
// @ts-expect-error a limit says how many
defineJob({ name: "x", limit: { key: "a" } });
// @ts-expect-error held while what?
defineJob({ name: "x", unique: { while: "running" } });

// @ts-expect-error there is no such option
defineJob({ name: "x", retries: 3 });
// @ts-expect-error a queue is a name
defineJob({ name: "x", queue: 3 });
// @ts-expect-error a backoff is made by exponential(), linear() or fixed()
defineJob({ name: "x", backoff: "5s" });
// @ts-expect-error a payload needs a schema
defineJob({ name: "x", payload: { file: "string" } });
// @ts-expect-error a job needs a name
defineJob({ run: () => 1 });
// @ts-expect-error a result may be anything, a handler may not
defineJob({ name: "x", run: "resize" });

// ── Handlers in threads ──────────────────────────────────────────────────────

const inThread = defineJob({
  name: "in-thread",
  payload: z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }),
  thread: new URL("file:///handler.js"),
  threadMemoryMb: 64,
});
expectTypeOf<InputOf<typeof inThread>>().toEqualTypeOf<{ at: string }>();
// What the module returns is known there only, and it needs nothing of the worker's state.
expectTypeOf<ResultOf<typeof inThread>>().toEqualTypeOf<unknown>();
expectTypeOf<StateOf<typeof inThread>>().toEqualTypeOf<unknown>();

const threadHandler: ThreadHandler<typeof inThread, number> = async ({ at }, ctx) => {
  expectTypeOf(at).toEqualTypeOf<Date>();
  expectTypeOf(ctx).toEqualTypeOf<ThreadContext>();
  // @ts-expect-error the state stays in the main thread
  void ctx.state;
  // @ts-expect-error a transaction does, too
  void ctx.completeIn;
  const { id, created } = await ctx.jobs.enqueue(withJson, { who: "you" });
  expectTypeOf({ id, created }).toEqualTypeOf<{ id: string; created: boolean }>();
  await ctx.jobs.enqueueMany("with-json", [{ who: "you" }]);
  // @ts-expect-error payloads are checked here as everywhere
  await ctx.jobs.enqueue(withJson, { whom: "you" });
  return created ? at.getTime() : snooze("1m");
};
void threadHandler;

// @ts-expect-error the handler's result is a number
const wrongResult: ThreadHandler<typeof inThread, number> = () => "text";
void wrongResult;
// @ts-expect-error one handler only
defineJob({ name: "both", thread: new URL("file:///handler.js"), run: () => 1 });
// @ts-expect-error a path alone does not say whose
defineJob({ name: "path", thread: "./handler.js" });
// @ts-expect-error without a thread there is nothing to bound
defineJob({ name: "memory", threadMemoryMb: 64, run: () => 1 });

// ── Durations ────────────────────────────────────────────────────────────────

const durations: Duration[] = ["250ms", "15s", "5m", "2h", "1d", "1.5h", 0, 250, Number.POSITIVE_INFINITY];
void durations;
// @ts-expect-error units have short names
const spelled: Duration = "5 minutes";
void spelled;
// @ts-expect-error there is no week
const week: Duration = "1w";
void week;
// @ts-expect-error a unit needs a number
const bare: Duration = "ms";
void bare;
// @ts-expect-error a number as text needs a unit
const unitless: Duration = "5";
void unitless;

const call: EnqueueOptions = {
  in: "1h",
  priority: -5,
  id: "a",
  retention: { dead: Number.POSITIVE_INFINITY },
};
void call;
// @ts-expect-error an instant is a Date
const callAt: EnqueueOptions = { at: "2030-01-01" };
void callAt;
const callKeys: EnqueueOptions = { unique: { onConflict: "error" }, limit: { concurrency: 2 } };
void callKeys;
// @ts-expect-error a call has the payload at hand: no functions
const callKey: EnqueueOptions = { unique: { key: () => "a" } };
void callKey;
// @ts-expect-error a call has the payload at hand: no functions
const callComputed: EnqueueOptions = { queue: () => "a" };
void callComputed;
