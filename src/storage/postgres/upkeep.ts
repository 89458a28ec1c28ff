import type { Promoted } from "../storage.ts";
import type { Store } from "./store.ts";

/** Jobs in one statement. */
const STEP = 1_000;
/** Partitions come and go by the day: there is no need to look more often. */
const DAYS_EVERY_MS = 60_000;
/** A day is counted before it goes, however many jobs it has had. */
const DROP_DEADLINE_MS = 300_000;

/** Make due jobs available, or blocked, in (runAt, id) order. */
export async function promote(store: Store, limit: number): Promise<Promoted> {
  const statement = store.statement(
    "promote_due",
    "select * from $s.promote_due($1::text::float8, $2::text::int)",
  );
  let promoted = 0;
  for (;;) {
    const step = Math.min(limit - promoted, STEP);
    const [row] = await store.database.query(statement, [store.now(), step]);
    const [n, nextAt, tickAt] = row as [string, string | null, string | null];
    promoted += Number(n);
    if (Number(n) < step || promoted >= limit) {
      return {
        promoted,
        ...(nextAt === null ? {} : { nextAt: Number(nextAt) }),
        ...(tickAt === null ? {} : { tickAt: Number(tickAt) }),
      };
    }
  }
}

/**
 * Remove finished jobs past their retention, and forget what is over. Answers how many jobs went. All that is
 * done every time goes in one round trip: a process that has nothing else to do asks little of the database.
 */
export async function prune(store: Store, limit: number): Promise<number> {
  let pruned = await dropDays(store, limit);
  const memory = memoryOf(store);
  const firstStep = Math.min(limit - pruned, STEP);
  const [first] = await store.database.query(
    store.statement(
      "prune_and_tidy",
      "select $s.prune($1::text::float8, $2::text::int), $s.tidy($1::text::float8, $3::text::float8, $4), $s.fold_tally()",
    ),
    [store.now(), Math.max(0, firstStep), store.alive(), memory.from],
  );
  const [n, from] = first as [string, string | null];
  memory.from = from ?? "";
  pruned += Number(n);
  if (Number(n) < firstStep) return pruned;
  const statement = store.statement("prune", "select $s.prune($1::text::float8, $2::text::int)");
  while (pruned < limit) {
    const step = Math.min(limit - pruned, STEP);
    const [row] = await store.database.query(statement, [store.now(), step]);
    pruned += Number(row?.[0]);
    if (Number(row?.[0]) < step) break;
  }
  return pruned;
}

/**
 * Give the days to come their partitions, so that what expires goes by the day. With a clock that was handed in
 * there are none: whole days would be over before, or long after, the database thinks so.
 */
export async function ensureDays(store: Store): Promise<void> {
  if (store.now() !== null) return;
  await store.database.query(store.statement("ensure_days", "select $s.ensure_days()"), []);
}

/** What a storage remembers of its upkeep. */
interface Memory {
  /** The lease from which `tidy` goes on. */
  from: string;
  daysAt: number;
}

const MEMORIES = new WeakMap<Store, Memory>();

function memoryOf(store: Store): Memory {
  let memory = MEMORIES.get(store);
  if (memory === undefined) {
    memory = { from: "", daysAt: Number.NEGATIVE_INFINITY };
    MEMORIES.set(store, memory);
  }
  return memory;
}

/** Whole days that are over. Who finds one in use leaves it for later. */
async function dropDays(store: Store, limit: number): Promise<number> {
  const memory = memoryOf(store);
  if (store.now() !== null || performance.now() - memory.daysAt < DAYS_EVERY_MS) return 0;
  await ensureDays(store);
  const statement = store.statement("drop_day", "select $s.drop_day($1::text::int)");
  let dropped = 0;
  while (dropped < limit) {
    const [row] = await store.database.query(statement, [Math.min(limit, STEP)], {
      deadlineMs: DROP_DEADLINE_MS,
    });
    const answer = row?.[0] ?? undefined;
    if (answer === undefined) {
      memory.daysAt = performance.now();
      break;
    }
    dropped += Number(answer);
  }
  return dropped;
}
