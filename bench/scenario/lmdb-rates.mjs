// LMDB, durable (every acknowledgement is a synced commit), history kept, against the bare package doing the
// same writes. Measured in turns, so that a machine whose speed drifts treats both alike.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, defineJob, json } from "../../dist/index.js";
import { claimJobs, openFloor, settleJobs, storeJobs } from "../floor.mjs";
import { median, perSecond, printTable } from "../print.mjs";

const BATCH = 500;
const payload = { number: 1, text: "x".repeat(78) };

export async function lmdbRates({ quick }) {
  const n = quick ? 10_000 : 50_000;
  const rates = { bulk: [], bulkFloor: [], singles: [], singlesFloor: [], drain: [], drainFloor: [] };
  for (let round = 0; round < 5; round += 1) await measure(n, rates);
  const row = (title, own, floor, aim) => {
    const ratio = median(rates[own].map((rate, i) => rate / rates[floor][i]));
    return [
      title,
      `${median(rates[own])} jobs/s`,
      `floor ${median(rates[floor])}`,
      `${ratio.toFixed(2)} ×`,
      aim,
    ];
  };
  printTable(
    `lmdb: synced to disk, default options, ${n} jobs, payload of 100 bytes (aim: 0.6 × of the floor)`,
    [
      row(`bulk, enqueueMany of ${BATCH}`, "bulk", "bulkFloor", "guide 100,000"),
      row("100 concurrent enqueue()", "singles", "singlesFloor", "guide 40,000"),
      row("drain, one process, finished jobs kept", "drain", "drainFloor", "guide 50,000"),
    ],
  );
}

async function measure(n, rates) {
  const folder = mkdtempSync(join(tmpdir(), "jobwright-bench-"));
  const floor = openFloor();
  try {
    let from = performance.now();
    for (let i = 0; i < n; i += BATCH) storeJobs(floor, i, BATCH, payload);
    rates.bulkFloor.push(perSecond(n, from));

    const jobs = await connect(`lmdb:${folder}`);
    const payloads = Array.from({ length: BATCH }, () => payload);
    let ran = 0;
    let done;
    const finished = new Promise((resolve) => (done = resolve));
    const noop = defineJob({
      name: "noop",
      payload: json(),
      run: async () => {
        ran += 1;
        if (ran === 2 * n) done();
      },
    });
    from = performance.now();
    for (let i = 0; i < n; i += BATCH) await jobs.enqueueMany(noop, payloads);
    rates.bulk.push(perSecond(n, from));

    from = performance.now();
    for (let i = 0; i < n; i += 100) storeJobs(floor, n + i, 100, payload);
    rates.singlesFloor.push(perSecond(n, from));

    from = performance.now();
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        for (let i = 0; i < n / 100; i += 1) await jobs.enqueue(noop, payload);
      }),
    );
    rates.singles.push(perSecond(n, from));

    from = performance.now();
    for (let i = 0; i < 2 * n; i += BATCH) {
      claimJobs(floor, i, BATCH);
      settleJobs(floor, i, BATCH);
    }
    rates.drainFloor.push(perSecond(2 * n, from));

    const worker = jobs.worker([noop]);
    from = performance.now();
    await worker.start();
    await finished;
    while ((await jobs.count({ state: "completed" })).n < 2 * n) await new Promise((r) => setImmediate(r));
    rates.drain.push(perSecond(2 * n, from));
    await jobs.close();
  } finally {
    await floor.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
