import { z } from "zod";
import {
  type AnyJobDefinition,
  defineBatchJob,
  defineJob,
  exponential,
  fixed,
  type JobDefinition,
  json,
  linear,
} from "../../src/index.ts";
import { runActs, type Shared, type Work } from "./acts.ts";

type OfWork<Result = unknown> = JobDefinition<string, Work, Work, Result, Shared>;

export const plain: OfWork = defineJob({ name: "plain", payload: json<Work>(), run: runActs });

/** Waits in a queue of its own, by a priority and with tags that its payload says. */
export const mail: OfWork = defineJob({
  name: "mail",
  payload: json<Work>(),
  queue: "mail",
  priority: ({ n }) => (n % 3) - 1,
  tags: ({ key }) => (key === undefined ? [] : [`of-${key}`]),
  backoff: linear({ step: "30s", max: "2m", jitter: 0.5 }),
  maxRetries: 2,
  run: runActs,
});

export const unique: OfWork = defineJob({
  name: "unique",
  payload: json<Work>(),
  unique: { key: ({ key, n }) => key ?? n },
  backoff: fixed("10s"),
  maxRetries: 1,
  run: runActs,
});

export const limited: OfWork = defineJob({
  name: "limited",
  payload: json<Work>(),
  limit: { key: ({ key }) => key ?? "none", concurrency: 2 },
  run: runActs,
});

/** One at a time with all others that name its key. */
export const serial: OfWork = defineJob({
  name: "serial",
  payload: json<Work>(),
  queue: "mail",
  concurrencyKey: ({ key }) => key ?? "none",
  maxRetries: 3,
  run: runActs,
});

/** Its payload is checked, filled in and transformed. */
export const strict: AnyJobDefinition = defineJob({
  name: "strict",
  payload: z.object({
    n: z.number().int().min(0).default(7),
    at: z.iso.datetime().transform((text) => new Date(text)),
  }),
  unique: { key: ({ at }) => at.getTime(), while: "waiting" },
  retention: { completed: "1h" },
  run: ({ n, at }, ctx) => {
    if (n > 90) throw new RangeError(`${n} is too much`);
    return { next: n + 1, hour: at.getUTCHours(), attempt: ctx.job.attempt };
  },
});

/** Kept for a short time or not at all, and counted anew when it gets further. */
export const short: OfWork = defineJob({
  name: "short",
  payload: json<Work>(),
  retention: { completed: 0, cancelled: "1m", dead: "10m" },
  backoff: exponential({ first: "1s", factor: 3, max: "1m", jitter: 1 }),
  resetAttempts: "checkpoint",
  maxRetries: 1,
  run: runActs,
});

/** What `short` does under another name and with other options. */
export const again: OfWork = defineJob(short, {
  name: "again",
  queue: "mail",
  retention: { completed: "2d" },
});

/** Many at once, each with an end of its own. */
export const batched: JobDefinition<string, Work, Work, unknown, unknown> = defineBatchJob({
  name: "batched",
  payload: json<Work>(),
  maxBatch: 3,
  backoff: fixed("20s"),
  maxRetries: 1,
  run(items, ctx) {
    const { runs } = ctx.state as Shared;
    runs.push({
      name: "batched",
      ids: items.map(({ job }) => job.id),
      ns: items.map(({ payload }) => payload.n),
    });
    for (const item of items) {
      switch (item.payload.n % 5) {
        case 0:
          item.fail(new Error(`batched ${item.payload.n}`));
          break;
        case 1:
          item.complete({ of: items.length, attempt: item.job.attempt });
          break;
        case 2:
          item.log.info("one of a batch");
          item.snooze("45s");
          break;
        case 3:
          item.cancel("not in a batch");
          break;
      }
    }
  },
});

/** Has no handler in any worker of a script. */
export const orphan: JobDefinition<string, Work, Work> = defineJob({ name: "orphan", payload: json<Work>() });
