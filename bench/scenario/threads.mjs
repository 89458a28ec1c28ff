// Handlers that keep a processor busy: what a second thread brings, what a thread costs, and whether the process
// beats in time meanwhile.
import { availableParallelism } from "node:os";
import { connect, defineJob, json } from "../../dist/index.js";
import { MemoryStorage } from "../../dist/storage/memory/index.js";
import { median, perSecond, printTable } from "../print.mjs";

const BEAT_MS = 500;
/** One handler's work: some 10 ms on a machine of today. */
const ROUNDS = 4_000_000;

const thread = new URL("./threads-handler.mjs", import.meta.url);
const burn = defineJob({ name: "burn", payload: json(), thread });
const stuck = defineJob({ name: "stuck", payload: json(), thread, timeout: "200ms", maxRetries: 0 });
const inMain = defineJob({
  name: "in-main",
  payload: json(),
  run: async (payload) => (await import("./threads-handler.mjs")).default(payload),
});

export async function threads({ quick }) {
  const n = quick ? 200 : 1_000;
  const counts = [...new Set([1, 2, availableParallelism()])].filter(
    (count) => count <= availableParallelism(),
  );
  const rows = [];
  let one;
  const main = await drain(inMain, n, 1);
  rows.push(["no thread", `${main.rate} jobs/s`, "", ...main.liveness]);
  for (const count of counts) {
    const { rate, liveness } = await drain(burn, n, count);
    one ??= rate;
    const aim = count === 2 ? ", aim ≥ 1.7" : "";
    rows.push([
      `${count} thread${count === 1 ? "" : "s"}`,
      `${rate} jobs/s`,
      `${(rate / one).toFixed(2)} × one${aim}`,
      ...liveness,
    ]);
  }
  printTable(`threads: ${n} jobs that compute, memory storage, a beat every ${BEAT_MS} ms`, rows);
  const nothing = await drain(burn, quick ? 2_000 : 10_000, 1, 0);
  const { settledMs, nextMs } = await kills(quick ? 5 : 20);
  printTable("threads: what they cost", [
    ["a handler that does nothing, one thread", `${nothing.rate} jobs/s`],
    ["first run of a thread", `${(await firstRun()).toFixed(0)} ms`],
    [
      "endless loop: from its timeout to its end, median",
      `${median(settledMs).toFixed(0)} ms`,
      "grace 500 ms",
    ],
    [
      "endless loop: from its timeout to the start of the next job in its slot",
      `median ${median(nextMs).toFixed(0)} ms, longest ${Math.max(...nextMs).toFixed(0)} ms`,
      "aim ≤ 1,000 ms",
    ],
  ]);
}

/** Rate of a drain, the longest gap between two beats, and the longest that a timer was late. */
async function drain(definition, n, count, rounds = ROUNDS) {
  const storage = new MemoryStorage();
  let longest = 0;
  let last;
  const beat = storage.beat.bind(storage);
  storage.beat = (what) => {
    const now = performance.now();
    if (last !== undefined && what.leaving !== true) longest = Math.max(longest, now - last);
    last = now;
    return beat(what);
  };
  const jobs = await connect(storage, { beatEvery: BEAT_MS, lostAfter: BEAT_MS * 5 });
  const worker = jobs.worker([definition], { threads: count, slowAfter: Number.POSITIVE_INFINITY });
  await worker.start();
  // The threads are there, and warm.
  await enqueueAll(jobs, worker, definition, count * 4, rounds);
  let late = 0;
  let expected = performance.now() + 10;
  const timer = setInterval(() => {
    const now = performance.now();
    late = Math.max(late, now - expected);
    expected = now + 10;
  }, 10);
  const from = performance.now();
  await enqueueAll(jobs, worker, definition, n, rounds);
  const rate = perSecond(n, from);
  clearInterval(timer);
  await jobs.close();
  return {
    rate,
    liveness: [`longest gap of beats ${longest.toFixed(0)} ms`, `a timer late by ${late.toFixed(0)} ms`],
  };
}

async function enqueueAll(jobs, worker, definition, n, rounds) {
  let left = n;
  const done = new Promise((resolve) => {
    const ended = () => {
      left -= 1;
      if (left === 0) {
        worker.off("completed", ended);
        resolve();
      }
    };
    worker.on("completed", ended);
  });
  for (let i = 0; i < n; i += 1_000) {
    await jobs.enqueueMany(
      definition,
      Array.from({ length: Math.min(1_000, n - i) }, () => ({ rounds })),
    );
  }
  await done;
}

async function kills(n) {
  const jobs = await connect("memory:", { logger: silent });
  const settledMs = [];
  const nextMs = [];
  const worker = jobs.worker([stuck, burn], { threads: 1 });
  await worker.start();
  for (let i = 0; i < n; i += 1) {
    const ended = new Promise((resolve) => worker.once("dead", resolve));
    const begun = new Promise((resolve) => worker.once("started", () => resolve(performance.now())));
    await jobs.enqueue(stuck, { endless: true });
    const deadline = (await begun) + 200;
    const next = new Promise((resolve) => worker.once("started", () => resolve(performance.now())));
    const done = new Promise((resolve) => worker.once("completed", resolve));
    await jobs.enqueue(burn, { rounds: 0 });
    await ended;
    settledMs.push(performance.now() - deadline);
    nextMs.push((await next) - deadline);
    await done;
  }
  await jobs.close();
  return { settledMs, nextMs };
}

async function firstRun() {
  const jobs = await connect("memory:");
  const worker = jobs.worker([burn], { threads: 1 });
  await worker.start();
  const from = performance.now();
  await enqueueAll(jobs, worker, burn, 1, 0);
  const ms = performance.now() - from;
  await jobs.close();
  return ms;
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };
