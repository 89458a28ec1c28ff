import fc from "fast-check";
import type { Change } from "../../../src/job/change.ts";
import type { JobSpec } from "../../../src/job/job.ts";
import type { Outcome } from "../../../src/job/lifecycle.ts";
import type { Later } from "../../../src/job/outcome.ts";
import type {
  ClaimRequest,
  Interest,
  JobDefaults,
  LogLine,
  NewJob,
  Note,
  ProcessBeat,
  ScheduleWrite,
  Settlement,
  Storage,
} from "../../../src/storage/storage.ts";
import type { MethodName } from "../../../src/wire/methods.ts";
import {
  LINE,
  PROCESS,
  anyNumber,
  backoff,
  both,
  counter,
  entries,
  error,
  few,
  instant,
  json,
  later,
  lease,
  ms,
  name,
  orNull,
  plainText,
  priority,
  record,
  retention,
  spec,
  state,
} from "./arbitrary-basics.ts";

// What a client may hand in by the storage contract, the awkward among it.

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
      attempt: fc.constantFrom("spent" as const, "kept" as const, "reset" as const, "first" as const),
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
const line: fc.Arbitrary<LogLine> = record(LINE);
const note: fc.Arbitrary<Note> = record(
  { checkpoint: entries(orNull(json)), result: json, progress: json, log: few(line) },
  { requiredKeys: [] },
) as fc.Arbitrary<Note>;
const beat: fc.Arbitrary<ProcessBeat> = record(
  {
    ...PROCESS,
    holds: few(lease),
    starts: few(lease),
    name,
    declares: few(name),
    first: fc.boolean(),
    leaving: fc.boolean(),
  },
  { requiredKeys: ["id", "host", "pid", "lostAfterMs", "queues", "holds", "starts"] },
);
const change: fc.Arbitrary<Change> = fc.oneof(
  record({ kind: fc.constant("cancel" as const), reason: plainText }),
  record({ kind: fc.constant("retry" as const) }),
  record({ kind: fc.constant("remove" as const) }),
  record({ kind: fc.constant("runAt" as const), later }),
  record({ kind: fc.constant("priority" as const), priority }),
);

const write: fc.Arbitrary<ScheduleWrite> = record(
  {
    key: name,
    expected: counter,
    row: record({ text: json, nextAt: orNull(instant) }),
    jobs: few(newJob),
    unlessLive: fc.constant(true as const),
  },
  { requiredKeys: ["key", "expected"] },
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
/** What each method may be called with. */
export const ARGS: { readonly [M in MethodName]: fc.Arbitrary<Readonly<Args<M>>> } = {
  enqueue: fc.tuple(few(few(newJob)), fc.option(name, { nil: undefined })) as fc.Arbitrary<Args<"enqueue">>,
  claim: fc.tuple(request),
  settle: fc.tuple(few(settlement)),
  exchange: fc.tuple(few(settlement), request),
  note: fc.tuple(lease, note),
  beat: fc.tuple(beat),
  promote: fc.tuple(fc.nat(1_000)),
  dueSchedules: fc.tuple(fc.nat(1_000)),
  writeSchedules: fc.tuple(few(write)),
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
  logs: fc.tuple(anyNumber),
  schedules: fc.constant([] as const) as unknown as fc.Arbitrary<[]>,
  keys: fc.tuple(
    record({ scope: name, key: name, limit: anyNumber, after: name }, { requiredKeys: ["scope", "limit"] }),
  ),
  stats: fc.tuple(record({ queue: name, name }, { requiredKeys: [] })),
  lanes: fc.constant([] as const) as unknown as fc.Arbitrary<[]>,
  processes: fc.constant([] as const) as unknown as fc.Arbitrary<[]>,
  change: fc.tuple(few(anyNumber), change),
  define: fc.tuple(few(defaults)),
  configure: fc.tuple(
    record({ queue: name, name }, { requiredKeys: ["queue"] }),
    record({ paused: fc.boolean() }, { requiredKeys: [] }),
  ),
};
