// From the call of enqueue to the start of the handler, one job at a time on an idle system.
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, defineJob, json } from "../../dist/index.js";
import { percentile, printTable } from "../print.mjs";

const ping = defineJob({ name: "ping", payload: json() });

export async function latency({ quick }) {
  const n = quick ? 100 : 500;
  const folder = mkdtempSync(join(tmpdir(), "jobwright-latency-"));
  try {
    printTable(`enqueue → handler start on an idle system, ${n} jobs one at a time (aim: p50 ≤ 2 ms)`, [
      line("memory, same process", await sameProcess("memory:", n)),
      line("lmdb (synced), same process", await sameProcess(`lmdb:${join(folder, "one")}`, n)),
      line("lmdb (synced), another process", await acrossProcesses(`lmdb:${join(folder, "two")}`, n)),
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function line(title, times) {
  return [
    title,
    `p50 ${percentile(times, 0.5).toFixed(2)} ms`,
    `p99 ${percentile(times, 0.99).toFixed(2)} ms`,
  ];
}

async function sameProcess(url, n) {
  const { implement } = await import("../../dist/index.js");
  const jobs = await connect(url);
  let started;
  const worker = jobs.worker([implement(ping, () => started(now()))]);
  await worker.start();
  const times = await timed(n, async (from) => {
    const start = new Promise((resolve) => (started = resolve));
    await jobs.enqueue(ping, {});
    return (await start) - from;
  });
  await jobs.close();
  return times;
}

async function acrossProcesses(url, n) {
  const jobs = await connect(url);
  const child = fork(fileURLToPath(new URL("./latency-worker.mjs", import.meta.url)), [url]);
  await new Promise((resolve) => child.once("message", resolve));
  const times = await timed(n, async (from) => {
    const start = new Promise((resolve) => child.once("message", resolve));
    await jobs.enqueue(ping, {});
    return (await start) - from;
  });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await gone;
  await jobs.close();
  return times;
}

async function timed(n, once) {
  const times = [];
  for (let i = -20; i < n; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    const ms = await once(now());
    if (i >= 0) times.push(ms);
  }
  return times;
}

/** The monotonic clock of the machine, in ms: the same for both processes. */
export function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}
