import { expectTypeOf } from "vitest";
import { z } from "zod";
import type { Middleware } from "../middleware.ts";
import type { JobContext } from "../worker/context.ts";
import {
  defineJob,
  implement,
  type InputOf,
  type PayloadOf,
  type ResultOf,
  type StateOf,
} from "./definition.ts";
import { json } from "./schema.ts";

interface App {
  readonly images: { resize(file: string): Promise<number> };
}
const dated = z.object({ file: z.string(), at: z.string().transform((text) => new Date(text)) });

// ── setup ────────────────────────────────────────────────────────────────────

const prepared = defineJob({
  name: "prepared",
  payload: dated,
  setup: async (job) => {
    expectTypeOf(job.payload).toEqualTypeOf<{ file: string; at: Date }>();
    expectTypeOf(job.attempt).toEqualTypeOf<number>();
    return { open: job.payload.at };
  },
  run(payload, ctx) {
    expectTypeOf(payload).toEqualTypeOf<{ file: string; at: Date }>();
    // What it promised is there.
    expectTypeOf(ctx.setup).toEqualTypeOf<{ open: Date }>();
    return ctx.setup.open.getTime();
  },
});
expectTypeOf<ResultOf<typeof prepared>>().toEqualTypeOf<number>();
expectTypeOf<InputOf<typeof prepared>>().toEqualTypeOf<{ file: string; at: string }>();

const withState = defineJob({
  name: "with-state",
  payload: dated,
  setup: ({ payload }, ctx: JobContext<App>) => ctx.state.images.resize(payload.file),
  run: (_payload, ctx: JobContext<App, number>) => ctx.setup + 1,
});
expectTypeOf<StateOf<typeof withState>>().toEqualTypeOf<App>();

defineJob({
  name: "without",
  run(_payload, ctx) {
    expectTypeOf(ctx.setup).toEqualTypeOf<unknown>();
    expectTypeOf(ctx.progress).parameters.toEqualTypeOf<[done: number, note?: string | undefined]>();
  },
});
const resize = new URL("file:///resize.js");
// @ts-expect-error it does not reach into a thread
defineJob({ name: "x", thread: resize, setup: () => 1 });

// ── middleware ───────────────────────────────────────────────────────────────

const anywhere: Middleware = {
  enqueue(item, next) {
    expectTypeOf(item.payload).toEqualTypeOf<unknown>();
    return next({ options: { ...item.options, priority: 1 } });
  },
  run: (ctx, next) => (ctx.signal.aborted ? undefined : next()),
};
const around = defineJob({
  name: "around",
  payload: dated,
  middleware: [
    anywhere,
    {
      async enqueue(item, next) {
        // The schema's input: it stands before the check.
        expectTypeOf(item.payload).toEqualTypeOf<{ file: string; at: string }>();
        const enqueued = await next();
        expectTypeOf(enqueued.status).toEqualTypeOf<"created" | "existing" | "replaced">();
        return enqueued;
      },
    },
  ],
  spanAttributes: ({ at }) => ({ year: at.getFullYear() }),
  run: ({ file }) => file,
});
expectTypeOf<PayloadOf<typeof around>>().toEqualTypeOf<{ file: string; at: Date }>();
expectTypeOf(implement(defineJob({ name: "y", payload: dated }), ({ at }) => at.getTime())).toMatchTypeOf<{
  name: "y";
}>();

// @ts-expect-error what an enqueue answers is the next one's to say
const nothing: Middleware = { enqueue: () => undefined };
void nothing;
// @ts-expect-error a span says texts, numbers and booleans
defineJob({ name: "x", payload: dated, spanAttributes: ({ at }) => ({ at }) });

// ── One handler under several names ──────────────────────────────────────────

const renamed = defineJob(withState, { name: "renamed", queue: ({ at }) => `q-${at.getMonth()}` });
expectTypeOf(renamed.name).toEqualTypeOf<"renamed">();
expectTypeOf<InputOf<typeof renamed>>().toEqualTypeOf<{ file: string; at: string }>();
expectTypeOf<ResultOf<typeof renamed>>().toEqualTypeOf<number>();
expectTypeOf<StateOf<typeof renamed>>().toEqualTypeOf<App>();
// @ts-expect-error the handler stays what it is
defineJob(renamed, { name: "x", run: () => 1 });
// @ts-expect-error the payload does, too
defineJob(renamed, { name: "x", payload: json<number>() });
// @ts-expect-error two of one name cannot be told apart
defineJob(renamed, { queue: "x" });
