// Goal: what a claim costs does not depend on what else is stored.
// Method: claim(100) and settle on a store that holds only those jobs, and on stores with a large backlog of
// each kind, in turns on one machine; medians of the claims alone. The claim is the same one for both: beside
// 200 filled lanes it asks for 200 names, and alone its 100 jobs stand in as many of those lanes.

/**
 * @param {{
 *   create: () => Promise<import('../src/storage/storage.ts').Storage>, size: number, rounds: number,
 *   kinds?: readonly string[], onProgress?: (text: string) => void,
 * }} options
 * @returns {Promise<{ kind: string, medianMs: number, baselineMs: number, ratio: number }[]>}
 */
export async function flat({ create, size, rounds, kinds = KINDS, onProgress = () => undefined }) {
  const rows = [];
  // The first store of a process is filled by code that is not compiled yet and lies scattered in memory.
  onProgress("warming up");
  await measure({ create, size, rounds, kind: kinds[0] });
  for (const kind of kinds) {
    onProgress(kind);
    rows.push(await measure({ create, size, rounds, kind }));
  }
  return rows;
}

async function measure({ create, size, rounds, kind }) {
  const baseline = await prepared(create, kind, 0);
  const loaded = await prepared(create, kind, size);
  for (let i = 0; i < WARM_UP; i += 1) {
    await claimOnce(baseline);
    await claimOnce(loaded);
  }
  const quiet = [];
  const busy = [];
  for (let i = 0; i < rounds; i += 1) {
    quiet.push(await claimOnce(baseline));
    busy.push(await claimOnce(loaded));
  }
  await loaded.storage.close();
  await baseline.storage.close();
  const baselineMs = median(quiet);
  const medianMs = median(busy);
  return { kind, medianMs, baselineMs, ratio: medianMs / baselineMs };
}

export const KINDS = [
  "waiting",
  "scheduled at a better priority",
  "paused",
  "of an unknown name",
  "200 filled lanes",
];

const CLAIM = 100;
/** Until the code is compiled and the memory of a store just filled has come to rest. */
const WARM_UP = 150;
const NAMES = ["work"];
const MANY = Array.from({ length: 200 }, (_, i) => `work-${i}`);

/** A store with a backlog of one kind, and what to claim from it. */
async function prepared(create, kind, size) {
  const storage = await create();
  await storage.open();
  const processId = `bench-${kind}`;
  const process = { id: processId, host: "bench", pid: globalThis.process.pid, lostAfterMs: 86_400_000 };
  await storage.beat({ ...process, queues: [], holds: [], starts: [], first: true });
  const names = kind === "200 filled lanes" ? MANY : NAMES;
  const make = {
    waiting: () => job("work"),
    "scheduled at a better priority": () => job("work", { priority: -10, later: { delayMs: 86_400_000 } }),
    paused: () => job("work", { queue: "paused" }),
    "of an unknown name": () => job("other"),
    "200 filled lanes": (i) => job(MANY[i % MANY.length]),
  }[kind];
  for (let i = 0; i < size; i += 500) {
    await storage.enqueue([Array.from({ length: Math.min(500, size - i) }, (_, k) => make(i + k))]);
  }
  if (kind === "paused") await storage.configure({ queue: "paused" }, { paused: true });
  const queues = kind === "paused" ? ["paused", "bench"] : ["bench"];
  const own = size === 0 || (kind !== "waiting" && kind !== "200 filled lanes");
  return { storage, processId, queues, names, own, claims: 0 };
}

async function claimOnce(store) {
  const { storage, processId, queues, names } = store;
  if (store.own) {
    await storage.enqueue([Array.from({ length: CLAIM }, (_, i) => job(names[(2 * i) % names.length]))]);
  }
  const token = `${processId}.${(store.claims += 1)}`;
  const request = {
    processId,
    token,
    queues: queues.map((queue) => ({ queue, names, room: CLAIM, readAhead: 0 })),
    starts: [],
  };
  const from = performance.now();
  const { jobs } = await storage.claim(request);
  const ms = performance.now() - from;
  if (jobs.length !== CLAIM) throw new Error(`claimed ${jobs.length} jobs instead of ${CLAIM}`);
  const settled = await storage.settle(
    jobs.map(({ id, generation }) => ({
      lease: { id, generation, token },
      outcome: { state: "completed" },
      startedAt: Date.now(),
    })),
  );
  if (settled.some((result) => result !== "settled")) throw new Error("a settle was refused");
  return ms;
}

function job(name, more = {}) {
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

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
