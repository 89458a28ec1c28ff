// Jobs that do nothing, through the whole worker loop on the memory storage: what jobwright itself costs.
import { connect, defineJob, json } from "../../dist/index.js";
import { median, perSecond, printTable } from "../print.mjs";

export async function memoryLoop({ quick }) {
  const n = quick ? 100_000 : 400_000;
  const enqueued = [];
  const drained = [];
  for (let round = 0; round < 5; round += 1) {
    const jobs = await connect("memory:");
    let ran = 0;
    let done;
    const finished = new Promise((resolve) => (done = resolve));
    const noop = defineJob({
      name: "noop",
      payload: json(),
      run: async () => {
        ran += 1;
        if (ran === n) done();
      },
    });
    const payloads = Array.from({ length: 1_000 }, (_, i) => ({ number: i, text: "x".repeat(78) }));
    const from = performance.now();
    for (let i = 0; i < n; i += 1_000) await jobs.enqueueMany(noop, payloads);
    enqueued.push(perSecond(n, from));
    const worker = jobs.worker([noop]);
    const start = performance.now();
    await worker.start();
    await finished;
    drained.push(perSecond(n, start));
    await jobs.close();
  }
  printTable(`memory: no durability, default options, ${n} jobs with a payload of 100 bytes, history kept`, [
    ["enqueueMany, 1,000 a call", `${median(enqueued)} jobs/s`],
    ["drain through the whole worker loop", `${median(drained)} jobs/s`, "aim ≥ 300,000"],
  ]);
}
