import fc from "fast-check";
import type { Backoff } from "../../../src/job/backoff.ts";
import {
  type JobError,
  JOB_STATES,
  type JobSpec,
  type JobState,
  type Retention,
} from "../../../src/job/job.ts";
import type { LimitKey, UniqueKey } from "../../../src/job/key.ts";
import { limits } from "../../../src/job/limits.ts";
import type { Later } from "../../../src/job/outcome.ts";
import type { Lease, LogLine, ProcessBeat } from "../../../src/storage/storage.ts";

// What values of the storage contract are made of, the awkward ones among them.

/** An arbitrary for each field. */
type Model<T> = { readonly [K in keyof T]: fc.Arbitrary<T[K]> };

/** Records like those that a program makes: with the prototype of all objects. */
export const record: typeof fc.record = ((model: never, constraints: object = {}) =>
  fc.record(model, { ...constraints, noNullPrototype: true } as never)) as typeof fc.record;

/** Halves of surrogate pairs, NUL, what JavaScript means something by, the empty and the longest. */
const AWKWARD = [
  "",
  "\u0000",
  "\ud800",
  "\udc00x\ud800",
  "\ud83d\ude00",
  "__proto__",
  "constructor",
  "hasOwnProperty",
  'a\nb"c\\',
  "\u2028\ufeff",
  "n".repeat(limits.nameLength),
];

export const plainText: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...AWKWARD) },
  { weight: 5, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
);
export const name: fc.Arbitrary<string> = plainText;
export const json: fc.Arbitrary<string> = fc.oneof(plainText, fc.json({ maxDepth: 2 }));
export const counter: fc.Arbitrary<number> = fc.oneof(
  fc.nat(1_000),
  fc.constantFrom(0, 127, 128, 65_536, 2 ** 31, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER),
);
/** Never -0, which the wire carries as 0. */
export const finite: fc.Arbitrary<number> = fc
  .double({ noNaN: true, noDefaultInfinity: true })
  .map((value) => value + 0);
export const ms: fc.Arbitrary<number> = fc.oneof(
  counter,
  fc.double({ min: 0, max: 1e9, noNaN: true }).map((value) => value + 0),
);
export const instant: fc.Arbitrary<number> = fc.oneof(
  counter,
  fc.constantFrom(limits.instantMax, -limits.instantMax, 1_700_000_000_000.5),
);
export const anyNumber: fc.Arbitrary<number> = fc.oneof(
  fc.integer(),
  finite,
  fc.constantFrom(
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.MAX_SAFE_INTEGER,
    2 ** 60,
  ),
);
export const few = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(one, { maxLength: 4 });

/** By key, as own properties whatever the key. */
export function entries<T>(value: fc.Arbitrary<T>): fc.Arbitrary<Readonly<Record<string, T>>> {
  return few(fc.tuple(name, value)).map((pairs) => Object.fromEntries(pairs) as Record<string, T>);
}

export const later: fc.Arbitrary<Later> = fc.oneof(record({ delayMs: finite }), record({ at: finite }));
export const backoff: fc.Arbitrary<Backoff> = fc.oneof(
  record({ kind: fc.constant("exponential" as const), firstMs: ms, factor: ms, maxMs: ms, jitter: ms }),
  record({ kind: fc.constant("linear" as const), stepMs: ms, maxMs: ms, jitter: ms }),
  record({ kind: fc.constant("fixed" as const), delayMs: ms }),
);
export const orNull = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(one, { nil: null });
export const retention: fc.Arbitrary<Retention> = record({
  completedMs: orNull(ms),
  cancelledMs: orNull(ms),
  deadMs: orNull(ms),
});
const errors = fc.letrec<{ error: JobError }>((tie) => ({
  error: record(
    {
      name,
      message: plainText,
      stack: plainText,
      code: plainText,
      cause: fc.oneof({ maxDepth: 3 }, tie("error")),
    },
    { requiredKeys: ["name", "message"] },
  ) as fc.Arbitrary<JobError>,
}));
export const error: fc.Arbitrary<JobError> = errors.error;

export const SPEC: Model<Omit<JobSpec, "givenId" | "unique" | "limit" | "trace" | "tickAt">> = {
  name,
  queue: name,
  payload: json,
  maxRetries: orNull(counter),
  backoff,
  timeoutMs: orNull(ms),
  retention,
  tags: few(name),
};
const unique: fc.Arbitrary<UniqueKey> = record(
  {
    scope: name,
    key: name,
    while: fc.constantFrom("waiting" as const, "live" as const, null),
    forMs: orNull(ms),
    onConflict: fc.constantFrom("keep" as const, "replace" as const, "error" as const),
    inherit: fc.constant(true as const),
  },
  { requiredKeys: ["scope", "key", "while", "onConflict"] },
);
const limit: fc.Arbitrary<LimitKey> = record({
  scope: name,
  key: name,
  concurrency: fc.integer({ min: 1, max: limits.limitConcurrency }),
});
export const spec: fc.Arbitrary<JobSpec> = record(
  { ...SPEC, givenId: name, unique, limit, trace: plainText, tickAt: instant },
  { requiredKeys: ["name", "queue", "payload", "maxRetries", "backoff", "timeoutMs", "retention", "tags"] },
);
export const priority: fc.Arbitrary<number> = fc.integer({
  min: limits.priorityMin,
  max: limits.priorityMax,
});
/** Fields that are there and fields that may be. */
export function both<A extends object, B extends object>(
  must: fc.Arbitrary<A>,
  may: { [K in keyof B]: fc.Arbitrary<B[K]> },
): fc.Arbitrary<A & Partial<B>> {
  return fc.tuple(must, record(may, { requiredKeys: [] })).map(([a, b]) => ({ ...a, ...(b as Partial<B>) }));
}
export const lease: fc.Arbitrary<Lease> = record({ id: counter, generation: counter, token: name });
export const LINE: Model<LogLine> = {
  at: instant,
  level: fc.constantFrom("debug" as const, "info" as const, "warn" as const, "error" as const),
  text: plainText,
};
export const PROCESS: Model<Pick<ProcessBeat, "id" | "host" | "pid" | "lostAfterMs" | "queues">> = {
  id: name,
  host: name,
  pid: counter,
  lostAfterMs: ms,
  queues: few(record({ queue: name, names: few(name), concurrency: counter })),
};
export const state: fc.Arbitrary<JobState> = fc.constantFrom(...JOB_STATES);
