import { beforeAll, expect, test } from "vitest";
import { connect } from "../../src/connect.ts";
import { defineJob, fixed, item, type JobState, type Jobs, silentLogger } from "../../src/index.ts";
import { JOB_STATES } from "../../src/job/job.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import type { StoredJob } from "../../src/storage/storage.ts";
import { bundled } from "../support/bundled.ts";
import { type LocalServer, startServer } from "../support/postgres/server.ts";
import { isLong, randomFrom, seed, size } from "../support/size.ts";
import { BookingFleet } from "./booking-fleet.ts";
import { type Plan, planBookings, ROUND_JOBS } from "./booking-plan.ts";
import { figure, pause, shown } from "./faults/fleet.ts";
import { type Allowed, GIVEN_UP, problemsIn } from "./faults/server-log.ts";

// Goal: a job that its handler completes in a transaction has the rows of that transaction, once; a job that is not
// completed has none. Whatever dies, whenever: the process, its connections, its leases, its transaction. And open
// transactions hold up nobody, not even jobs of the same claim.
// Method: real processes, killed and restarted all along, whose connections are ended at moments of chance; handlers
// that end and do not end their transactions in every way; a table that would show a second row.

const ISOLATIONS = ["read committed", "serializable"] as const;
/** Bookings in each isolation level, in whole rounds. */
const BOOKINGS = size(250, 5_000) / ISOLATIONS.length;
const PROCESSES = 3;
/** Jobs without a transaction, one beside each booking. */
const NEIGHBOURS = BOOKINGS;
/** They take less, in milliseconds. */
const NEIGHBOUR_MS = 200;
/** Enqueued at once, and again when fewer than that are left: claims of many, all along. */
const CHUNK = 30;
/** Short, so that leases are lost. */
const LOST_AFTER_MS = 1_000;
/** What holds up neighbours holds them up for longer; see PATIENCE_MS of the booker. */
const SETTLE_MS_MAX = 10_000;
/** Without any progress for so long, something hangs. */
const HANG_MS = 60_000;
const LOOK_MS = 50;
const UNFINISHED = ["scheduled", "available", "running"] as const;
const TIMEOUT_MS = isLong ? 1_800_000 : 240_000;

const ALLOWED: readonly Allowed[] = [
  { text: /FATAL: {2}terminating connection due to administrator command/, why: "that is the test" },
  { text: /ERROR: {2}could not serialize access/, why: "users ask for SERIALIZABLE" },
  ...GIVEN_UP,
];

const again = { maxRetries: Number.POSITIVE_INFINITY, backoff: fixed(5) };
const book = defineJob({ name: "book", ...again });
const neighbour = defineJob({ name: "neighbour", ...again });

beforeAll(bundled);

test.concurrent.each(ISOLATIONS)(
  "one booking for each job: %s",
  { timeout: TIMEOUT_MS },
  async (isolation) => {
    const start = seed(`completions, ${isolation}`);
    const plans = planBookings(BOOKINGS, start);
    await using server = await startServer();
    const url = server.url;
    await server.query("create table booking (number int, generation int, attempt int, by int)");
    const storage = new PostgresStorage({ url: `${url}?application_name=test`, logger: silentLogger });
    await using jobs = await connect(storage, { logger: silentLogger });
    const since = performance.now();
    await using fleet = new BookingFleet({
      ...{ url, isolation, processes: PROCESSES, lostAfterMs: LOST_AFTER_MS },
      random: randomFrom(start + 1),
    });
    const ids = await fleet.whileItWorks(bookAll(storage, jobs, plans, fleet));
    const tookMs = performance.now() - since;
    // What is left of transactions that nobody waits for ends before anybody looks.
    await fleet[Symbol.asyncDispose]();
    await noneInTransaction(server);

    const bookings = (await server.query("select * from booking")) as unknown as Booking[];
    const stored = await listed(storage, "book");
    const followUps = (await listed(storage, "follow up")).map(({ payload }) => Number(payload));
    expect(problemsOf(plans, ids, { bookings, stored, followUps })).toEqual([]);
    expect(stored.length).toBe(plans.filter(({ does, isKept }) => isKept || does === "give up").length);
    expect(await countOf(jobs, "completed", "neighbour")).toBe(NEIGHBOURS);
    expect(problemsIn(server.log(), ALLOWED)).toEqual([]);

    const { told, killed, died, terminated, passed, longestSettleMs } = fleet;
    const ends = Object.entries(terminated);
    figure(
      `completions, ${isolation}: ${bookings.length} of ${BOOKINGS} jobs completed in transactions, exactly one row each, ` +
        `the others dead without a row, and ${NEIGHBOURS} plain ones, in ${shown(tookMs)}; ${died} processes died ` +
        `(${killed} killed by the test), ${ends.map(([kind, n]) => `${n} ${kind}`).join(", ")} backends terminated, ` +
        `${told["rolled back"]} completions rolled back, ${told.stale} stale (${told.overtaken} overtaken while they slept) and ` +
        `${told["refused again"]} repeated ones refused, ${told.conflict} serialization failures, ${told.fenced} fenced; ` +
        `${told.held} transactions held open; beside open ones of the same claim ${told["committed beside"]} others ` +
        `committed and ${passed} plain jobs were settled, the slowest in ${shown(longestSettleMs)}`,
    );
    // All of it has happened, or nothing was tried.
    expect(died).toBeGreaterThan(BOOKINGS / ROUND_JOBS);
    expect(terminated["in transaction"]).toBeGreaterThan(0);
    expect(terminated.jobwright).toBeGreaterThan(0);
    for (const what of ["rolled back", "stale", "refused again", "overtaken", "slept", "held"] as const) {
      expect(told[what], what).toBeGreaterThan(0);
    }
    // Open transactions hold nobody up: neighbours end beside them.
    expect(passed).toBeGreaterThan(0);
    expect(told["committed beside"]).toBeGreaterThan(0);
    expect(longestSettleMs).toBeLessThan(SETTLE_MS_MAX);
  },
);

/** Enqueue all, bit by bit, and wait until every job has ended. Answers the ids of the bookings. */
async function bookAll(
  storage: PostgresStorage,
  jobs: Jobs,
  plans: readonly Plan[],
  fleet: BookingFleet,
): Promise<string[]> {
  const items = plans.flatMap((plan) => {
    const { isKept, ...payload } = plan;
    const booking = item(book, payload, isKept ? {} : { retention: { completed: 0 } });
    return [booking, item(neighbour, { ms: (plan.number * 37) % NEIGHBOUR_MS })];
  });
  const ids: string[] = [];
  let enqueued = 0;
  let hangsAt = performance.now() + HANG_MS;
  for (;;) {
    const left = await unfinished(storage);
    if (left === 0 && enqueued === items.length) return ids;
    if (enqueued - left > fleet.ended) hangsAt = performance.now() + HANG_MS;
    fleet.ended = enqueued - left;
    if (performance.now() > hangsAt)
      throw new Error(`These do not end: ${await leftOf(jobs)}\n${fleet.stderr}`);
    if (left < CHUNK) {
      const some = items.slice(enqueued, enqueued + CHUNK);
      const handles = await jobs.enqueueMany(some);
      ids.push(...handles.flatMap(({ id }, index) => (some[index]?.definition === book ? [id] : [])));
      enqueued += some.length;
    }
    await pause(LOOK_MS);
  }
}

async function leftOf(jobs: Jobs): Promise<string> {
  const pages = await Promise.all(UNFINISHED.map((state) => jobs.list({ state })));
  const left = pages.flatMap((page) => page.jobs).filter(({ name }) => name !== "follow up");
  return left
    .map(({ id, state, attempt, processId, payload }) =>
      JSON.stringify({ id, state, attempt, processId, payload }),
    )
    .join("\n");
}

/** Of one look: a job that moves is neither missed nor counted twice. */
async function unfinished(storage: PostgresStorage): Promise<number> {
  const { lanes } = await storage.lanes();
  return lanes
    .filter(({ name }) => name !== "follow up")
    .reduce((sum, { counts }) => sum + UNFINISHED.reduce((some, state) => some + counts[state], 0), 0);
}

async function countOf(jobs: Jobs, state: JobState, name: string): Promise<number> {
  return (await jobs.count({ state, name })).n;
}

/** Processes that are dead may have left transactions that their backends have not noticed yet. */
async function noneInTransaction(server: LocalServer): Promise<void> {
  for (const end = performance.now() + HANG_MS; performance.now() < end; await pause(LOOK_MS)) {
    const rows = await server.query("select from pg_stat_activity where application_name = 'booking'");
    if (rows.length === 0) return;
  }
  throw new Error("Connections of dead processes do not end.");
}

interface Booking {
  readonly number: number;
  readonly generation: number;
  readonly attempt: number;
  /** The process that made it. */
  readonly by: number;
}

/** All jobs of a name that are still there. @throws when the storage's own count does not agree */
async function listed(storage: PostgresStorage, name: string): Promise<StoredJob[]> {
  const found: StoredJob[] = [];
  for (const state of JOB_STATES) {
    const before = found.length;
    let after: string | undefined;
    do {
      const page = await storage.list({
        ...{ state, name, limit: 1_000 },
        ...(after === undefined ? {} : { after }),
      });
      found.push(...page.jobs);
      after = page.next;
    } while (after !== undefined);
    expect(found.length - before, `${name}, ${state}`).toBe((await storage.count({ state, name })).n);
  }
  return found;
}

/** What is not as its plan says, each in a line. */
function problemsOf(
  plans: readonly Plan[],
  ids: readonly string[],
  {
    bookings,
    stored,
    followUps,
  }: { bookings: readonly Booking[]; stored: readonly StoredJob[]; followUps: readonly number[] },
): string[] {
  const jobOf = new Map(stored.map((job) => [job.id, job]));
  const bookingsOf = grouped(bookings, ({ number }) => number);
  const followUpsOf = grouped(followUps, (number) => number);
  return plans.flatMap(({ number, does, isKept }) => {
    const job = jobOf.get(Number(ids[number]));
    const rows = bookingsOf.get(number) ?? [];
    const jobs = followUpsOf.get(number)?.length ?? 0;
    const isDead = does === "give up";
    const state = isDead ? "dead" : isKept ? "completed" : "gone";
    const problems: string[] = [];
    if ((job?.state ?? "gone") !== state) problems.push(`is ${job?.state ?? "gone"} instead of ${state}`);
    if (rows.length !== (isDead ? 0 : 1)) problems.push(`has ${rows.length} rows`);
    if (jobs !== rows.length) problems.push(`has ${rows.length} rows and ${jobs} jobs that follow`);
    // The completion that counts is that of the transaction whose row is there, ...
    const [row] = rows;
    if (job?.state === "completed" && job.result !== JSON.stringify(row)) {
      problems.push(`has the row ${JSON.stringify(row)} and the result ${job.result}`);
    }
    // ... made by the run that held the job then, not by one that had lost it.
    if (job?.state === "completed" && job.generation !== row?.generation) {
      problems.push(`was completed in generation ${job.generation} by ${JSON.stringify(row)}`);
    }
    if (isDead && job?.error?.message !== "gives up") problems.push(`is dead of ${job?.error?.message}`);
    return problems.map((problem) => `${number} (${does}) ${problem}`);
  });
}

function grouped<T>(items: readonly T[], keyOf: (one: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const one of items) {
    const group = groups.get(keyOf(one));
    if (group === undefined) groups.set(keyOf(one), [one]);
    else group.push(one);
  }
  return groups;
}
