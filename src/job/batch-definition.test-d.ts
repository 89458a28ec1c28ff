import { expectTypeOf } from "vitest";
import { z } from "zod";
import { type BatchContext, type BatchItem, defineBatchJob, implementBatch } from "./batch-definition.ts";
import { defineJob, type InputOf, type PayloadOf, type ResultOf, type StateOf } from "./definition.ts";
import { cancel, snooze } from "./outcome.ts";
import { json } from "./schema.ts";

// Batches say what their items, their context and their results are, without a type being written.

interface App {
  readonly rows: number[];
}

const withArray = defineBatchJob({
  name: "with-array",
  payload: z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }),
  queue: ({ at }) => (at.getTime() > 0 ? "new" : "old"),
  concurrency: 2,
  maxWait: "50ms",
  run: async (items, ctx: BatchContext<App>) => {
    expectTypeOf(items).toEqualTypeOf<readonly BatchItem<{ at: Date }>[]>();
    expectTypeOf(ctx.state).toEqualTypeOf<App>();
    return items.map(({ payload }) => {
      if (payload.at.getTime() === 0) return snooze("1m");
      if (payload.at.getTime() === 1) return cancel("no");
      return payload.at.getTime() === 2 ? new Error("failed") : payload.at.getTime();
    });
  },
});
expectTypeOf<InputOf<typeof withArray>>().toEqualTypeOf<{ at: string }>();
expectTypeOf<PayloadOf<typeof withArray>>().toEqualTypeOf<{ at: Date }>();
expectTypeOf<ResultOf<typeof withArray>>().toEqualTypeOf<number>();
expectTypeOf<StateOf<typeof withArray>>().toEqualTypeOf<App>();

// Where items say the results, anything may be one.
const byItems = defineBatchJob({ name: "by-items", run: async (items) => items[0]?.complete(1) });
expectTypeOf<ResultOf<typeof byItems>>().toEqualTypeOf<unknown>();

const known = defineJob({ name: "known", payload: json<{ n: number }>() });
const bound = implementBatch(known, { run: (items) => items.map(({ payload }) => payload.n) });
expectTypeOf<InputOf<typeof bound>>().toEqualTypeOf<{ n: number }>();
expectTypeOf<ResultOf<typeof bound>>().toEqualTypeOf<number>();

defineBatchJob({
  name: "in-transactions",
  payload: json<string>(),
  run: async (items, ctx) => {
    const tx = { query: async (text: string) => text };
    const { completed, stale } = await ctx.completeIn(tx, items);
    expectTypeOf(completed).toEqualTypeOf<readonly BatchItem<string>[]>();
    expectTypeOf(stale).toEqualTypeOf<readonly BatchItem<string>[]>();
    const done = await ctx.bisect(tx, items, async (inner, some) => {
      expectTypeOf(inner).toEqualTypeOf<typeof tx>();
      expectTypeOf(some).toEqualTypeOf<readonly BatchItem<string>[]>();
    });
    expectTypeOf(done).toEqualTypeOf<BatchItem<string>[]>();
  },
});

// @ts-expect-error what the work of a batch answers is no outcome of its jobs
defineBatchJob({ name: "x", run: async () => ({ rows: 3 }) });
// @ts-expect-error a batch has a handler
defineBatchJob({ name: "x" });
// @ts-expect-error it runs in no thread
defineBatchJob({ name: "x", run: () => undefined, thread: new URL("file:///handler.js") });
// @ts-expect-error the bound is a number
defineBatchJob({ name: "x", run: () => undefined, maxBatch: "all" });
