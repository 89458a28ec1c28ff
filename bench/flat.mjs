// Goal: what a claim costs does not depend on what else is stored.
// Method: claim(100) and settle on a store that holds only those jobs, and on stores with a large backlog of
// each kind, in turns on one machine; medians of the claims alone. The claim is the same one for both: beside
// 200 filled lanes it asks for 200 names, and alone its 100 jobs stand in as many of those lanes.

/**
 * @param {{
 *   create: () => Promise<import('../src/storage/storage.ts').Storage>, size: number, rounds: number,
 *   kinds?: readonly string[], warmsUp?: boolean, onProgress?: (text: string) => void,
 * }} options `warmsUp`: claim until the client's code is compiled before anything is measured; off where that code
 *   is the smaller part of what a claim takes
 * @returns {Promise<{ kind: string, medianMs: number, baselineMs: number, ratio: number }[]>}
 */
export async function flat({
  create,
  size,
  rounds,
  kinds = KINDS,
  warmsUp = true,
  onProgress = () => undefined,
}) {
  const rows = [];
  // The first store of a process is filled by code that is not compiled yet and lies scattered in memory.
  if (warmsUp) {
    onProgress("warming up");
    await measure({ create, size, rounds, warmsUp, kind: kinds[0] });
  }
  for (const kind of kinds) {
    onProgress(kind);
    rows.push(await measure({ create, size, rounds, warmsUp, kind }));
  }
  return rows;
}

async function measure({ create, size, rounds, warmsUp, kind }) {
  const baseline = await prepared(create, kind, 0);
  const loaded = await prepared(create, kind, size);
  await inTurns(baseline, loaded, warmsUp ? WARM_UP : WARM_UP_SHORT);
  const row = await inTurns(baseline, loaded, rounds);
  await loaded.storage.close();
  await baseline.storage.close();
  return { kind, ...row };
}

/** Claims from two stores, one after the other, so that a machine whose speed drifts treats both alike. */
export async function inTurns(baseline, loaded, rounds) {
  const quiet = [];
  const busy = [];
  for (let i = 0; i < rounds; i += 1) {
    quiet.push(await claimOnce(baseline));
    busy.push(await claimOnce(loaded));
  }
  return compared(quiet, busy);
}

/** Medians of two series, and how they compare. */
export function compared(quiet, busy) {
  const baselineMs = median(quiet);
  const medianMs = median(busy);
  return { medianMs, baselineMs, ratio: medianMs / baselineMs };
}

export const KINDS = [
  "waiting",
  "scheduled at a better priority",
  "paused",
  "of an unknown name",
  "200 filled lanes",
  "in flight",
  "blocked by their key, a tenth as many",
];

export const CLAIM = 100;
/** Until the code is compiled and the memory of a store just filled has come to rest. */
const WARM_UP = 150;
/** Until the server has planned its statements and has the rows at hand. */
const WARM_UP_SHORT = 30;
const NAMES = ["work"];
const MANY = Array.from({ length: 200 }, (_, i) => `work-${i}`);

/** Jobs that processes hold at one time, at most: their concurrency bounds them, not the store. */
const IN_FLIGHT_MAX = 50_000;

/** Each of them is let in and turned away one by one before anything is measured, so they are a tenth of the others. */
const BLOCKED_SHARE = 10;

/** A store with a backlog of one kind, and what to claim from it. */
export async function prepared(create, kind, size) {
  const storage = await create();
  await storage.open();
  const processId = `bench-${kind}`;
  await register(storage, processId);
  const names = kind === "200 filled lanes" ? MANY : NAMES;
  const make = {
    waiting: () => job("work"),
    "scheduled at a better priority": () => job("work", { priority: -10, later: { delayMs: 86_400_000 } }),
    paused: () => job("work", { queue: "paused" }),
    "of an unknown name": () => job("other", { priority: -10 }),
    "200 filled lanes": (i) => job(MANY[i % MANY.length]),
    "in flight": () => job("work"),
    "blocked by their key, a tenth as many": () =>
      job("work", { limit: { scope: "", key: "one", concurrency: 1 } }),
  }[kind];
  if (kind === "in flight") await takeIn(storage, Math.min(size, IN_FLIGHT_MAX));
  else if (kind === "blocked by their key, a tenth as many") await block(storage, size / BLOCKED_SHARE, make);
  else await fill(storage, size, make);
  if (kind === "paused") await storage.configure({ queue: "paused" }, { paused: true });
  const queues = kind === "paused" ? ["paused", "bench"] : ["bench"];
  const own = size === 0 || (kind !== "waiting" && kind !== "200 filled lanes");
  return { storage, processId, queues, names, own, claims: 0 };
}

/** Jobs, many at once. */
export async function fill(storage, size, make = () => job("work")) {
  for (let i = 0; i < size; i += 500) {
    await storage.enqueue([Array.from({ length: Math.min(500, size - i) }, (_, k) => make(i + k))]);
  }
}

export async function register(storage, id) {
  const process = { id, host: "bench", pid: globalThis.process.pid, lostAfterMs: 86_400_000 };
  await storage.beat({ ...process, queues: [], holds: [], starts: [], first: true });
}

/** Jobs in the hands of another process, in leases of 100. */
async function takeIn(storage, size) {
  await register(storage, "bench-holder");
  for (let i = 0; i < size; i += CLAIM) {
    await fill(storage, CLAIM);
    const { jobs } = await storage.claim(requestOf("bench-holder", `bench-holder.${i}`));
    if (jobs.length !== CLAIM) throw new Error(`claimed ${jobs.length} jobs instead of ${CLAIM}`);
  }
}

/** Jobs that wait for each other, all but the first one, which each claim takes and so lets the next one in. */
async function block(storage, size, make) {
  await fill(storage, size, make);
  while ((await storage.promote(500)).promoted > 0);
  const { n } = await storage.count({ state: "blocked" });
  if (n < Math.min(size - 1, 9_999)) throw new Error(`${n} jobs are blocked instead of ${size - 1}`);
}

export function requestOf(processId, token, { queues = ["bench"], names = NAMES, room = CLAIM } = {}) {
  const requests = queues.map((queue) => ({ queue, names, room, readAhead: 0 }));
  return { processId, token, queues: requests, starts: [] };
}

/** One claim, and the end of what it gave. Answers how long the claim took. */
export async function claimOnce(store) {
  const { storage, processId, queues, names } = store;
  if (store.own) {
    await storage.enqueue([Array.from({ length: CLAIM }, (_, i) => job(names[(2 * i) % names.length]))]);
  }
  const token = `${processId}.${(store.claims += 1)}`;
  const request = requestOf(processId, token, { queues, names });
  const from = performance.now();
  const { jobs } = await storage.claim(request);
  const ms = performance.now() - from;
  if (jobs.length !== CLAIM) throw new Error(`claimed ${jobs.length} jobs instead of ${CLAIM}`);
  const settled = await storage.settle(completions(jobs));
  if (settled.some((result) => result !== "settled")) throw new Error("a settle was refused");
  return ms;
}

export function completions(jobs) {
  return jobs.map(({ id, generation, token }) => ({
    lease: { id, generation, token },
    outcome: { state: "completed" },
    startedAt: Date.now(),
  }));
}

export function job(name, more = {}) {
  return {
    name,
    queue: "bench",
    priority: 0,
    payload: PAYLOAD,
    maxRetries: 5,
    backoff: { kind: "fixed", delayMs: 1_000 },
    timeoutMs: 900_000,
    retention: { completedMs: 0, cancelledMs: 0, deadMs: 0 },
    tags: [],
    ...more,
  };
}

const PAYLOAD = JSON.stringify({ text: "x".repeat(88) });

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
