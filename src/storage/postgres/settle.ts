import type { JobId } from "../../job/job.ts";
import type { ClaimRequest, ClaimResult, Settlement, SettleResult } from "../storage.ts";
import { CLAIM_CASTS, type Claims, placeholders } from "./claim.ts";
import {
  complete,
  COMPLETE_WIDTH,
  completePlaceholders,
  type Completion,
  isCompletion,
  planComplete,
} from "./complete.ts";
import { applyOutcomes } from "./outcomes.ts";
import { prompt, type Store } from "./store.ts";

/** Ends of runs in one statement. */
const STATEMENT_RUNS = 1_000;
/** With so many ends, settle and claim go side by side on two connections; with fewer, one round trip is worth more. */
const SIDE_BY_SIDE_RUNS = 32;
/** With so many ends, they go in two halves, side by side as well. */
const HALVED_RUNS = 200;
/** Characters of results, and of payloads that come with them, in one statement; one settlement may exceed it. */
const STATEMENT_TEXT = 16_777_216;

/** Runs that returned are settled at once; for all others the rules are asked what becomes of the job. */
export async function settle(store: Store, settlements: readonly Settlement[]): Promise<SettleResult[]> {
  const { completions, others, again } = split(settlements);
  const results = new Map<Settlement, SettleResult>();
  await settleOthers(store, others, results);
  for (const slice of slices(completions)) put(results, slice, await complete(prompt(store), store, slice));
  if (again.length > 0) put(results, again, await settle(store, again));
  return settlements.map((settlement) => results.get(settlement) as SettleResult);
}

/** As {@link settle}, and the next claim travels with it. */
export async function exchange(
  store: Store,
  claims: Claims,
  settlements: readonly Settlement[],
  request: ClaimRequest,
): Promise<{ settled: SettleResult[]; claimed: ClaimResult }> {
  const { completions, others, again } = split(settlements);
  if (again.length > 0) {
    return { settled: await settle(store, settlements), claimed: await claims.claim(request) };
  }
  const results = new Map<Settlement, SettleResult>();
  await settleOthers(store, others, results);
  const all = slices(completions);
  const last = all.pop();
  for (const slice of all) put(results, slice, await complete(prompt(store), store, slice));
  let claimed: ClaimResult;
  if (last === undefined) {
    claimed = await claims.claim(request);
  } else if (last.length >= SIDE_BY_SIDE_RUNS) {
    // A run that returned makes nothing available, so the claim need not wait for it.
    const parts = last.length >= HALVED_RUNS ? halves(last) : [last];
    const [some, next] = await bothEnds(
      allEnds(parts.map((part) => complete(prompt(store), store, part))),
      claims.claim(request),
    );
    for (const [index, part] of parts.entries()) put(results, part, some[index] as SettleResult[]);
    claimed = next;
  } else {
    const ends = planComplete(store, last);
    const next = claims.plan(request);
    const statement = store.statement(
      "exchange",
      `select $s.exchange(${completePlaceholders()}, ${placeholders(CLAIM_CASTS, COMPLETE_WIDTH + 1)})`,
    );
    try {
      const rows = await store.database.query(statement, [...ends.values, ...next.values], {
        on: "claims",
        deadlineMs: store.promptMs,
      });
      put(results, last, ends.read(rows[0]));
      claimed = await next.read(rows.slice(1));
    } catch (error) {
      ends.failed();
      throw error;
    }
  }
  return { settled: settlements.map((settlement) => results.get(settlement) as SettleResult), claimed };
}

function halves(completions: readonly Completion[]): Completion[][] {
  const middle = completions.length >> 1;
  return [completions.slice(0, middle), completions.slice(middle)];
}

/** Both have ended before either fails: a claim that still goes on must not be repeated beside it. */
async function bothEnds<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return [await a, await b];
}

async function allEnds<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

async function settleOthers(
  store: Store,
  others: readonly Settlement[],
  results: Map<Settlement, SettleResult>,
): Promise<void> {
  for (const slice of slices(others)) put(results, slice, await applyOutcomes(store, slice));
}

/** `again`: further ends of jobs of which the call names one already. They come after it. */
function split(settlements: readonly Settlement[]): {
  completions: Completion[];
  others: Settlement[];
  again: Settlement[];
} {
  const completions: Completion[] = [];
  const others: Settlement[] = [];
  const again: Settlement[] = [];
  const seen = new Set<JobId>();
  for (const settlement of settlements) {
    const { id } = settlement.lease;
    if (seen.has(id)) again.push(settlement);
    else if (isCompletion(settlement)) completions.push(settlement);
    else others.push(settlement);
    seen.add(id);
  }
  return { completions, others, again };
}

/** As many as one statement takes. */
function slices<T extends Settlement>(settlements: readonly T[]): T[][] {
  const all: T[][] = [];
  let slice: T[] = [];
  let text = 0;
  for (const one of settlements) {
    if (slice.length >= STATEMENT_RUNS || (slice.length > 0 && text > STATEMENT_TEXT)) {
      all.push(slice);
      slice = [];
      text = 0;
    }
    slice.push(one);
    text += textOf(one);
  }
  if (slice.length > 0) all.push(slice);
  return all;
}

/** What may be large in it, in characters. */
function textOf({ outcome, enqueue = [] }: Settlement): number {
  const result = outcome.state === "completed" ? (outcome.result?.length ?? 0) : 0;
  return enqueue.reduce((sum, { payload }) => sum + payload.length, result);
}

function put(
  results: Map<Settlement, SettleResult>,
  settlements: readonly Settlement[],
  some: readonly SettleResult[],
): void {
  for (const [index, settlement] of settlements.entries())
    results.set(settlement, some[index] as SettleResult);
}
