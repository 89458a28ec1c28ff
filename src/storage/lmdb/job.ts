import type { JobId, JobSpec, JobState } from "../../job/job.ts";
import type { ClaimedJob, StoredJob } from "../storage.ts";
import type { DurableTables, VolatileTables } from "./environments.ts";
import { HIGHEST_KEY, wholeKey } from "./keys.ts";
import type { Lane, Lanes } from "./lanes.ts";
import {
  decodeEntry,
  decodeHead,
  decodeSpec,
  type HeadRecord,
  impliedHead,
  type LeaseRecord,
  type Policy,
  type SpecRecord,
} from "./records.ts";

/** A job as read from its records. */
export interface KeptJob {
  readonly id: JobId;
  readonly spec: SpecRecord;
  readonly lane: Lane;
  readonly policy: Policy;
  readonly record: HeadRecord;
  /** Whether the head record exists; if not, `record` is what the spec implies. */
  readonly hasHead: boolean;
}

/**
 * Specs that will be needed again soon: those of jobs that this process gave out, with the generation of their
 * lease. While that stands, they do not change.
 */
export type SpecCache = Map<JobId, { readonly generation: number; readonly spec: SpecRecord }>;

export function readJob(
  tables: DurableTables,
  lanes: Lanes,
  id: JobId,
  options: { readonly hasHead?: boolean; readonly spec?: SpecRecord } = NO_OPTIONS,
): KeptJob | undefined {
  const key = wholeKey(id);
  let { spec } = options;
  if (spec === undefined) {
    const text = tables.job.get(key);
    if (text === undefined) return undefined;
    spec = decodeSpec(text);
  }
  const head = options.hasHead === false ? undefined : tables.head.get(key);
  return {
    id,
    spec,
    lane: lanes.get(spec.lane),
    policy: lanes.policy(spec.policy),
    record: head === undefined ? impliedHead(id, spec) : decodeHead(head),
    hasHead: head !== undefined,
  };
}

const NO_OPTIONS = {};

/** What the rules ask of a job's options. The policy says it all where there is no limit key. */
export function rulesOf({ spec, policy }: KeptJob): Pick<JobSpec, "retention" | "limit"> {
  const limit = spec.more?.limit;
  return limit === undefined ? policy : { retention: policy.retention, limit };
}

/** `undefined` when the job is not kept (any more). @param hasEnded whether its run has, in spite of its lease */
export function stateOf(
  durable: DurableTables,
  volatile: VolatileTables,
  lanes: Lanes,
  id: JobId,
  hasEnded: boolean = false,
): JobState | undefined {
  const key = wholeKey(id);
  const text = durable.head.get(key);
  const state = (text === undefined ? readJob(durable, lanes, id)?.record : decodeHead(text))?.head.state;
  return state === "available" && !hasEnded && volatile.lease.get(key) !== undefined ? "running" : state;
}

/** A job as a claim gives it out. */
export function claimedJob(tables: DurableTables, job: KeptJob, token: string): ClaimedJob {
  const { id, spec, lane, policy } = job;
  const { head, checkpointBytes } = job.record;
  const claimed: { -readonly [K in keyof ClaimedJob]: ClaimedJob[K] } = {
    id,
    generation: head.generation,
    token,
    name: lane.name,
    queue: lane.queue,
    payload: spec.payload,
    maxRetries: policy.maxRetries,
    backoff: policy.backoff,
    timeoutMs: policy.timeoutMs,
    retention: policy.retention,
    tags: spec.tags,
    priority: head.priority,
    attempt: head.attempt,
    createdAt: spec.createdAt,
    runAt: head.runAt,
    marked: head.marked,
  };
  if (spec.givenId !== undefined) claimed.givenId = spec.givenId;
  if (spec.more !== undefined) Object.assign(claimed, spec.more);
  if (checkpointBytes > 0) claimed.checkpoint = Object.fromEntries(readCheckpoint(tables, id));
  if (head.cancelAsked !== undefined) claimed.cancelAsked = head.cancelAsked;
  return claimed;
}

/** A job as those who look see it. */
export function storedJob(job: KeptJob, lease: LeaseRecord | undefined): StoredJob {
  const { id, spec, lane, policy } = job;
  const { state, settledBy: _settledBy, ...head } = job.record.head;
  return {
    id,
    state: lease === undefined ? state : "running",
    name: lane.name,
    queue: lane.queue,
    payload: spec.payload,
    maxRetries: policy.maxRetries,
    backoff: policy.backoff,
    timeoutMs: policy.timeoutMs,
    retention: policy.retention,
    tags: spec.tags,
    ...(spec.givenId === undefined ? {} : { givenId: spec.givenId }),
    ...spec.more,
    createdAt: spec.createdAt,
    ...head,
    ...(lease === undefined ? {} : { processId: lease.holder }),
  };
}

/** Checkpoint entries by key. */
export function readCheckpoint(tables: DurableTables, id: JobId): Map<string, string> {
  const entries = new Map<string, string>();
  for (const { value } of tables.checkpoint.rows(wholeKey(id), groupEnd(id), CHECKPOINT_ROWS)) {
    entries.set(...decodeEntry(value));
  }
  return entries;
}

/** The end of the keys that begin with an id. */
export function groupEnd(id: JobId): Uint8Array {
  return id >= Number.MAX_SAFE_INTEGER ? HIGHEST_KEY : wholeKey(id + 1);
}

/** Each entry has at least a byte, and all together have `limits.checkpointBytes`. */
const CHECKPOINT_ROWS = 1_048_577;
