import { limits } from "../../job/limits.ts";
import type { Outcome } from "../../job/lifecycle.ts";
import type {
  Ask,
  BeatResult,
  ClaimedJob,
  ClaimRequest,
  ClaimResult,
  Interest,
  Lease,
  LogLine,
  Note,
  ProcessBeat,
  QueueRequest,
  RescuedJob,
  RescueRequest,
  ServedQueue,
  Settlement,
  SettleResult,
} from "../../storage/storage.ts";
import { wireLimits } from "../limits.ts";
import { series } from "../series.ts";
import { anyNumber, boolean, dictionary, type Fields, integer, list, type ListShape } from "../shape.ts";
import { literal, oneOf, orNull, record, type Shape, text, variants } from "../shape.ts";
import { counter, id, instant, jobError, json, later, limit, ms, name } from "./basic.ts";
import { priority, progress, reason, token } from "./basic.ts";
import { newJobs, spec } from "./enqueue.ts";

/** Jobs in the hands of a process, from the claim to the end of the run, and how the process shows itself. */

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
    jobs: series(
      claimed,
      ["id", "payload", "givenId", "unique", "tickAt", "checkpoint", "cancelAsked"],
      wireLimits.entries,
    ),
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
    needs: { state: literal("scheduled"), later, attempt: oneOf("spent", "kept", "reset", "first") },
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

export const logLine: Fields<LogLine> = {
  needs: { at: instant, level: oneOf("debug", "info", "warn", "error"), text: text(limits.logText) },
  may: {},
};
export const note: Shape<Note> = record({
  needs: {},
  may: {
    checkpoint: dictionary(name, orNull(json), wireLimits.entries),
    result: json,
    progress,
    log: list(record(logLine), wireLimits.entries),
  },
});
export const saved: Shape<"saved" | "stale"> = oneOf("saved", "stale");

const served: Shape<ServedQueue> = record({
  needs: { queue: name, names: list(name, wireLimits.queues), concurrency: counter },
  may: {},
});
export const beatFacts: Fields<Omit<ProcessBeat, "holds" | "starts" | "first" | "leaving">> = {
  needs: {
    id: token,
    host: token,
    pid: counter,
    lostAfterMs: ms,
    queues: list(served, wireLimits.queues),
  },
  may: { name, declares: list(name, limits.schedules) },
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
