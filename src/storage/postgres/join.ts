import type { GroupResult, NewJob, SettleResult } from "../storage.ts";
import type { Completion } from "../transactional.ts";
import { completePlaceholders } from "./complete.ts";
import type { Queryable } from "./database.ts";
import { enqueueIn, TRANSACTION_NOW } from "./enqueue.ts";
import { leaseParameters, type Store, textArray } from "./store.ts";
import { encodeText } from "./text.ts";
import { asQueryable } from "./user-transaction.ts";

/** Runs completed with one statement: the ids of their jobs must fit into a notification. */
const TOGETHER = 400;
/** Lanes of which a process remembers that they exist. */
const KNOWN_LANES = 10_000;
/** How long it may take to make a lane: the pool may be empty because of the very transaction that waits for it. */
const LANE_MS = 500;

/**
 * Store a group of jobs in a transaction of the user.
 *
 * @throws InvalidOptionError, and what the driver of the transaction throws
 */
export async function enqueueJoined(
  store: Store,
  transaction: unknown,
  group: readonly NewJob[],
): Promise<GroupResult> {
  const tx = asQueryable(transaction);
  await makeLanes(store, tx, group);
  const [result] = await enqueueIn(tx, store, [group], true);
  return result as GroupResult;
}

/**
 * Complete a run in a transaction of the user, which then holds the job's row: whoever else wants to end or to
 * rescue the run finds out what the transaction came to. The lease itself is neither locked nor let go, since
 * others of its jobs go on, and this one may have to be settled after all.
 *
 * @throws InvalidOptionError, and what the driver of the transaction throws
 */
export async function completeJoined(
  store: Store,
  transaction: unknown,
  completion: Completion,
): Promise<SettleResult> {
  const answer = await completeIn(store, asQueryable(transaction), [completion]);
  // Anything else means that nothing was done, also when the same lease had completed the job before.
  return answer === "" ? "settled" : "stale";
}

/** The same for many runs, of which this process has completed none before. */
export async function completeAllJoined(
  store: Store,
  transaction: unknown,
  completions: readonly Completion[],
): Promise<SettleResult[]> {
  const tx = asQueryable(transaction);
  // Whoever changes several jobs takes them in the order of their ids, so that nobody waits in a circle.
  const sorted = completions.toSorted((a, b) => a.lease.id - b.lease.id);
  const settled = new Set<Completion>();
  for (let from = 0; from < sorted.length; from += TOGETHER) {
    const some = sorted.slice(from, from + TOGETHER);
    const answer = await completeIn(store, tx, some);
    for (const [index, one] of some.entries()) if (answer === "" || answer[index] === "1") settled.add(one);
  }
  return completions.map((one) => (settled.has(one) ? "settled" : "stale"));
}

/** Answers "" when all were completed now, otherwise for each whether its lease stands or has completed it before. */
async function completeIn(store: Store, tx: Queryable, completions: readonly Completion[]): Promise<string> {
  const outcomes = completions.map(({ outcome }) => outcome);
  const leases = completions.map(({ lease }) => lease);
  const [row] = await tx.query(
    store.statement(
      "complete_joined",
      // The ends are told in any case: who begins to wait for them before the commit cannot be seen yet.
      `with answer as materialized (
         select $s.complete(${completePlaceholders().replace("$1::text::float8", `coalesce($1::text::float8, ${TRANSACTION_NOW})`)}, true) as text
       )
       select text || case when text = '' or text like '%1%' then pg_notify($s.channel(), 'f' || $11::text)::text else '' end
       from answer`,
    ),
    [
      store.now(),
      ...leaseParameters(leases, store.leases),
      `{${completions.map(({ startedAt }) => startedAt).join()}}`,
      outcomes.every(({ result }) => result === undefined)
        ? null
        : JSON.stringify(outcomes.map(({ result }) => (result === undefined ? null : encodeText(result)))),
      outcomes.every(({ reason }) => reason === undefined)
        ? null
        : JSON.stringify(
            outcomes.map(({ reason }) => (reason === undefined ? null : JSON.stringify(reason))),
          ),
      null,
      leases.map(({ id }) => id).join(),
    ],
  );
  return row?.[0] ?? "";
}

/**
 * Lanes that do not exist yet are made outside of the transaction: everybody who enqueues to a new lane waits
 * for whoever makes it, and a transaction of the user may take long. Where it sees the database as it was at its
 * beginning it would not find such a lane, and has to make it itself.
 */
async function makeLanes(store: Store, tx: Queryable, group: readonly NewJob[]): Promise<void> {
  const known = lanesKnownTo(store);
  const lanes = new Map<string, NewJob>();
  for (const job of group) {
    const key = JSON.stringify([job.queue, job.name]);
    if (!known.has(key)) lanes.set(key, job);
  }
  if (lanes.size === 0) return;
  const jobs = [...lanes.values()];
  const names = [textArray(jobs.map(({ queue }) => queue)), textArray(jobs.map(({ name }) => name))];
  const [row] = await tx.query(
    store.statement(
      "missing_lanes",
      `select case when current_setting('transaction_isolation') = 'read committed' and exists (
         select from unnest($1::text::text[], $2::text::text[]) as u (queue, name)
         where not exists (select from $s.lane as l where l.queue = u.queue and l.name = u.name)
       ) then 'make' else 'go on' end as lanes`,
    ),
    names,
  );
  if (row?.[0] === "make") {
    const statement = store.statement(
      "make_lanes",
      `select $s.lane_of(queue, name) from unnest($1::text::text[], $2::text::text[]) as u (queue, name)
       order by queue, name`,
    );
    // Without a connection to be had, the transaction makes them after all.
    await store.database.query(statement, names, { deadlineMs: LANE_MS }).catch(() => undefined);
  }
  if (known.size + lanes.size > KNOWN_LANES) known.clear();
  for (const key of lanes.keys()) known.add(key);
}

const knownLanes = new WeakMap<Store, Set<string>>();

function lanesKnownTo(store: Store): Set<string> {
  let known = knownLanes.get(store);
  if (known === undefined) knownLanes.set(store, (known = new Set()));
  return known;
}
