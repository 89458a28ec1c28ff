import type { Backoff } from "../../job/backoff.ts";
import { type AttemptEntry, type JobHead, type JobId, JOB_STATES, type JobSpec } from "../../job/job.ts";
import { type Arriving, newHead } from "../../job/lifecycle.ts";
import type { ProcessBeat, ProcessId } from "../storage.ts";
import { splitBody, withBody } from "./body.ts";

/**
 * What stands behind the keys, as text. A job is kept in two records: its spec, written once, and its
 * head, which exists only once it differs from the head that the spec implies.
 */

// ── The part that never changes ──────────────────────────────────────────────

/** Options that many jobs share; kept once and named by a number. */
export interface Policy extends Pick<JobSpec, "maxRetries" | "timeoutMs" | "retention"> {
  readonly backoff: Backoff;
}

export interface SpecRecord {
  readonly lane: number;
  /** Its number, or the policy itself when there are too many to number. */
  readonly policy: number | Policy;
  readonly createdAt: number;
  /** As enqueued. */
  readonly runAt: number;
  /** As enqueued. */
  readonly priority: number;
  readonly tags: readonly string[];
  readonly givenId: string | undefined;
  /** What most jobs do not have. */
  readonly more: SpecMore | undefined;
  readonly payload: string;
}

export type SpecMore = Pick<JobSpec, "unique" | "limit" | "trace" | "tickAt">;

/** A line of JSON and the payload as it is: it is neither escaped nor parsed again. */
export function encodeSpec(record: SpecRecord): string {
  const { lane, policy, createdAt, runAt, priority, tags, givenId, more, payload } = record;
  const policyText = typeof policy === "number" ? String(policy) : JSON.stringify(policy);
  let rest = "";
  if (more !== undefined)
    rest = `,${JSON.stringify(tags)},${JSON.stringify(givenId ?? null)},${JSON.stringify(more)}`;
  else if (givenId !== undefined) rest = `,${JSON.stringify(tags)},${JSON.stringify(givenId)}`;
  else if (tags.length > 0) rest = `,${JSON.stringify(tags)}`;
  return withBody(`[${lane},${policyText},${createdAt},${runAt},${priority}${rest}]`, payload);
}

export function decodeSpec(text: string): SpecRecord {
  const { header, body } = splitBody(text);
  const [lane, policy, createdAt, runAt, priority, tags = NO_TAGS, givenId, more] = header as [
    number,
    number | Policy,
    number,
    number,
    number,
    (readonly string[])?,
    (string | null)?,
    SpecMore?,
  ];
  return {
    lane,
    policy,
    createdAt,
    runAt,
    priority,
    tags,
    givenId: givenId ?? undefined,
    more,
    payload: body as string,
  };
}

const NO_TAGS: readonly string[] = [];

// ── The part that changes ────────────────────────────────────────────────────

/** A job's head with what this engine keeps beside it. */
export interface HeadRecord {
  readonly head: JobHead;
  /** The place in line of an available or running job. */
  readonly seq: number;
  /** The generation of the lease that `head.settledBy` names. */
  readonly settledGeneration: number;
  /** Size of all checkpoint entries; 0 = there are none. */
  readonly checkpointBytes: number;
  /** The chunk of `ended` in which a finished job stands. */
  readonly chunk: number;
  /** The number of the last log line; 0 = there are none. */
  readonly logs: number;
}

/** The head of a job of which nothing has been recorded yet. */
export function impliedHead(id: JobId, spec: SpecRecord): HeadRecord {
  return {
    head: newHead(arriving(spec), spec.runAt, spec.createdAt),
    seq: id,
    settledGeneration: -1,
    checkpointBytes: 0,
    chunk: 0,
    logs: 0,
  };
}

function arriving({ priority, more }: SpecRecord): Arriving {
  return more?.limit === undefined ? { priority } : { priority, limit: more.limit };
}

export function encodeHead(record: HeadRecord): string {
  const { seq, settledGeneration, checkpointBytes, chunk, logs } = record;
  const head = record.head;
  // By hand: every job that ends passes here.
  const fixed =
    `[${JOB_STATES.indexOf(head.state)},${head.priority},${head.generation},${head.attempt},${head.runAt},` +
    `${head.marked ? 1 : 0},${head.failures},${head.snoozes},${head.releases},` +
    `${seq},${settledGeneration},${checkpointBytes},${chunk}`;
  const { cancelAsked, settledBy, error, reason, startedAt, endedAt, expiresAt, result } = head;
  const { progress, events } = head;
  if (
    cancelAsked !== undefined ||
    error !== undefined ||
    reason !== undefined ||
    progress !== undefined ||
    events !== undefined ||
    logs > 0
  ) {
    const rare = JSON.stringify({
      ...{ cancelAsked, settledBy, error, reason, startedAt, endedAt, expiresAt, progress, events },
    });
    return withBody(`${fixed},${rare}${logs > 0 ? `,${logs}` : ""}]`, result);
  }
  if (settledBy !== undefined && startedAt !== undefined && endedAt !== undefined) {
    const expiry = expiresAt === undefined ? "" : `,"expiresAt":${expiresAt}`;
    const run = `"settledBy":${JSON.stringify(settledBy)},"startedAt":${startedAt},"endedAt":${endedAt}`;
    return withBody(`${fixed},{${run}${expiry}}]`, result);
  }
  return withBody(`${fixed},${JSON.stringify({ settledBy, startedAt, endedAt, expiresAt })}]`, result);
}

export function decodeHead(text: string): HeadRecord {
  const { header, body } = splitBody(text);
  const [
    state,
    priority,
    generation,
    attempt,
    runAt,
    marked,
    failures,
    snoozes,
    releases,
    seq,
    settledGeneration,
    checkpointBytes,
    chunk,
    rare,
    logs = 0,
  ] = header as [...FixedLength<number, 13>, Partial<JobHead>, number?];
  const fixed = {
    state: JOB_STATES[state] as JobHead["state"],
    priority,
    generation,
    attempt,
    runAt,
    marked: marked === 1,
    failures,
    snoozes,
    releases,
  };
  return {
    head: Object.assign(fixed, rare, body === undefined ? undefined : { result: body }),
    seq,
    settledGeneration,
    checkpointBytes,
    chunk,
    logs,
  };
}

export type FixedLength<T, N extends number, R extends T[] = []> = R["length"] extends N
  ? R
  : FixedLength<T, N, [...R, T]>;

// ── Small records ────────────────────────────────────────────────────────────

export interface LeaseRecord {
  readonly token: string;
  /** Who may settle it. */
  readonly holder: ProcessId;
  readonly generation: number;
  /** When it was started as far as is known; before that, when it was claimed. */
  readonly startedAt: number;
  readonly started: boolean;
  /** Who claimed it to run it; differs from the holder after a rescue. */
  readonly claimedBy: ProcessId;
  readonly lane: number;
  /** Someone asked to cancel it: there is a row in `ask`. */
  readonly asked: boolean;
  /** Digest of the limit key of which it takes a place. */
  readonly limit?: string;
}

export function encodeLease(lease: LeaseRecord): string {
  if (lease !== lastLease.lease) lastLease = { lease, text: leaseText(lease) };
  return lastLease.text;
}

/** A claim gives many jobs one and the same lease. */
let lastLease: { readonly lease: LeaseRecord | undefined; readonly text: string } = {
  lease: undefined,
  text: "",
};

function leaseText(lease: LeaseRecord): string {
  const { token, holder, generation, startedAt, started, claimedBy, lane, asked, limit } = lease;
  const claimer = claimedBy === holder ? 0 : JSON.stringify(claimedBy);
  return `[${JSON.stringify(token)},${JSON.stringify(holder)},${generation},${startedAt},${started ? 1 : 0},${claimer},${lane},${asked ? 1 : 0}${limit === undefined ? "" : `,"${limit}"`}]`;
}

export function decodeLease(text: string): LeaseRecord {
  const [token, holder, generation, startedAt, started, claimer, lane, asked, limit] = JSON.parse(text) as [
    string,
    string,
    number,
    number,
    0 | 1,
    string | 0,
    number,
    0 | 1,
    string?,
  ];
  return {
    token,
    holder,
    generation,
    startedAt,
    started: started === 1,
    claimedBy: claimer === 0 ? holder : claimer,
    lane,
    asked: asked === 1,
    ...(limit === undefined ? {} : { limit }),
  };
}

/** A registered process. */
export interface ProcessRecord {
  readonly beat: Omit<ProcessBeat, "holds" | "starts" | "first" | "leaving">;
  readonly registeredAt: number;
  /** By the liveness clock. */
  readonly lastBeat: number;
  readonly leaving: boolean;
  /** The instance of the store that lives and dies with the process, when it is the one that registered it. */
  readonly instance?: number;
}

/** One of the processes that have the store open. */
export interface InstanceRecord {
  readonly pid: number;
  /** What tells PID namespaces apart. */
  readonly namespace: string;
  /** What it wants to be woken for: a sum of {@link WANTS}. */
  readonly wants: number;
  /** The format that it writes; absent from code that knew only the first. */
  readonly format?: number;
}

export const WANTS = { available: 1, finished: 2, asked: 4 } as const;

export function encodeAttempt(entry: AttemptEntry): string {
  return JSON.stringify(entry);
}

/** A checkpoint entry: its name, because the key may hold a digest of it, and its JSON text. */
export function encodeEntry(name: string, value: string): string {
  return withBody(JSON.stringify(name), value);
}

export function decodeEntry(text: string): readonly [name: string, value: string] {
  const { header, body } = splitBody(text);
  return [header as string, body as string];
}
