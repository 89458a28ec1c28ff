import fc from "fast-check";
import type { AttemptEntry, HistoryEntry, JobSpec } from "../../../src/job/job.ts";
import type {
  Ask,
  ClaimedJob,
  ClaimResult,
  EnqueueResult,
  GroupResult,
  ProcessInfo,
  RescuedJob,
  ScheduleWriteResult,
  SettleResult,
  Storage,
  StoredJob,
  StoredSchedule,
} from "../../../src/storage/storage.ts";
import type { MethodName } from "../../../src/wire/methods.ts";
import {
  both,
  counter,
  entries,
  error,
  few,
  finite,
  instant,
  json,
  lease,
  name,
  orNull,
  plainText,
  priority,
  record,
  spec,
  state,
  PROCESS,
  LINE,
} from "./arbitrary-basics.ts";

// What a storage may answer by its contract, the awkward among it.

type Result<M extends MethodName> = Awaited<ReturnType<NonNullable<Storage[M]>>>;

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
const historyEntry: fc.Arbitrary<HistoryEntry> = record(
  {
    at: instant,
    kind: fc.constantFrom(
      "snoozed" as const,
      "rescheduled" as const,
      "released" as const,
      "cancel-asked" as const,
      "retried" as const,
      "rescheduled-by-hand" as const,
      "reprioritised" as const,
      "replaced" as const,
    ),
    runAt: instant,
    reason: plainText,
  },
  { requiredKeys: ["at", "kind"] },
);
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
    progress: json,
    events: few(historyEntry),
    startedAt: instant,
    endedAt: instant,
    expiresAt: instant,
    processId: name,
  },
);
const settleResults: fc.Arbitrary<SettleResult[]> = few(
  fc.constantFrom("settled" as const, "stale" as const),
);
const enqueueResult: fc.Arbitrary<EnqueueResult> = record({
  status: fc.constantFrom("created" as const, "existing" as const, "replaced" as const),
  id: counter,
});
const groupResult: fc.Arbitrary<GroupResult> = fc.oneof(
  record({ ok: fc.constant(true as const), jobs: few(enqueueResult) }),
  record({
    ok: fc.constant(false as const),
    refusal: record({
      kind: fc.constantFrom("duplicate-id" as const, "key-held" as const),
      existing: counter,
    }),
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
  {
    ...PROCESS,
    name,
    declares: few(name),
    registeredAt: instant,
    silentMs: finite,
    lost: fc.boolean(),
    running: counter,
  },
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
const storedSchedule: fc.Arbitrary<StoredSchedule> = record(
  { key: name, text: json, nextAt: orNull(instant), revision: counter, lastId: counter },
  { requiredKeys: ["key", "text", "nextAt", "revision"] },
);
const writeResult: fc.Arbitrary<ScheduleWriteResult> = fc.oneof(
  record({ ok: fc.constant(true as const), revision: counter, jobs: few(enqueueResult) }),
  record({ ok: fc.constant(false as const) }),
);
const flow = record({ enqueued: counter, completed: counter, cancelled: counter, dead: counter });
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
  promote: record({ promoted: counter, nextAt: instant, tickAt: instant }, { requiredKeys: ["promoted"] }),
  dueSchedules: record(
    { now: instant, due: few(storedSchedule), nextAt: instant },
    { requiredKeys: ["now", "due"] },
  ),
  writeSchedules: few(writeResult),
  rescue: few(rescuedJob),
  prune: counter,
  get: few(fc.option(storedJob, { nil: undefined })),
  list: record({ jobs: few(storedJob), next: name }, { requiredKeys: ["jobs"] }),
  count: record({ n: counter, exact: fc.boolean() }),
  attempts: few(attemptEntry),
  logs: few(record({ ...LINE, number: counter, attempt: counter })),
  schedules: few(storedSchedule),
  keys: record(
    {
      keys: few(record({ key: name, id: counter, until: orNull(instant) }, { requiredKeys: ["key", "id"] })),
      next: name,
    },
    { requiredKeys: ["keys"] },
  ),
  stats: record({ hour: flow, day: flow, month: flow, total: flow }),
  lanes: record({
    lanes: few(record({ queue: name, name, paused: fc.boolean(), counts })),
    pausedQueues: few(name),
  }),
  processes: few(processInfo),
  change: few(
    fc.constantFrom(
      "changed" as const,
      "asked" as const,
      "unchanged" as const,
      "conflict" as const,
      "missing" as const,
    ),
  ),
  define: fc.constant(undefined),
  configure: fc.constant(undefined),
};
