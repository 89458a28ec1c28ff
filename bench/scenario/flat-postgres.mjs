// Goal: a claim from PostgreSQL costs the same when others claim too, and while a transaction somewhere keeps
// the server from forgetting rows that are gone.
// Method: as ../flat.mjs, beside stores in databases of their own: what one of them holds back, holds up no other.
import {
  CLAIM,
  claimOnce,
  compared,
  completions,
  fill,
  inTurns,
  job,
  prepared,
  register,
  requestOf,
} from "../flat.mjs";

/**
 * @typedef {{
 *   create: () => Promise<import('../../src/storage/storage.ts').Storage>,
 *   hold: () => Promise<() => Promise<void>>,
 * }} Place a database: how to make a storage on it, and how to hold a snapshot of it open
 */

const WARM_UP = 20;
/** Jobs in one step of whoever processes beside the claims that are measured. */
const STEP = 500;

/** While, and after, jobs are processed under a snapshot. `place` makes a database. */
export async function underOldSnapshot({ place, jobs, rounds }) {
  const alone = await prepared((await place()).create, "waiting", 0);
  const there = await place();
  const loaded = await prepared(there.create, "waiting", jobs + WARM_UP * CLAIM);
  await register(loaded.storage, "bench-other");
  await inTurns(alone, loaded, WARM_UP);
  const letGo = await there.hold();
  const quiet = [];
  const busy = [];
  let tokens = 0;
  let ended = [];
  for (let left = jobs; left > 0;) {
    const request = requestOf("bench-other", `bench-other.${(tokens += 1)}`, { room: STEP });
    const { settled, claimed } = await loaded.storage.exchange(completions(ended), request);
    if (settled.some((result) => result !== "settled")) throw new Error("a settle was refused");
    ended = claimed.jobs;
    left -= ended.length;
    if (left < CLAIM) break;
    quiet.push(await claimOnce(alone));
    busy.push(await claimOnce(loaded));
    left -= CLAIM;
  }
  await loaded.storage.settle(completions(ended));
  loaded.own = true;
  const after = await inTurns(alone, loaded, rounds);
  await letGo();
  await loaded.storage.close();
  await alone.storage.close();
  return [
    { kind: "while they are processed under an old snapshot", ...compared(quiet, busy) },
    { kind: "after they were processed under an old snapshot", ...after },
  ];
}

/** After scheduled jobs became available under a snapshot: every claim looks when the next one is due. */
export async function promotedUnderOldSnapshot({ place, jobs, rounds }) {
  const alone = await prepared((await place()).create, "waiting", 0);
  const there = await place();
  const loaded = await prepared(there.create, "waiting", 0);
  await inTurns(alone, loaded, WARM_UP);
  await fill(loaded.storage, jobs, () => job("other", { later: { delayMs: 1 } }));
  const letGo = await there.hold();
  let promoted = 0;
  // The last ones are due a moment after they were stored.
  while (promoted < jobs) promoted += (await loaded.storage.promote(jobs)).promoted;
  const row = await inTurns(alone, loaded, rounds);
  await letGo();
  await loaded.storage.close();
  await alone.storage.close();
  return [{ kind: "after they were scheduled and promoted under an old snapshot", ...row }];
}

/**
 * Several claimers on one store, each over a connection of its own, beside as many that have a store each: the
 * machine is shared in both, the jobs in one. `shares`: how many claims each made; `empty` and `short`: answers
 * with no job, or with fewer than asked for, while there were jobs for everybody.
 */
export async function atOnce({ place, claimers, rounds }) {
  const apart = [];
  const together = [];
  const shared = await place();
  for (let index = 0; index < claimers; index += 1) {
    apart.push(await claimer(await place(), index));
    together.push(await claimer(shared, index));
  }
  const quiet = [];
  const busy = [];
  const shares = together.map(() => 0);
  const claims = Math.ceil(rounds / TURNS);
  let empty = 0;
  let short = 0;
  // In turns, so that a machine whose speed drifts treats both alike.
  for (let turn = 0; turn < TURNS; turn += 1) {
    // More than they claim, so that they never come to the end.
    await Promise.all(apart.map(({ storage }) => fill(storage, 3 * claims * CLAIM)));
    await fill(together[0].storage, claimers * (claims + 2) * CLAIM);
    for (const { times } of await claimAll(apart, claimers * claims)) quiet.push(...times);
    for (const [index, end] of (await claimAll(together, claimers * claims)).entries()) {
      busy.push(...end.times);
      shares[index] += end.times.length;
      empty += end.empty;
      short += end.short;
    }
  }
  for (const { storage } of [...apart, ...together]) await storage.close();
  return { kind: `${claimers} claimers at once`, ...compared(quiet, busy), shares, empty, short };
}

const TURNS = 3;

/** Connected, with its statements planned. */
async function claimer(there, index) {
  const storage = await there.create();
  await storage.open();
  const processId = `bench-${index}`;
  await register(storage, processId);
  const one = { storage, processId, queues: ["bench"], names: ["work"], own: true, claims: 0 };
  await claimOnce(one);
  return one;
}

/** All claim as fast as they can, until so many claims are made. */
async function claimAll(claimers, claims) {
  let left = claims;
  const ends = await Promise.all(
    claimers.map(async (one) => {
      const { storage, processId } = one;
      const end = { times: [], held: [], empty: 0, short: 0 };
      while (left > 0) {
        left -= 1;
        const token = `${processId}.${(one.claims += 1)}`;
        const from = performance.now();
        const { jobs } = await storage.claim(requestOf(processId, token));
        end.times.push(performance.now() - from);
        end.held.push(...jobs);
        if (jobs.length === 0) end.empty += 1;
        if (jobs.length < CLAIM) end.short += 1;
      }
      return end;
    }),
  );
  for (const [index, { held }] of ends.entries()) await claimers[index].storage.settle(completions(held));
  return ends;
}
