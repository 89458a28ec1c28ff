import type { JobId } from "../../job/job.ts";
import type { Ask, ClaimedJob, ClaimRequest, ClaimResult, Lease } from "../storage.ts";
import type { Row } from "./database.ts";
import { decodeExtra } from "./extra.ts";
import { Hints } from "./hints.ts";
import { decodeTags } from "./record.ts";
import { decodeText, encodeText } from "./text.ts";
import type { Policies } from "./policies.ts";
import { leaseParameters, type Store, textArray } from "./store.ts";

/** Parameters of a claim; two of them come before those of a settle in an exchange. */
export const CLAIM_CASTS =
  "float8,text,text,text[],text[],int[],int[],int[],int[],smallint[],bigint[],smallint[],float8,boolean,bigint[],int[],text[],int[],int[]";

/** What is known of a process, for its next claim. */
interface Memory {
  waits: boolean;
  readonly hints: Hints;
}

/** Builds claims and reads their answers. */
export class Claims {
  readonly #store: Store;
  readonly #memories = new Map<string, Memory>();
  readonly #waiting: () => void;
  readonly #elapsed: () => number;

  /**
   * @param waiting called when a process has begun to wait: something may have come just before
   * @param elapsed ms, for what is known for a while only
   */
  constructor(store: Store, waiting: () => void, elapsed: () => number = () => performance.now()) {
    this.#store = store;
    this.#waiting = waiting;
    this.#elapsed = elapsed;
  }

  /** Whether the process is told when something comes. */
  waits(processId: string): boolean {
    return this.#memories.get(processId)?.waits === true;
  }

  forget(processId: string): void {
    this.#memories.get(processId)?.hints.forget();
    this.#memories.delete(processId);
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const plan = this.plan(request);
    const parameters = placeholders(CLAIM_CASTS, 2);
    const statement = this.#store.statement("claim", `select $s.claim($1::text::float8, ${parameters})`);
    const rows = await this.#store.database.query(statement, [this.#store.now(), ...plan.values], {
      on: "claims",
      deadlineMs: this.#store.promptMs,
    });
    return plan.read(rows);
  }

  plan(request: ClaimRequest): {
    values: (string | number | boolean | null)[];
    read(rows: readonly Row[]): Promise<ClaimResult>;
  } {
    const { processId, token, queues: requests, starts } = request;
    const memory = this.#memoryOf(processId);
    const lanes: { readonly queue: string; readonly name: string }[] = [];
    const of: number[] = [];
    for (const [index, { queue, names }] of requests.entries()) {
      for (const name of new Set(names)) {
        lanes.push({ queue, name });
        of.push(index + 1);
      }
    }
    const { parts, nextFrom } = memory.hints.current(lanes);
    const values = [
      this.#store.alive(),
      encodeText(processId),
      encodeText(token),
      textArray(lanes.map(({ queue }) => queue)),
      textArray(lanes.map(({ name }) => name)),
      `{${of.join()}}`,
      `{${requests.map(({ room }) => room).join()}}`,
      `{${requests.map(({ room, readAhead }) => room + readAhead).join()}}`,
      ...parts,
      nextFrom,
      memory.waits,
      ...startParameters(starts, this.#store),
    ];
    const read = async (rows: readonly Row[]): Promise<ClaimResult> => {
      const [meta, ...texts] = rows;
      const [known, nextAt, waits, asks, places, order, from, tickAt] = ((meta as Row)[0] as string).split(
        "\x1f",
      );
      const next = firstOf(nextAt, tickAt);
      memory.hints.learn(lanes, places as string, from as string);
      const begins = waits === "1" && !memory.waits;
      memory.waits = waits === "1";
      if (begins) this.#waiting();
      if (waits === "1" && parts[0] !== null) memory.hints.afterThem(this.#waiting);
      const claimed = texts.flatMap(([text]) =>
        (text as string).split("\x1e").map((one) => one.split("\x1f")),
      );
      await this.#store.policies.learn(claimed.map((fields) => fields[POLICY] as string));
      const found = claimed.map((fields) => readClaimed(fields, lanes, token, this.#store.policies));
      const jobs = order === "" ? found.sort((a, b) => a.id - b.id) : inOrder(found, order as string);
      memory.hints.claimed(jobs);
      this.#store.leases.add(
        token,
        jobs.map(({ id }) => id),
      );
      return {
        known: known === "1",
        jobs,
        asks: readAsks(asks as string),
        ...(next === undefined ? {} : { nextAt: next }),
      };
    };
    return { values, read };
  }

  #memoryOf(processId: string): Memory {
    let memory = this.#memories.get(processId);
    if (memory === undefined) {
      memory = { waits: false, hints: new Hints(this.#elapsed) };
      this.#memories.set(processId, memory);
    }
    return memory;
  }
}

/** The first of two instants as text, each empty when there is none. */
function firstOf(a: string | undefined, b: string | undefined): number | undefined {
  const instants = [a, b].filter((text) => text !== undefined && text !== "").map(Number);
  return instants.length === 0 ? undefined : Math.min(...instants);
}

function inOrder(jobs: readonly ClaimedJob[], order: string): ClaimedJob[] {
  const byId = new Map(jobs.map((job) => [job.id, job]));
  return order.split(",").map((id) => byId.get(Number(id)) as ClaimedJob);
}

/** `$2::text::float8, …` for the parameters from a number on. Text first, so that every driver sends the same. */
export function placeholders(casts: string, from: number): string {
  return casts
    .split(",")
    .map((cast, index) => `$${from + index}::text::${cast}`)
    .join(", ");
}

/** Reported starts: five parameters, all null when there are none. */
export function startParameters(starts: readonly Lease[], store: Store): (string | null)[] {
  return starts.length === 0 ? [null, null, null, null, null] : leaseParameters(starts, store.leases);
}

export function readAsks(text: string): Ask[] {
  if (text === "") return [];
  return (JSON.parse(text) as [JobId, number, string][]).map(([id, generation, reason]) => ({
    id,
    generation,
    reason: JSON.parse(reason) as string,
  }));
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Where `claimedJobText` puts the policy. */
export const POLICY = 2;

/** A job as `claimedJobText` wrote it, split at its separators. */
export function readClaimed(
  fields: readonly string[],
  lanes: readonly { readonly queue: string; readonly name: string }[],
  token: string,
  policies: Policies,
): ClaimedJob {
  const [id, ord, policy, createdAt, rest, payload] = fields as readonly [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const lane = lanes[Number(ord) - 1] as { queue: string; name: string };
  const { maxRetries, backoff, timeoutMs, retention } = policies.get(policy);
  const job: Mutable<ClaimedJob> = {
    id: Number(id),
    generation: 0,
    token,
    name: lane.name,
    queue: lane.queue,
    payload: decodeText(payload),
    maxRetries,
    backoff,
    timeoutMs,
    retention,
    tags: NO_TAGS,
    priority: 0,
    attempt: 0,
    createdAt: Number(createdAt),
    runAt: Number(createdAt),
    marked: false,
  };
  if (rest !== "") addRest(job, JSON.parse(rest) as Rest);
  return job;
}

const NO_TAGS: readonly string[] = [];

type Rest = [
  generation: number,
  attempt: number,
  priority: number,
  runAt: number,
  marked: boolean,
  tags: string | null,
  givenId: string | null,
  cancelAsked: string | null,
  checkpoint: Record<string, string> | null,
  extra: string | null,
];

function addRest(job: Mutable<ClaimedJob>, rest: Rest): void {
  const [generation, attempt, priority, runAt, marked, tags, givenId, cancelAsked, checkpoint, extra] = rest;
  Object.assign(job, { generation, attempt, priority, runAt, marked, tags: decodeTags(tags) });
  if (givenId !== null) job.givenId = decodeText(givenId);
  if (cancelAsked !== null) job.cancelAsked = JSON.parse(cancelAsked) as string;
  if (checkpoint !== null) job.checkpoint = readCheckpoint(checkpoint);
  if (extra !== null) Object.assign(job, decodeExtra(extra));
}

/** Keys are JSON texts. `fromEntries` defines keys, so one named `__proto__` is data too. */
function readCheckpoint(stored: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(stored);
  return Object.fromEntries(entries.map(([key, value]) => [JSON.parse(key) as string, decodeText(value)]));
}
