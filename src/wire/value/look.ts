import type { AttemptEntry, HistoryEntry } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import type {
  CountQuery,
  Flow,
  HeldKey,
  KeyPage,
  KeyQuery,
  LaneInfo,
  ListQuery,
  LogEntry,
  ProcessInfo,
  Stats,
  StoredJob,
} from "../../storage/storage.ts";
import { wireLimits } from "../limits.ts";
import {
  anyNumber,
  boolean,
  list,
  type ListShape,
  number,
  oneOf,
  orNull,
  record,
  type Shape,
} from "../shape.ts";
import {
  counter,
  id,
  instant,
  jobError,
  json,
  name,
  priority,
  progress,
  reason,
  state,
  token,
} from "./basic.ts";
import { spec } from "./enqueue.ts";
import { beatFacts, logLine } from "./run.ts";

/** What can be looked at. */

const historyEntry: Shape<HistoryEntry> = record({
  needs: {
    at: instant,
    kind: oneOf(
      "snoozed",
      "rescheduled",
      "released",
      "cancel-asked",
      "retried",
      "rescheduled-by-hand",
      "reprioritised",
      "replaced",
    ),
  },
  may: { runAt: instant, reason },
});
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
    progress,
    events: list(historyEntry, limits.historyFirst + limits.historyLast),
    startedAt: instant,
    endedAt: instant,
    expiresAt: instant,
    processId: token,
  },
});
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
export const logEntries: ListShape<LogEntry> = list(
  record<LogEntry>({ needs: { ...logLine.needs, number: counter, attempt: counter }, may: logLine.may }),
  limits.logLines,
);

export const keyQuery: Shape<KeyQuery> = record({
  needs: { scope: name, limit: anyNumber },
  may: { key: name, after: token },
});
export const keyPage: Shape<KeyPage> = record({
  needs: {
    keys: list(
      record<HeldKey>({ needs: { key: name, id }, may: { until: orNull(instant) } }),
      limits.listPage,
    ),
  },
  may: { next: token },
});

export const statsQuery: Shape<{ readonly queue?: string; readonly name?: string }> = record<{
  readonly queue?: string;
  readonly name?: string;
}>({ needs: {}, may: { queue: name, name } });
const flow: Shape<Flow> = record({
  needs: { enqueued: counter, completed: counter, cancelled: counter, dead: counter },
  may: {},
});
export const stats: Shape<Stats> = record({
  needs: { hour: flow, day: flow, month: flow, total: flow },
  may: {},
});

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
