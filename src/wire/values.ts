import { type AttemptEntry, type JobError, JOB_STATES, type JobSpec } from "../job/job.ts";
import type { Change, ChangeResult, Outcome } from "../job/lifecycle.ts";
import { limits } from "../job/limits.ts";
import type { Later } from "../job/outcome.ts";
import type {
  Ask,
  BeatResult,
  ClaimedJob,
  ClaimRequest,
  ClaimResult,
  CountQuery,
  EnqueueResult,
  GroupResult,
  Interest,
  JobDefaults,
  LaneInfo,
  LaneSettings,
  LaneTarget,
  Lease,
  ListQuery,
  NewJob,
  Note,
  ProcessBeat,
  ProcessInfo,
  QueueRequest,
  RescuedJob,
  RescueRequest,
  ServedQueue,
  Settlement,
  SettleResult,
  StoredJob,
} from "../storage/storage.ts";
import { wireLimits } from "./limits.ts";
import { series } from "./series.ts";
import { backoff, retention } from "./policy.ts";
import {
  anyNumber,
  boolean,
  dictionary,
  eitherField,
  integer,
  list,
  type ListShape,
  literal,
  number,
  oneOf,
  orNull,
  record,
  type Fields,
  type Shape,
  text,
  variants,
} from "./shape.ts";

/** The values of the storage contract as they cross the wire, in the order of the contract. */

export const name: Shape<string> = text(limits.nameLength);
export const token: Shape<string> = text(wireLimits.tokenLength);
const json: Shape<string> = text(wireLimits.jsonLength);
const reason: Shape<string> = text(wireLimits.reasonLength);
const id: Shape<number> = integer(0);
const counter: Shape<number> = integer(0);
/** Epoch ms, by the storage's clock. Clocks may be set to before 1970. */
const instant: Shape<number> = number(-limits.instantMax, Number.MAX_SAFE_INTEGER);
const ms: Shape<number> = number(0, Number.MAX_SAFE_INTEGER);
const priority: Shape<number> = integer(limits.priorityMin, limits.priorityMax);

const later: Shape<Later> = eitherField(
  "at",
  record<{ readonly at: number }>({ needs: { at: number() }, may: {} }),
  record<{ readonly delayMs: number }>({ needs: { delayMs: number() }, may: {} }),
);

const spec: Fields<JobSpec> = {
  needs: {
    name,
    queue: name,
    payload: json,
    maxRetries: orNull(counter),
    backoff,
    timeoutMs: orNull(ms),
    retention,
    tags: list(name, limits.tags),
  },
  may: { givenId: name },
};

const errorText: Shape<string> = text(wireLimits.errorLength);
const jobError: Shape<JobError> = record({
  needs: { name: errorText, message: errorText },
  may: {
    stack: errorText,
    code: errorText,
    // Bounded by the depth of a frame.
    cause: { out: (value) => jobError.out(value), in: (value) => jobError.in(value) },
  },
});

// ── In ───────────────────────────────────────────────────────────────────────

const newJobs: ListShape<NewJob> = series<NewJob>(
  { needs: { ...spec.needs, priority }, may: { ...spec.may, later } },
  ["payload", "givenId"],
  wireLimits.entries,
);
export const groups: ListShape<readonly NewJob[]> = list<readonly NewJob[]>(newJobs, wireLimits.entries);

const enqueueResult: Shape<EnqueueResult> = record({
  needs: { status: oneOf("created", "existing"), id },
  may: {},
});
const groupResult: Shape<GroupResult> = variantsByOk();
export const groupResults: ListShape<GroupResult> = list(groupResult, wireLimits.entries);

function variantsByOk(): Shape<GroupResult> {
  type Stored = Extract<GroupResult, { ok: true }>;
  type Refused = Extract<GroupResult, { ok: false }>;
  return eitherField(
    "jobs",
    record<Stored>({
      needs: { ok: literal(true), jobs: list(enqueueResult, wireLimits.entries) },
      may: {},
    }),
    record<Refused>({
      needs: {
        ok: literal(false),
        refusal: record({ needs: { kind: literal("duplicate-id"), existing: id }, may: {} }),
        index: counter,
      },
      may: {},
    }),
  );
}

export const definitions: ListShape<JobDefaults> = list(
  record<JobDefaults>({
    needs: {
      name,
      queue: name,
      maxRetries: spec.needs.maxRetries,
      backoff,
      timeoutMs: spec.needs.timeoutMs,
      retention,
      tags: spec.needs.tags,
      priority,
    },
    may: {},
  }),
  wireLimits.entries,
);

// ── Through ──────────────────────────────────────────────────────────────────

export const lease: Shape<Lease> = record({ needs: { id, generation: counter, token }, may: {} });
const leases: ListShape<Lease> = list(lease, wireLimits.entries);

const room: Shape<number> = integer(0, wireLimits.entries);
const queueRequest: Shape<QueueRequest> = record({
  needs: { queue: name, names: list(name, wireLimits.queues), room, readAhead: room },
  may: {},
});
export const claimRequest: Shape<ClaimRequest> = record({
  needs: { processId: token, token, queues: list(queueRequest, wireLimits.queues), starts: leases },
  may: {},
});

const checkpoint: Shape<Readonly<Record<string, string>>> = dictionary(name, json, wireLimits.entries);
const claimed: Fields<ClaimedJob> = {
  needs: {
    ...spec.needs,
    id,
    generation: counter,
    token,
    priority,
    attempt: counter,
    createdAt: instant,
    runAt: instant,
    marked: boolean,
  },
  may: { ...spec.may, checkpoint, cancelAsked: reason },
};
const ask: Shape<Ask> = record({ needs: { id, generation: counter, reason }, may: {} });
const asks: ListShape<Ask> = list(ask, wireLimits.entries);
export const claimResult: Shape<ClaimResult> = record({
  needs: {
    known: boolean,
    jobs: series(claimed, ["id", "payload", "givenId", "checkpoint", "cancelAsked"], wireLimits.entries),
    asks,
  },
  may: { nextAt: instant },
});

type Completed = Extract<Outcome, { state: "completed" }>;
type Dead = Extract<Outcome, { state: "dead" }>;
type Cancelled = Extract<Outcome, { state: "cancelled" }>;
type Scheduled = Extract<Outcome, { state: "scheduled" }>;
type Available = Extract<Outcome, { state: "available" }>;
const outcome: Shape<Outcome> = variants<Outcome, "state">("state", {
  completed: record<Completed>({ needs: { state: literal("completed") }, may: { result: json, reason } }),
  dead: record<Dead>({ needs: { state: literal("dead"), error: jobError }, may: {} }),
  cancelled: record<Cancelled>({
    needs: { state: literal("cancelled"), reason },
    may: { error: jobError, unspent: literal(true) },
  }),
  scheduled: record<Scheduled>({
    needs: { state: literal("scheduled"), later, attempt: oneOf("spent", "kept", "reset") },
    may: { error: jobError },
  }),
  available: record<Available>({ needs: { state: literal("available"), marked: boolean }, may: {} }),
});
const settlement: Shape<Settlement> = record({
  needs: { lease, outcome, startedAt: instant },
  may: { enqueue: newJobs },
});
export const settlements: ListShape<Settlement> = list(settlement, wireLimits.entries);
export const settleResults: ListShape<SettleResult> = list(oneOf("settled", "stale"), wireLimits.entries);
export const exchanged: Shape<{ settled: SettleResult[]; claimed: ClaimResult }> = record({
  needs: { settled: settleResults, claimed: claimResult },
  may: {},
});

export const note: Shape<Note> = record({
  needs: {},
  may: { checkpoint: dictionary(name, orNull(json), wireLimits.entries), result: json },
});
export const saved: Shape<"saved" | "stale"> = oneOf("saved", "stale");

const served: Shape<ServedQueue> = record({
  needs: { queue: name, names: list(name, wireLimits.queues), concurrency: counter },
  may: {},
});
const beatFacts: Fields<Omit<ProcessBeat, "holds" | "starts" | "first" | "leaving">> = {
  needs: {
    id: token,
    host: token,
    pid: counter,
    lostAfterMs: ms,
    queues: list(served, wireLimits.queues),
  },
  may: { name },
};
export const beat: Shape<ProcessBeat> = record({
  needs: { ...beatFacts.needs, holds: leases, starts: leases },
  may: { ...beatFacts.may, first: boolean, leaving: boolean },
});
export const beatResult: Shape<BeatResult> = record({
  needs: { known: boolean, lost: leases, asks },
  may: {},
});

export const interest: Shape<Interest> = record({
  needs: {},
  may: {
    available: list(
      record<{ readonly queue: string; readonly names?: readonly string[] }>({
        needs: { queue: name },
        may: { names: list(name, wireLimits.queues) },
      }),
      wireLimits.queues,
    ),
    finished: list(anyNumber, wireLimits.entries),
    asked: token,
  },
});

// ── Upkeep ───────────────────────────────────────────────────────────────────

export const limit: Shape<number> = integer(0, wireLimits.entries);
export const promoted: Shape<{ promoted: number; nextAt?: number }> = record<{
  promoted: number;
  nextAt?: number;
}>({
  needs: { promoted: counter },
  may: { nextAt: instant },
});
export const rescueRequest: Shape<RescueRequest> = record({
  needs: { processId: token, token, limit },
  may: {},
});
export const rescued: ListShape<RescuedJob> = list(
  record<RescuedJob>({
    needs: { ...claimed.needs, lostProcessId: token, started: boolean, startedAt: instant },
    may: claimed.may,
  }),
  wireLimits.entries,
);
export const pruned: Shape<number> = counter;

// ── Look ─────────────────────────────────────────────────────────────────────

const state: Shape<StoredJob["state"]> = oneOf(...JOB_STATES);
const storedJob: Shape<StoredJob> = record({
  needs: {
    ...spec.needs,
    id,
    state,
    priority,
    generation: counter,
    attempt: counter,
    runAt: instant,
    marked: boolean,
    failures: counter,
    snoozes: counter,
    releases: counter,
    createdAt: instant,
  },
  may: {
    ...spec.may,
    cancelAsked: reason,
    error: jobError,
    reason,
    result: json,
    startedAt: instant,
    endedAt: instant,
    expiresAt: instant,
    processId: token,
  },
});
export const ids: ListShape<number> = list(anyNumber, wireLimits.entries);
export const lookedIds: ListShape<number> = list(anyNumber, wireLimits.looked);
export const jobs: ListShape<StoredJob | null> = list(orNull(storedJob), wireLimits.entries);
export const listQuery: Shape<ListQuery> = record({
  needs: { state, limit: anyNumber },
  may: { queue: name, name, tag: name, after: token },
});
export const page: Shape<{ jobs: StoredJob[]; next?: string }> = record<{ jobs: StoredJob[]; next?: string }>(
  {
    needs: { jobs: list(storedJob, wireLimits.entries) },
    may: { next: token },
  },
);
export const countQuery: Shape<CountQuery> = record({ needs: {}, may: { state, queue: name, name } });
export const counted: Shape<{ n: number; exact: boolean }> = record({
  needs: { n: counter, exact: boolean },
  may: {},
});
export const jobId: Shape<number> = anyNumber;
export const attemptEntries: ListShape<AttemptEntry> = list(
  record<AttemptEntry>({
    needs: {
      number: counter,
      attempt: counter,
      processId: token,
      startedAt: instant,
      endedAt: instant,
      error: jobError,
    },
    may: {},
  }),
  wireLimits.entries,
);
const counts = record<LaneInfo["counts"]>({
  needs: {
    scheduled: counter,
    available: counter,
    blocked: counter,
    running: counter,
    completed: counter,
    cancelled: counter,
    dead: counter,
  },
  may: {},
});
export const lanes: Shape<{ lanes: LaneInfo[]; pausedQueues: string[] }> = record({
  needs: {
    lanes: list(
      record<LaneInfo>({ needs: { queue: name, name, paused: boolean, counts }, may: {} }),
      wireLimits.queues,
    ),
    pausedQueues: list(name, wireLimits.queues),
  },
  may: {},
});
export const processes: ListShape<ProcessInfo> = list(
  record<ProcessInfo>({
    needs: { ...beatFacts.needs, registeredAt: instant, silentMs: number(), lost: boolean, running: counter },
    may: beatFacts.may,
  }),
  wireLimits.entries,
);

// ── Steer ────────────────────────────────────────────────────────────────────

export const change: Shape<Change> = variants<Change, "kind">("kind", {
  cancel: record({ needs: { kind: literal("cancel"), reason }, may: {} }),
  retry: record({ needs: { kind: literal("retry") }, may: {} }),
  remove: record({ needs: { kind: literal("remove") }, may: {} }),
  runAt: record({ needs: { kind: literal("runAt"), later }, may: {} }),
  priority: record({ needs: { kind: literal("priority"), priority }, may: {} }),
});
export const changeResults: ListShape<ChangeResult> = list(
  oneOf("changed", "asked", "unchanged", "missing"),
  wireLimits.entries,
);
export const laneTarget: Shape<LaneTarget> = record({ needs: { queue: name }, may: { name } });
export const laneSettings: Shape<LaneSettings> = record({ needs: {}, may: { paused: boolean } });
