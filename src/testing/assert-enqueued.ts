import { AssertionError } from "node:assert";
import { InvalidOptionError, StateError } from "../errors.ts";
import type { AnyJobDefinition, InputOf, ResultOf } from "../job/definition.ts";
import { isFinal, JOB_STATES } from "../job/job.ts";
import { limits } from "../job/limits.ts";
import type { Jobs } from "../jobs.ts";
import { checkKnown } from "../known-options.ts";
import { show } from "../show.ts";
import type { Job } from "../view.ts";
import { matches, type PartialPayload } from "./partial-match.ts";

/** Which jobs {@link refuteEnqueued} means, besides their payload. */
export interface EnqueuedOptions {
  readonly queue?: string;
  readonly tag?: string;
  readonly priority?: number;
  /** Its earliest start. */
  readonly runAt?: Date;
  /** Also jobs that have ended. @default false: only those that wait or run */
  readonly finished?: boolean;
}

/** Which jobs {@link assertEnqueued} expects, besides their payload. */
export interface AssertEnqueuedOptions extends EnqueuedOptions {
  /** How many, exactly. @default at least one */
  readonly count?: number;
}

/**
 * Assert that a job was enqueued and has not ended: that it waits, is blocked, or runs.
 *
 * @param payload what its payload has, if nothing else: lists are compared item by item
 * @returns the jobs that were found, in the order of their enqueue
 * @throws AssertionError, as test runners print it, with what is there instead
 *
 * @example
 * const [receipt] = await assertEnqueued(jobs, sendReceipt, { orderId: 7 }, { queue: "mail" });
 */
export async function assertEnqueued<D extends AnyJobDefinition>(
  jobs: Jobs,
  definition: D,
  payload?: PartialPayload<InputOf<D>>,
  options: AssertEnqueuedOptions = {},
): Promise<Job<InputOf<D>, ResultOf<D>>[]> {
  checkKnown("option of assertEnqueued", options, [...KNOWN, "count"]);
  const { count } = options;
  if (count !== undefined && !(Number.isSafeInteger(count) && count >= 1)) {
    throw new InvalidOptionError("count", count, "Use an integer from 1; for none, use refuteEnqueued().");
  }
  const { found, others } = await look(jobs, definition, payload, options);
  if (count === undefined ? found.length > 0 : found.length === count) {
    return found as Job<InputOf<D>, ResultOf<D>>[];
  }
  const expected = count === undefined ? "a job" : count === 1 ? "1 job" : `${count} jobs`;
  const there =
    found.length > 0 ? [`These ${found.length} match:`, ...lines(found)] : await instead(jobs, others);
  throw new AssertionError({
    message: [`Expected ${expected} ${about(definition, payload, options)}.`, ...there].join("\n"),
    actual: (found.length > 0 ? found : others).map((job) => job.payload),
    expected: payload === undefined ? [] : Array.from({ length: count ?? 1 }, () => payload),
    operator: "assertEnqueued",
  });
}

/**
 * Assert that no such job waits, is blocked, or runs.
 *
 * @throws AssertionError, as test runners print it, with the jobs that were found
 *
 * @example
 * await refuteEnqueued(jobs, sendReceipt, { orderId: 7 });
 */
export async function refuteEnqueued<D extends AnyJobDefinition>(
  jobs: Jobs,
  definition: D,
  payload?: PartialPayload<InputOf<D>>,
  options: EnqueuedOptions = {},
): Promise<void> {
  checkKnown("option of refuteEnqueued", options, KNOWN);
  const { found } = await look(jobs, definition, payload, options);
  if (found.length === 0) return;
  throw new AssertionError({
    message: [`Expected no job ${about(definition, payload, options)}.`, "There is:", ...lines(found)].join(
      "\n",
    ),
    actual: found.map((job) => job.payload),
    expected: [],
    operator: "refuteEnqueued",
  });
}

const KNOWN: readonly (keyof EnqueuedOptions)[] = ["queue", "tag", "priority", "runAt", "finished"];

/** Jobs of one name that are looked at: who has more of them in a test counts them with `jobs.count`. */
const LOOKED_AT_MAX = 10_000;
/** Jobs and characters of a payload that a message shows. */
const SHOWN_MAX = 10;
const SHOWN_LENGTH = 200;

/** The jobs of a definition: those that are meant, and the others. */
async function look(
  jobs: Jobs,
  definition: AnyJobDefinition,
  payload: unknown,
  options: EnqueuedOptions,
): Promise<{ found: Job[]; others: Job[] }> {
  if (typeof definition?.name !== "string") {
    throw new InvalidOptionError("definition", definition, "Use what defineJob() returns.");
  }
  const { queue, tag, priority, runAt, finished = false } = options;
  // By id: a job that moves on while it is looked for is met twice.
  const all = new Map<string, Job>();
  for (const state of JOB_STATES) {
    if (!finished && isFinal(state)) continue;
    let after: string | undefined;
    do {
      const page = await jobs.list({
        ...{ state, name: definition.name, limit: limits.listPage },
        ...(after === undefined ? {} : { after }),
      });
      for (const job of page.jobs) all.set(job.id, job);
      if (all.size > LOOKED_AT_MAX) {
        throw new StateError(
          `More than ${LOOKED_AT_MAX} jobs "${definition.name}" are there. Count them with jobs.count().`,
        );
      }
      after = page.next;
    } while (after !== undefined);
  }
  const found: Job[] = [];
  const others: Job[] = [];
  for (const job of [...all.values()].sort((a, b) => Number(a.id) - Number(b.id))) {
    const isMeant =
      (queue === undefined || job.queue === queue) &&
      (tag === undefined || job.tags.includes(tag)) &&
      (priority === undefined || job.priority === priority) &&
      (runAt === undefined || job.runAt.getTime() === runAt.getTime()) &&
      (payload === undefined || matches(job.payload, payload));
    (isMeant ? found : others).push(job);
  }
  return { found, others };
}

function about(definition: AnyJobDefinition, payload: unknown, options: AssertEnqueuedOptions): string {
  const parts = [`"${definition.name}"`];
  if (payload !== undefined) parts.push(`with a payload like ${text(payload)}`);
  for (const key of ["queue", "tag", "priority", "runAt"] as const) {
    if (options[key] !== undefined) parts.push(`with ${key} ${show(options[key])}`);
  }
  parts.push(options.finished === true ? "enqueued, whether it has ended or not" : "that waits or runs");
  return parts.join(" ");
}

/** What is there when nothing matches: first of all other jobs of the name. */
async function instead(jobs: Jobs, others: readonly Job[]): Promise<string[]> {
  if (others.length > 0) return ["None matches. Of this name there is:", ...lines(others)];
  const counts = new Map<string, number>();
  for (const { names } of await jobs.queues()) {
    for (const one of names) {
      const n = Object.values(one.counts).reduce((sum, count) => sum + count, 0);
      if (n > 0) counts.set(one.name, (counts.get(one.name) ?? 0) + n);
    }
  }
  if (counts.size === 0) return ["Nothing is stored at all."];
  const shown = [...counts].slice(0, SHOWN_MAX).map(([name, n]) => `${n} × ${show(name)}`);
  if (counts.size > SHOWN_MAX) shown.push(`and ${counts.size - SHOWN_MAX} more names`);
  return [`None of this name is there. Stored, ended ones included: ${shown.join(", ")}.`];
}

function lines(jobs: readonly Job[]): string[] {
  const shown = jobs.slice(0, SHOWN_MAX).map((job) => {
    const details = [`job ${job.id}`, job.state, `queue ${show(job.queue)}`];
    if (job.state === "scheduled") details.push(`for ${job.runAt.toISOString()}`);
    if (job.priority !== 0) details.push(`priority ${job.priority}`);
    if (job.tags.length > 0) details.push(`tags ${job.tags.slice(0, SHOWN_MAX).map(show).join(" ")}`);
    return `  ${details.join(", ")}: ${text(job.payload)}`;
  });
  if (jobs.length > SHOWN_MAX) shown.push(`  … and ${jobs.length - SHOWN_MAX} more`);
  return shown;
}

function text(payload: unknown): string {
  let json: string;
  try {
    json = JSON.stringify(payload) ?? String(payload);
  } catch {
    json = show(payload);
  }
  return json.length > SHOWN_LENGTH ? `${json.slice(0, SHOWN_LENGTH - 1)}…` : json;
}
