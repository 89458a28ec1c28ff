import fc from "fast-check";
import type { Backoff } from "../../../src/job/backoff.ts";
import { type AttemptEntry, type JobError, JOB_STATES, type JobSpec } from "../../../src/job/job.ts";
import type { Change, Outcome } from "../../../src/job/lifecycle.ts";
import { limits } from "../../../src/job/limits.ts";
import type { Later } from "../../../src/job/outcome.ts";
import type {
  Ask,
  ClaimedJob,
  ClaimRequest,
  ClaimResult,
  GroupResult,
  Interest,
  JobDefaults,
  Lease,
  NewJob,
  ProcessBeat,
  ProcessInfo,
  RescuedJob,
  Settlement,
  SettleResult,
  Storage,
  StoredJob,
} from "../../../src/storage/storage.ts";
import type { MethodName } from "../../../src/wire/methods.ts";

// Values of the storage contract, the awkward ones among them: what a client may hand in and a storage may answer.

/** Records like those that a program makes: with the prototype of all objects. */
const record = ((model: never, constraints: object = {}) =>
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

const plainText = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...AWKWARD) },
  { weight: 5, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
);
const name: fc.Arbitrary<string> = plainText;
const json: fc.Arbitrary<string> = fc.oneof(plainText, fc.json({ maxDepth: 2 }));
const counter: fc.Arbitrary<number> = fc.oneof(
  fc.nat(1_000),
  fc.constantFrom(0, 127, 128, 65_536, 2 ** 31, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER),
);
/** Never -0, which the wire carries as 0. */
const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const ms: fc.Arbitrary<number> = fc.oneof(
  counter,
  fc.double({ min: 0, max: 1e9, noNaN: true }).map((value) => value + 0),
);
const instant: fc.Arbitrary<number> = fc.oneof(
  counter,
  fc.constantFrom(limits.instantMax, -limits.instantMax, 1_700_000_000_000.5),
);
const anyNumber: fc.Arbitrary<number> = fc.oneof(
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
const few = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(one, { maxLength: 4 });

/** By key, as own properties whatever the key. */
function entries<T>(value: fc.Arbitrary<T>): fc.Arbitrary<Readonly<Record<string, T>>> {
  return few(fc.tuple(name, value)).map((pairs) => Object.fromEntries(pairs) as Record<string, T>);
}

const later: fc.Arbitrary<Later> = fc.oneof(record({ delayMs: finite }), record({ at: finite }));
const backoff: fc.Arbitrary<Backoff> = fc.oneof(
  record({ kind: fc.constant("exponential" as const), firstMs: ms, factor: ms, maxMs: ms, jitter: ms }),
  record({ kind: fc.constant("linear" as const), stepMs: ms, maxMs: ms, jitter: ms }),
  record({ kind: fc.constant("fixed" as const), delayMs: ms }),
);
const orNull = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(one, { nil: null });
const retention = record({ completedMs: orNull(ms), cancelledMs: orNull(ms), deadMs: orNull(ms) });
const { error } = fc.letrec<{ error: JobError }>((tie) => ({
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

const SPEC = {
  name,
  queue: name,
  payload: json,
  maxRetries: orNull(counter),
  backoff,
  timeoutMs: orNull(ms),
  retention,
  tags: few(name),
};
const spec: fc.Arbitrary<JobSpec> = record(
  { ...SPEC, givenId: name },
  { requiredKeys: ["name", "queue", "payload", "maxRetries", "backoff", "timeoutMs", "retention", "tags"] },
);
const priority = fc.integer({ min: limits.priorityMin, max: limits.priorityMax });
/** Fields that are there and fields that may be. */
function both<A extends object, B extends object>(
  must: fc.Arbitrary<A>,
  may: { [K in keyof B]: fc.Arbitrary<B[K]> },
): fc.Arbitrary<A & Partial<B>> {
  return fc.tuple(must, record(may, { requiredKeys: [] })).map(([a, b]) => ({ ...a, ...(b as Partial<B>) }));
}
const newJob: fc.Arbitrary<NewJob> = both<JobSpec & { priority: number }, { later: Later }>(
  fc.tuple(spec, priority).map(([one, two]) => ({ ...one, priority: two })),
  { later },
);
const defaults: fc.Arbitrary<JobDefaults> = record({
  name,
  queue: name,
  maxRetries: orNull(counter),
  backoff,
  timeoutMs: orNull(ms),
  retention,
  tags: few(name),
  priority,
});

const lease: fc.Arbitrary<Lease> = record({ id: counter, generation: counter, token: name });
const request: fc.Arbitrary<ClaimRequest> = record({
  processId: name,
  token: name,
  queues: few(record({ queue: name, names: few(name), room: fc.nat(10), readAhead: fc.nat(10) })),
  starts: few(lease),
});
const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  record(
    { state: fc.constant("completed" as const), result: json, reason: plainText },
    { requiredKeys: ["state"] },
  ),
  record({ state: fc.constant("dead" as const), error }),
  record(
    {
      state: fc.constant("cancelled" as const),
      reason: plainText,
      error,
      unspent: fc.constant(true as const),
    },
    { requiredKeys: ["state", "reason"] },
  ),
  record(
    {
      state: fc.constant("scheduled" as const),
      later,
      attempt: fc.constantFrom("spent" as const, "kept" as const, "reset" as const),
      error,
    },
    { requiredKeys: ["state", "later", "attempt"] },
  ),
  record({ state: fc.constant("available" as const), marked: fc.boolean() }),
);
const settlement: fc.Arbitrary<Settlement> = record(
  { lease, outcome, startedAt: instant, enqueue: few(newJob) },
  { requiredKeys: ["lease", "outcome", "startedAt"] },
);
const note = record({ checkpoint: entries(orNull(json)), result: json }, { requiredKeys: [] });
const PROCESS = {
  id: name,
  host: name,
  pid: counter,
  lostAfterMs: ms,
  queues: few(record({ queue: name, names: few(name), concurrency: counter })),
};
const beat: fc.Arbitrary<ProcessBeat> = record(
  { ...PROCESS, holds: few(lease), starts: few(lease), name, first: fc.boolean(), leaving: fc.boolean() },
  { requiredKeys: ["id", "host", "pid", "lostAfterMs", "queues", "holds", "starts"] },
);
const state = fc.constantFrom(...JOB_STATES);
const change: fc.Arbitrary<Change> = fc.oneof(
  record({ kind: fc.constant("cancel" as const), reason: plainText }),
  record({ kind: fc.constant("retry" as const) }),
  record({ kind: fc.constant("remove" as const) }),
  record({ kind: fc.constant("runAt" as const), later }),
  record({ kind: fc.constant("priority" as const), priority }),
);

export const interest: fc.Arbitrary<Interest> = record(
  {
    available: few(record({ queue: name, names: few(name) }, { requiredKeys: ["queue"] })),
    finished: few(anyNumber),
    asked: name,
  },
  { requiredKeys: [] },
);

type Args<M extends MethodName> = Parameters<NonNullable<Storage[M]>>;
type Result<M extends MethodName> = Awaited<ReturnType<NonNullable<Storage[M]>>>;

/** What each method may be called with. */
export const ARGS: { readonly [M in MethodName]: fc.Arbitrary<Readonly<Args<M>>> } = {
  enqueue: fc.tuple(few(few(newJob)), fc.option(name, { nil: undefined })) as fc.Arbitrary<Args<"enqueue">>,
  claim: fc.tuple(request),
  settle: fc.tuple(few(settlement)),
  exchange: fc.tuple(few(settlement), request),
  note: fc.tuple(lease, note) as fc.Arbitrary<Args<"note">>,
  beat: fc.tuple(beat),
  promote: fc.tuple(fc.nat(1_000)),
  rescue: fc.tuple(record({ processId: name, token: name, limit: fc.nat(1_000) })),
  prune: fc.tuple(fc.nat(1_000)),
  get: fc.tuple(few(anyNumber)),
  list: fc.tuple(
    record(
      { state, limit: anyNumber, queue: name, name, tag: name, after: name },
      { requiredKeys: ["state", "limit"] },
    ),
  ),
  count: fc.tuple(record({ state, queue: name, name }, { requiredKeys: [] })),
  attempts: fc.tuple(anyNumber),
  lanes: fc.constant([] as const) as unknown as fc.Arbitrary<[]>,
  processes: fc.constant([] as const) as unknown as fc.Arbitrary<[]>,
  change: fc.tuple(few(anyNumber), change),
  define: fc.tuple(few(defaults)),
  configure: fc.tuple(
    record({ queue: name, name }, { requiredKeys: ["queue"] }),
    record({ paused: fc.boolean() }, { requiredKeys: [] }),
  ),
};

const asks: fc.Arbitrary<Ask[]> = few(record({ id: counter, generation: counter, reason: plainText }));
const claimedJob: fc.Arbitrary<ClaimedJob> = both<
  JobSpec & Omit<ClaimedJob, keyof JobSpec | "checkpoint" | "cancelAsked">,
  { checkpoint: Readonly<Record<string, string>>; cancelAsked: string }
>(
  fc
    .tuple(
      spec,
      record({
        id: counter,
        generation: counter,
        token: name,
        priority,
        attempt: counter,
        createdAt: instant,
        runAt: instant,
        marked: fc.boolean(),
      }),
    )
    .map(([one, two]) => ({ ...one, ...two })),
  { checkpoint: entries(json), cancelAsked: plainText },
);
const claimResult: fc.Arbitrary<ClaimResult> = record(
  { known: fc.boolean(), jobs: few(claimedJob), asks, nextAt: instant },
  { requiredKeys: ["known", "jobs", "asks"] },
);
const rescuedJob: fc.Arbitrary<RescuedJob> = fc
  .tuple(claimedJob, record({ lostProcessId: name, started: fc.boolean(), startedAt: instant }))
  .map(([one, two]) => ({ ...one, ...two }));
const storedJob: fc.Arbitrary<StoredJob> = both(
  fc
    .tuple(
      spec,
      record({
        id: counter,
        state,
        priority,
        generation: counter,
        attempt: counter,
        runAt: instant,
        marked: fc.boolean(),
        failures: counter,
        snoozes: counter,
        releases: counter,
        createdAt: instant,
      }),
    )
    .map(([one, two]) => ({ ...one, ...two })),
  {
    cancelAsked: plainText,
    error,
    reason: plainText,
    result: json,
    startedAt: instant,
    endedAt: instant,
    expiresAt: instant,
    processId: name,
  },
);
const settleResults: fc.Arbitrary<SettleResult[]> = few(
  fc.constantFrom("settled" as const, "stale" as const),
);
const groupResult: fc.Arbitrary<GroupResult> = fc.oneof(
  record({
    ok: fc.constant(true as const),
    jobs: few(record({ status: fc.constantFrom("created" as const, "existing" as const), id: counter })),
  }),
  record({
    ok: fc.constant(false as const),
    refusal: record({ kind: fc.constant("duplicate-id" as const), existing: counter }),
    index: counter,
  }),
);
const attemptEntry: fc.Arbitrary<AttemptEntry> = record({
  number: counter,
  attempt: counter,
  processId: name,
  startedAt: instant,
  endedAt: instant,
  error,
});
const processInfo: fc.Arbitrary<ProcessInfo> = record(
  { ...PROCESS, name, registeredAt: instant, silentMs: finite, lost: fc.boolean(), running: counter },
  {
    requiredKeys: [
      "id",
      "host",
      "pid",
      "lostAfterMs",
      "queues",
      "registeredAt",
      "silentMs",
      "lost",
      "running",
    ],
  },
);
const counts = record({
  scheduled: counter,
  available: counter,
  blocked: counter,
  running: counter,
  completed: counter,
  cancelled: counter,
  dead: counter,
});

/** What each method may answer. */
export const RESULTS: { readonly [M in MethodName]: fc.Arbitrary<Result<M>> } = {
  enqueue: few(groupResult),
  claim: claimResult,
  settle: settleResults,
  exchange: record({ settled: settleResults, claimed: claimResult }),
  note: fc.constantFrom("saved" as const, "stale" as const),
  beat: record({ known: fc.boolean(), lost: few(lease), asks }),
  promote: record({ promoted: counter, nextAt: instant }, { requiredKeys: ["promoted"] }),
  rescue: few(rescuedJob),
  prune: counter,
  get: few(fc.option(storedJob, { nil: undefined })),
  list: record({ jobs: few(storedJob), next: name }, { requiredKeys: ["jobs"] }),
  count: record({ n: counter, exact: fc.boolean() }),
  attempts: few(attemptEntry),
  lanes: record({
    lanes: few(record({ queue: name, name, paused: fc.boolean(), counts })),
    pausedQueues: few(name),
  }),
  processes: few(processInfo),
  change: few(
    fc.constantFrom("changed" as const, "asked" as const, "unchanged" as const, "missing" as const),
  ),
  define: fc.constant(undefined),
  configure: fc.constant(undefined),
};
