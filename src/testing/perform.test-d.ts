import { expectTypeOf } from "vitest";
import { z } from "zod";
import { defineJob, implement, type JobContext, type JobError, json, snooze } from "../index.ts";
import { assertEnqueued, perform } from "./index.ts";

const greet = defineJob({
  name: "greet",
  payload: z.object({ who: z.string(), at: z.string().transform((text) => new Date(text)) }),
  run: ({ who, at }, ctx: JobContext<{ readonly greeting: string }>) =>
    at.getTime() > 0 ? { text: `${ctx.state.greeting} ${who}` } : snooze("1m"),
});
const plain = defineJob({ name: "plain" });
const bare = implement(plain, () => 1);

// The outcome tells what there is: a result only of a job that completed, typed by what `run` returns.
const done = await perform(greet, { who: "ann", at: "2030" }, { state: { greeting: "Hello" } });
// @ts-expect-error there may be none
void done.result;
switch (done.outcome) {
  case "completed":
    expectTypeOf(done.result.text).toEqualTypeOf<string>();
    break;
  case "retry":
    expectTypeOf(done.error).toEqualTypeOf<JobError>();
    expectTypeOf(done.delayMs).toEqualTypeOf<number>();
    expectTypeOf(done.runAt).toEqualTypeOf<Date>();
    break;
  case "snoozed":
  case "rescheduled":
    expectTypeOf(done.delayMs).toEqualTypeOf<number>();
    break;
  case "dead":
    expectTypeOf(done.error).toEqualTypeOf<JobError>();
    break;
  case "cancelled":
    expectTypeOf(done.reason).toEqualTypeOf<string>();
    break;
  case "released":
    break;
  default:
    expectTypeOf(done).toEqualTypeOf<never>();
}
expectTypeOf(done.job.payload.at).toEqualTypeOf<string>();

// @ts-expect-error the handler needs a state
await perform(greet, { who: "ann", at: "2030" });
// @ts-expect-error and this is another one
await perform(greet, { who: "ann", at: "2030" }, { state: { name: "Hello" } });
// @ts-expect-error the payload is the schema's input
await perform(greet, { who: "ann", at: new Date() }, { state: { greeting: "Hello" } });
// @ts-expect-error it runs now
await perform(bare, 0, { in: "1h" });
// Neither payload nor options are needed here.
const one = await perform(bare);
if (one.outcome === "completed") expectTypeOf(one.result).toEqualTypeOf<number>();
await perform(bare, { anything: 1 }, { state: { anything: 1 }, attempt: 2 });

// Payloads are given in part, at any depth.
const nested = defineJob({ name: "nested", payload: json<{ a: { b: number; c: string }[]; d: string }>() });
declare const jobs: Parameters<typeof assertEnqueued>[0];
const [found] = await assertEnqueued(jobs, nested, { a: [{ b: 1 }] });
expectTypeOf(found?.payload.d).toEqualTypeOf<string | undefined>();
// @ts-expect-error b is a number
await assertEnqueued(jobs, nested, { a: [{ b: "1" }] });
// @ts-expect-error there is no e
await assertEnqueued(jobs, nested, { e: 1 });
