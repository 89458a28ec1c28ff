import type { AttemptEntry, JobId, JobState } from "../../src/job/job.ts";
import { STATE_NUMBERS } from "../../src/storage/postgres/state-number.ts";
import { encodeText } from "../../src/storage/postgres/text.ts";
import type { StoredJob } from "../../src/storage/storage.ts";

/** A job in some situation, as those who look must see it. */
export interface Placed {
  readonly job: StoredJob;
  /** Where it stands in the listing of its state. */
  readonly place: number;
}

/** Rows for the tables, and what looking at them must show. */
export interface World {
  readonly rows: Readonly<Record<string, readonly Row[]>>;
  readonly jobs: readonly Placed[];
  readonly attempts: ReadonlyMap<JobId, readonly AttemptEntry[]>;
  readonly lanes: readonly { readonly queue: string; readonly name: string; readonly paused: boolean }[];
  readonly pausedQueues: readonly string[];
  /** Live jobs by process. */
  readonly running: ReadonlyMap<string, number>;
}

type Row = Record<string, unknown>;

const POLICY = {
  maxRetries: 3,
  backoff: { kind: "fixed", delayMs: 5, jitter: 0 },
  timeoutMs: null,
  retention: { completedMs: 1, cancelledMs: null, deadMs: 2 },
} as unknown as Pick<StoredJob, "maxRetries" | "backoff" | "timeoutMs" | "retention">;
export const POLICY_ID = "-4611686018427387904";

/** Names that sort otherwise by locale than by code units, and such as need quoting. */
const QUEUES = ["q", "Q", "ä", "\u{1f642}", "ﬀ", "\ud800"];
const NAMES = ["a", "b", 'c"\\', "d\udc00"];
const PAUSED_QUEUE = "Q";
export const PROCESSES: readonly string[] = ["p0", "p1", "p2", "idle"];

/** Tags that PostgreSQL's text cannot hold, or that look like the JSON around them. */
export const TAGS: readonly string[] = ["plain", ",", '"', "a\u0000b", "\ud800", '","', "\\"];

const SITUATIONS = [
  ...["new", "moved", "marked", "marked and moved", "scheduled", "retrying"],
  ...["claimed", "claimed again", "rescued", "completed", "cancelled", "dead"],
] as const;
type Situation = (typeof SITUATIONS)[number];

/** `n` jobs in random situations, with the traces that settled runs leave behind in leases. */
export function makeWorld(n: number, random: () => number): World {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const below = (end: number): number => Math.floor(random() * end);
  const lanes = QUEUES.flatMap((queue) =>
    NAMES.map((name) => ({ queue, name, paused: name === "b" && queue !== "q" })),
  );
  const rows: Record<string, Row[]> = {
    lane: lanes.map(({ queue, name, paused }, index) => ({
      ...{ id: index + 1, queue: encodeText(queue), name: encodeText(name), paused },
    })),
    queue: [
      { name: PAUSED_QUEUE, paused: true },
      { name: "q", paused: false },
    ],
    policy: [{ id: POLICY_ID, text: JSON.stringify(POLICY) }],
    process: [],
    ...{ job: [], ready: [], scheduled: [], lease: [], attempt: [], tally: [], finished: [] },
  };
  const add = (table: string, row: Row): void => void (rows[table] as Row[]).push(row);
  const jobs: Placed[] = [];
  const attempts = new Map<JobId, AttemptEntry[]>();
  const running = new Map(PROCESSES.map((id) => [id, 0]));
  const held: { id: number; generation: number; token: string; process: string }[] = [];
  let seq = n * 3;
  let endNo = 0;

  for (let index = 0; index < n; index += 1) {
    const id = index * 3 + 1;
    const situation: Situation = pick(SITUATIONS);
    const lane = below(lanes.length);
    const { queue, name } = lanes[lane] as (typeof lanes)[number];
    const tags = TAGS.filter(() => random() < 0.2);
    const isMoved = situation === "moved" || situation === "marked and moved";
    const generation =
      isMoved || situation === "retrying" || situation === "claimed again" ? 1 + below(3) : 0;
    const failures = generation > 0 || situation === "dead" ? 1 : 0;
    const entry: AttemptEntry = {
      ...{ number: 1, attempt: 1, processId: "p0", startedAt: 7, endedAt: 8 },
      error: { name: "Error", message: `failed \u0000 \ud800 ${id}` },
    };
    if (failures > 0) attempts.set(id, [entry]);
    const state = stateIn(situation);
    const shared = {
      ...{ priority: below(5) - 2, generation, attempt: generation, marked: situation.startsWith("marked") },
      ...{ failures, snoozes: below(2), releases: below(2) },
    };
    const runAt = state === "scheduled" ? 1_000 + below(20) : below(1_000);
    const isFinished = state === "completed" || state === "cancelled" || state === "dead";
    const asked = state === "running" && random() < 0.3 ? "why \u0000" : undefined;
    const job: StoredJob = {
      ...{ id, state, name, queue, payload: `{"n":${id},"u":"\\u0000\\ud800"}` },
      ...POLICY,
      tags,
      ...(random() < 0.3 ? { givenId: `given ${id}` } : {}),
      ...{ createdAt: 5, runAt },
      ...shared,
      ...(failures > 0 ? { error: entry.error, startedAt: 7 } : {}),
      ...(asked === undefined ? {} : { cancelAsked: asked }),
      ...(random() < 0.3 ? { result: `"result ${id}"` } : {}),
      ...(state === "cancelled" ? { reason: "no \ud800" } : {}),
      ...(isFinished ? { endedAt: 9, ...(state === "cancelled" ? {} : { expiresAt: 10 }) } : {}),
    };
    const columns = {
      ...{ id, created_at: 5, run_at: runAt, started_at: job.startedAt ?? null, keep_ms: 1, lane: lane + 1 },
      ...shared,
      // Some carry their policy themselves.
      ...(random() < 0.5
        ? { policy: POLICY_ID, policy_text: null }
        : { policy: null, policy_text: JSON.stringify(POLICY) }),
      tags: tags.length === 0 ? null : JSON.stringify(tags),
      given_id: job.givenId ?? null,
      error: job.error === undefined ? null : JSON.stringify(job.error),
      ...{ result: job.result ?? null, payload: job.payload },
      ...{ settled_generation: null, settled_by: null },
    };
    const place = { id, lane: lane + 1, generation, priority: job.priority, marked: job.marked };
    add("tally", { lane: lane + 1, n: 1, src: STATE_NUMBERS.none, dst: STATE_NUMBERS[state] });
    if (isFinished) {
      endNo += 1;
      add("finished", {
        ...columns,
        ...{ end_no: endNo, ended_at: 9, expires_at: job.expiresAt ?? null, state: STATE_NUMBERS[state] },
        ...{ bucket: pick(["-infinity", "infinity"]), checkpoint: null },
        reason: job.reason === undefined ? null : JSON.stringify(job.reason),
        attempts: failures > 0 ? JSON.stringify([entry]) : null,
      });
      // Leases are not changed when their jobs end.
      if (random() < 0.8) held.push({ id, generation, token: "t0", process: "p0" });
      jobs.push({ job, place: endNo });
      continue;
    }
    const token = situation === "rescued" ? "t2" : null;
    add("job", {
      ...columns,
      ...{ checkpoint_bytes: 0, token, cancel_asked: asked === undefined ? null : JSON.stringify(asked) },
    });
    if (failures > 0) add("attempt", { job: id, number: 1, entry: JSON.stringify(entry) });
    if (generation > 0)
      held.push({ id, generation: generation - 1, token: pick(["t0", "t1"]), process: "p0" });
    if (state === "available") {
      const at = isMoved ? (seq += 1 + below(50)) : id;
      add("ready", { ...place, seq: at });
      jobs.push({ job, place: at });
    } else if (state === "scheduled") {
      add("scheduled", { ...place, run_at: runAt });
      jobs.push({ job, place: id });
    } else {
      const process = situation === "rescued" ? "p2" : pick(["p0", "p1"]);
      // The lease it was taken from may still be there.
      if (situation === "rescued") held.push({ id, generation, token: "t0", process: "p0" });
      held.push({ id, generation, token: token ?? (process === "p0" ? "t0" : "t1"), process });
      running.set(process, (running.get(process) ?? 0) + 1);
      jobs.push({ job: { ...job, processId: process }, place: id });
    }
  }
  for (const row of leaseRows(held)) add("lease", row);
  PROCESSES.forEach((id, index) =>
    add("process", {
      ...{
        id,
        name: index === 0 ? "first" : null,
        host: "höst",
        pid: 40 + index,
        registered_at: 100 - index,
      },
      ...{ beat_at: 5_000 + 1_000 * index, lost_after_ms: 1_500, leaving: id === "idle" },
      queues: JSON.stringify([{ queue: "q", names: ["a"], concurrency: index + 1 }]),
    }),
  );
  // As upkeep folds it: sums, and moves of many at a time.
  const first = rows["tally"]?.[0] as Row;
  add("tally", { lane: first["lane"], n: 7, src: STATE_NUMBERS.none, dst: STATE_NUMBERS.available });
  add("tally", { lane: first["lane"], n: 7, src: STATE_NUMBERS.available, dst: STATE_NUMBERS.running });
  add("tally", { lane: first["lane"], n: 7, src: STATE_NUMBERS.running, dst: STATE_NUMBERS.none });
  return {
    ...{ rows, jobs, attempts, running },
    lanes: lanes.map((lane) => ({ ...lane, paused: lane.paused || lane.queue === PAUSED_QUEUE })),
    pausedQueues: [PAUSED_QUEUE],
  };
}

function stateIn(situation: Situation): JobState {
  switch (situation) {
    case "new":
    case "moved":
    case "marked":
    case "marked and moved":
      return "available";
    case "scheduled":
    case "retrying":
      return "scheduled";
    case "claimed":
    case "claimed again":
    case "rescued":
      return "running";
    default:
      return situation;
  }
}

/** Up to seven jobs a row, those of generation 0 alone without an array of generations, as claims write them. */
function leaseRows(
  held: readonly { id: number; generation: number; token: string; process: string }[],
): Row[] {
  const parts = new Map<string, number>();
  const rows: Row[] = [];
  for (const token of ["t0", "t1", "t2"]) {
    const all = held.filter((one) => one.token === token);
    for (const process of new Set(all.map((one) => one.process))) {
      const mine = all.filter((one) => one.process === process);
      for (let start = 0; start < mine.length; start += 7) {
        const some = mine.slice(start, start + 7).toReversed();
        const ids = some.map(({ id }) => id);
        const part = parts.get(token) ?? 0;
        parts.set(token, part + 1);
        rows.push({
          ...{ claimed_at: 1, lo: Math.min(...ids), hi: Math.max(...ids), part, token, process_id: process },
          ...{ claimed_by: "p0", origin: "t0", ids, seqs: null },
          generations: some.some(({ generation }) => generation > 0)
            ? some.map(({ generation }) => generation)
            : null,
        });
      }
    }
  }
  return rows;
}
