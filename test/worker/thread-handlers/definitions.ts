import { defineJob, type JobDefinition } from "../../../src/job/definition.ts";
import { json, type StandardSchema } from "../../../src/job/schema.ts";

// Not through the public face, nor by a library: each thread of a test would load all of it anew.
const number: StandardSchema<number, number> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value === "number" ? { value } : { issues: [{ message: "expected a number" }] },
  },
};

/** The worker knows it: its handler stands in the test. */
export const child: JobDefinition<"child", number, number, unknown, unknown> = defineJob({
  name: "child",
  payload: number,
});

/** Its middleware cannot come along. */
export const guarded: JobDefinition<"guarded", number, number, unknown, unknown> = defineJob({
  name: "guarded",
  payload: json<number>(),
  middleware: [{ enqueue: (item, next) => next({ payload: item.payload + 1 }) }],
});

/** With keys that are functions of its payload. */
export const keyed: JobDefinition<"keyed", number, number, unknown, unknown> = defineJob({
  name: "keyed",
  payload: json<number>(),
  unique: { key: (n) => `n-${n}`, onConflict: "replace" },
  limit: { key: (n) => n % 2, concurrency: 3, scope: "all" },
});

/** The worker does not know it, so what it brings with it has to be asked in the thread. */
export const late: JobDefinition<"late", number, number, unknown, unknown> = defineJob({
  name: "late",
  payload: json<number>(),
  queue: (n) => `late-${n % 2}`,
  priority: (n) => n,
  maxRetries: 1,
  timeout: "2m",
  tags: ["from the definition"],
  retention: { completed: "3d" },
});
