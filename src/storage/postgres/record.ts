import { createHash } from "node:crypto";
import type { HistoryEntry, JobError, JobHead, JobId, JobSpec } from "../../job/job.ts";
import type { StoredJob } from "../storage.ts";
import { decodeExtra } from "./extra.ts";
import { decodeText } from "./text.ts";
import { STATE_NUMBERS } from "./state-number.ts";

/** How jobs stand in columns: text from the driver, in the order of {@link jobColumns}. */

// ── Policies ─────────────────────────────────────────────────────────────────

/** Options that many jobs share; kept once. */
export type Policy = Pick<JobSpec, "maxRetries" | "backoff" | "timeoutMs" | "retention">;

/** A policy as stored. Its id is a hash of the text, so it means the same in every store and can be cached. */
export interface PolicyText {
  readonly id: string;
  readonly text: string;
}

const ENCODED = new Map<string, PolicyText>();
const DECODED = new Map<string, Policy>();
/** Entries of either cache; beyond it a policy is worked out each time. */
const CACHED = 1_000;

export function encodePolicy({ maxRetries, backoff, timeoutMs, retention }: Policy): PolicyText {
  const text = JSON.stringify({ maxRetries, backoff, timeoutMs, retention });
  let policy = ENCODED.get(text);
  if (policy === undefined) {
    const id = createHash("sha256").update(text).digest().readBigInt64BE(0).toString();
    policy = { id, text };
    if (ENCODED.size < CACHED) ENCODED.set(text, policy);
  }
  return policy;
}

export function decodePolicy(text: string): Policy {
  let policy = DECODED.get(text);
  if (policy === undefined) {
    policy = JSON.parse(text) as Policy;
    if (DECODED.size < CACHED) DECODED.set(text, policy);
  }
  return policy;
}

// ── Jobs ─────────────────────────────────────────────────────────────────────

/** A job as read from its row. Whether one that is not finished waits or runs, its row does not say. */
export interface JobRecord {
  readonly id: JobId;
  readonly lane: number;
  readonly spec: JobSpec;
  /** `state` is `available` for whatever is not finished. */
  readonly head: JobHead;
  readonly createdAt: number;
  /** The generation of the lease that `head.settledBy` names; −1 when there is none. */
  readonly settledGeneration: number;
  /** 0 for finished jobs, which carry their checkpoint in the row. */
  readonly checkpointBytes: number;
  /** The lease that took the run over from a lost process. */
  readonly token: string | undefined;
}

/**
 * The columns of a job: `j` is its row, `l` the row of its lane, `p` that of its policy (left join).
 * A finished job is read into the same record.
 */
export function jobColumns(from: "job" | "finished"): string {
  const own = from === "job";
  return [
    "j.id",
    "j.lane",
    "l.queue",
    "l.name",
    "coalesce(j.policy_text, p.text)",
    "j.created_at",
    "j.run_at",
    "j.started_at",
    "j.generation",
    "j.attempt",
    "j.failures",
    "j.snoozes",
    "j.releases",
    "j.settled_generation",
    own ? "j.checkpoint_bytes" : "0",
    "j.priority",
    "j.marked",
    own ? "j.token" : "null::text",
    "j.settled_by",
    "j.tags",
    "j.given_id",
    own ? "j.cancel_asked" : "null::text",
    "j.error",
    "j.result",
    "j.payload",
    own ? "null::smallint" : "j.state",
    own ? "null::double precision" : "j.ended_at",
    own ? "null::double precision" : "j.expires_at",
    own ? "null::text" : "j.reason",
    "j.extra",
    "j.progress",
    "j.events",
  ].join(", ");
}

/** How many columns {@link jobColumns} names. */
export const JOB_WIDTH = 32;

type Row = readonly (string | null)[];
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** @param at where the columns of {@link jobColumns} begin in the row */
export function readJob(row: Row, at = 0): JobRecord {
  const text = (column: number): string => row[at + column] as string;
  const maybe = (column: number): string | undefined => row[at + column] ?? undefined;
  const spec: Mutable<JobSpec> = {
    name: decodeText(text(3)),
    queue: decodeText(text(2)),
    payload: decodeText(text(24)),
    ...decodePolicy(text(4)),
    tags: decodeTags(row[at + 19] ?? null),
  };
  const givenId = maybe(20);
  if (givenId !== undefined) spec.givenId = decodeText(givenId);
  const head: Mutable<JobHead> = {
    state: maybe(25) === undefined ? "available" : finalState(Number(text(25))),
    priority: Number(text(15)),
    generation: Number(text(8)),
    attempt: Number(text(9)),
    runAt: Number(text(6)),
    marked: text(16) === "t",
    failures: Number(text(10)),
    snoozes: Number(text(11)),
    releases: Number(text(12)),
  };
  const [settledBy, cancelAsked, error, result] = [maybe(18), maybe(21), maybe(22), maybe(23)];
  const [startedAt, endedAt, expiresAt, reason] = [maybe(7), maybe(26), maybe(27), maybe(28)];
  if (settledBy !== undefined) head.settledBy = decodeText(settledBy);
  if (cancelAsked !== undefined) head.cancelAsked = JSON.parse(cancelAsked) as string;
  if (error !== undefined) head.error = JSON.parse(error) as JobError;
  if (result !== undefined) head.result = decodeText(result);
  if (startedAt !== undefined) head.startedAt = Number(startedAt);
  if (endedAt !== undefined) head.endedAt = Number(endedAt);
  if (expiresAt !== undefined) head.expiresAt = Number(expiresAt);
  if (reason !== undefined) head.reason = JSON.parse(reason) as string;
  const [extra, progress, events] = [maybe(29), maybe(30), maybe(31)];
  if (extra !== undefined) Object.assign(spec, decodeExtra(extra));
  if (progress !== undefined) head.progress = decodeText(progress);
  if (events !== undefined) head.events = JSON.parse(events) as HistoryEntry[];
  return {
    id: Number(text(0)),
    lane: Number(text(1)),
    spec,
    head,
    createdAt: Number(text(5)),
    settledGeneration: Number(maybe(13) ?? -1),
    checkpointBytes: Number(text(14)),
    token: maybe(17) === undefined ? undefined : decodeText(text(17)),
  };
}

const NO_TAGS: readonly string[] = [];

/** Most jobs have none. */
export function decodeTags(text: string | null): readonly string[] {
  return text === null ? NO_TAGS : (JSON.parse(text) as string[]);
}

/** `null` for none. */
export function encodeTags(tags: readonly string[]): string | null {
  return tags.length === 0 ? null : JSON.stringify(tags);
}

function finalState(number: number): "completed" | "cancelled" | "dead" {
  if (number === STATE_NUMBERS.completed) return "completed";
  return number === STATE_NUMBERS.dead ? "dead" : "cancelled";
}

/** A job as those who look see it. */
export function storedJob(
  { id, spec, head, createdAt }: JobRecord,
  state: StoredJob["state"],
  processId: string | undefined,
): StoredJob {
  const { state: _state, settledBy: _settledBy, ...rest } = head;
  return { id, state, ...spec, createdAt, ...rest, ...(processId === undefined ? {} : { processId }) };
}
