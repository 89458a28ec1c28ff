import * as fc from "fast-check";
import type { JobId, JobSpec } from "../../../src/job/job.ts";
import type { LimitKey, UniqueKey } from "../../../src/job/key.ts";
import type { Later } from "../../../src/job/outcome.ts";
import type { ClaimedJob, Lease, NewJob } from "../../../src/storage/storage.ts";
import type { Held, ModelJob } from "../model-job.ts";
import { type KnownLease, leaseKey, type Pair } from "../pair.ts";

/** When the runs begin. Instants of the runs are multiples of 10 ms, so that nothing is due by half a step. */
export const START_MS: number = Date.UTC(2030, 0, 1);
const STEP_MS = 10;

export const QUEUES = ["q", "r", "s"] as const;
export const NAMES = ["a", "b", "c"] as const;
export const TAGS = ["red", "blue"] as const;
export const SCOPES = ["a", ""] as const;

export const queue: fc.Arbitrary<string> = fc.constantFrom("q", "q", "q", "r", "r", "s");
export const name: fc.Arbitrary<string> = fc.constantFrom("a", "a", "a", "b", "b", "c");
export const slot: fc.Arbitrary<number> = fc.nat({ max: 2 });
/** Picks one of however many there are, by the remainder. */
export const index: fc.Arbitrary<number> = fc.nat({ max: 999 });

/** Absent, but drawn in so many of ten cases. */
export function sometimes<T>(inTen: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 10 - inTen, arbitrary: fc.constant(undefined) }, { weight: inTen, arbitrary });
}

export const priority: fc.Arbitrary<number> = fc.constantFrom(0, 0, 0, 0, -1, 1, 5, -1000, 1000);

export const later: fc.Arbitrary<Later> = fc.oneof(
  fc.constantFrom({ delayMs: 0 }, { delayMs: 10 }, { delayMs: 500 }, { delayMs: 2_000 }, { delayMs: 60_000 }),
  fc.integer({ min: -500, max: 3_000 }).map((steps) => ({ at: START_MS + steps * STEP_MS })),
);

// Never a multiple of the step: whether a job is past its retention in its last millisecond is nobody's business.
const keepMs: fc.Arbitrary<number | null> = fc.constantFrom(null, 0, 1_005, 1_005, 60_005, 60_005);

const backoff: fc.Arbitrary<JobSpec["backoff"]> = fc.constantFrom(
  { kind: "fixed", delayMs: 0 },
  { kind: "fixed", delayMs: 500 },
  { kind: "exponential", firstMs: 1_000, factor: 2, maxMs: 60_000, jitter: 0.2 },
  { kind: "linear", stepMs: 300, maxMs: 1_000, jitter: 0 },
);

export const newJob: fc.Arbitrary<NewJob> = fc.record({
  name,
  queue,
  payload: fc.constantFrom('"x"', '"x"', '"x"', '{"n":1}', "null"),
  maxRetries: fc.constantFrom(0, 1, 3, null),
  backoff,
  timeoutMs: fc.constantFrom(null, 900_000),
  retention: fc.record({ completedMs: keepMs, cancelledMs: keepMs, deadMs: keepMs }),
  tags: fc.subarray([...TAGS]),
  priority,
});

/** Keys are few, so that jobs meet. A time is never a multiple of the step, as with retention. */
export const unique: fc.Arbitrary<UniqueKey> = fc
  .record({
    scope: fc.constantFrom(...SCOPES),
    key: fc.constantFrom("k1", "k1", "k2", "k3"),
    while: fc.constantFrom("live" as const, "live" as const, "waiting" as const, null),
    forMs: sometimes(3, fc.constantFrom(505, 505, 60_005, null)),
    onConflict: fc.constantFrom("keep" as const, "keep" as const, "replace" as const, "error" as const),
    inherit: sometimes(4, fc.constant(true as const)),
  })
  .map(({ forMs, inherit, ...one }) => ({
    ...one,
    // Whoever is held by nothing else is held for a time.
    ...(forMs !== undefined ? { forMs } : one.while === null ? { forMs: 505 } : {}),
    ...(inherit === undefined ? {} : { inherit }),
  }));

/** All jobs of a key say the same concurrency: then it is certain who may come in. */
export const limit: fc.Arbitrary<LimitKey> = fc.constantFrom(
  { scope: "a", key: "one", concurrency: 1 },
  { scope: "", key: "one", concurrency: 1 },
  { scope: "", key: "two", concurrency: 2 },
  { scope: "", key: "three", concurrency: 3 },
);

const keyed: fc.Arbitrary<NewJob> = fc
  .tuple(newJob, sometimes(2, unique), sometimes(3, limit))
  .map(([plain, key, most]) => ({
    ...plain,
    ...(key === undefined ? {} : { unique: key }),
    ...(most === undefined ? {} : { limit: most }),
  }));

/** A job to enqueue: now or later, a few with one of three ids given by the caller. */
export const job: fc.Arbitrary<NewJob> = fc
  .tuple(keyed, sometimes(3, later), sometimes(3, fc.constantFrom("g1", "g1", "g2")))
  .map(([plain, when, givenId]) => ({
    ...plain,
    ...(when === undefined ? {} : { later: when }),
    ...(givenId === undefined || plain.unique !== undefined ? {} : { givenId }),
  }));

/** A group of jobs. Which of two reasons for a refusal is told is nobody's business, so that there is one. */
export function group(minLength: number, maxLength: number): fc.Arbitrary<NewJob[]> {
  return fc.array(job, { minLength, maxLength, size: "max" }).map((jobs) => {
    const hasError = jobs.some((one) => one.unique?.onConflict === "error");
    return jobs.map(({ givenId, ...one }) => (hasError || givenId === undefined ? one : { ...one, givenId }));
  });
}

/** A job that comes with the end of another, without an id of its own. */
export const child: fc.Arbitrary<NewJob> = keyed;

/** Which lease a command uses. */
export const leasePick: fc.Arbitrary<LeasePick> = fc.record({
  which: fc.oneof(
    { weight: 9, arbitrary: fc.constant("current" as const) },
    { weight: 2, arbitrary: fc.constant("rescued" as const) },
    { weight: 2, arbitrary: fc.constant("stale" as const) },
    { weight: 2, arbitrary: fc.constant("spent" as const) },
    { weight: 1, arbitrary: fc.constantFrom("missing", "other token", "other generation") },
  ),
  index,
});

export interface LeasePick {
  readonly which: "current" | "rescued" | "stale" | "spent" | "missing" | "other token" | "other generation";
  readonly index: number;
}

/** The lease that is meant, with the model's id. Where there is none of the kind, one that never was. */
export function pickLease(pair: Pair, { which, index: at }: LeasePick): Lease {
  const { model, leases } = pair;
  const none: Lease = { id: 1_000, generation: 0, token: "p0.0/none" };
  const running = leases.filter(({ lease }) => model.stands(lease));
  const current = pick(running, at)?.lease;
  switch (which) {
    case "current":
      return current ?? none;
    case "rescued":
      return (
        pick(
          running.filter(({ lease }) => isRescued(model.find(lease.id)?.held)),
          at,
        )?.lease ?? none
      );
    case "stale": {
      const isStale = ({ lease }: KnownLease): boolean => !model.stands(lease) && !model.wasEndedBy(lease);
      return pick(leases.filter(isStale), at)?.lease ?? none;
    }
    case "spent":
      return (
        pick(
          leases.filter(({ lease }) => model.wasEndedBy(lease)),
          at,
        )?.lease ?? none
      );
    case "missing":
      return none;
    case "other token":
      return current === undefined ? none : { ...current, token: `${current.token}0` };
    case "other generation":
      return current === undefined ? none : { ...current, generation: current.generation + 1 };
  }
}

export function isRescued(held: Held | undefined): boolean {
  return held !== undefined && held.claimedBy !== held.processId;
}

/** Leases of a process that stand. */
export function heldBy(pair: Pair, processId: string): KnownLease[] {
  return pair.leases.filter((known) => known.processId === processId && pair.model.stands(known.lease));
}

/** Note a lease that was given, for later commands. */
export function learnLease(pair: Pair, { id, head, held }: ModelJob): void {
  if (held === undefined) throw new Error(`Job ${id} is not held.`);
  const lease = { id, generation: head.generation, token: held.token };
  const isKnown = pair.leases.some((known) => leaseKey(known.lease) === leaseKey(lease));
  if (!isKnown) pair.leases.push({ lease, processId: held.processId });
}

/** Ids of jobs: of four, two of the preferred ones, one that is kept, and one that may be gone or never was. */
export function pickIds(pair: Pair, indexes: readonly number[], prefer: (job: ModelJob) => boolean): JobId[] {
  const kept = pair.model.jobs.map((one) => one.id);
  const preferred = pair.model.jobs.filter(prefer).map((one) => one.id);
  return indexes.map((at) => {
    const from = [preferred, preferred, kept, pair.knownIds][at % 4] ?? kept;
    return at % 12 === 11 ? 5_000 + at : (pick(from, at >> 2) ?? pick(kept, at >> 2) ?? 5_000);
  });
}

/**
 * The process of a slot; one that is known if there is any, unless the caller insists. Commands of lost
 * processes do little, so that most of them had better be others.
 */
export function processOf(pair: Pair, { slot: at, insist }: ProcessPick): string {
  const turned = pair.slots.map((_, n) => pair.slots[(at + n) % pair.slots.length] as string);
  const alive = turned.find((id) => pair.model.isAlive(id));
  return insist || alive === undefined ? (turned[0] as string) : alive;
}

export interface ProcessPick {
  readonly slot: number;
  readonly insist: boolean;
}

export const processPick: fc.Arbitrary<ProcessPick> = fc.record({
  slot,
  insist: fc.nat({ max: 9 }).map((n) => n === 9),
});

export function pick<T>(values: readonly T[], at: number): T | undefined {
  return values[at % values.length];
}

/** Jobs as given out, without checkpoints that were handed on: whether those stay as well is left to the engine. */
export function certain<T extends ClaimedJob>({ model }: Pair, jobs: readonly T[]): T[] {
  return jobs.map((one) => {
    if (model.find(one.id)?.handedOn !== true) return one;
    const { checkpoint: _checkpoint, ...rest } = one;
    return rest as T;
  });
}
