// One round of all measures on one build: node child.mjs <dist> <jobs>. Prints JSON, rates in jobs/s.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dist, size] = process.argv.slice(2);
const { connect, defineJob, silentLogger } = await import(pathToFileURL(join(dist, "index.js")).href);
const jobs = Number(size);
const rates = {};
const folder = mkdtempSync(join(tmpdir(), "jobwright-gate-"));
try {
  await measure("memory", "memory:", 4 * jobs);
  await measure("lmdb", `lmdb:${folder}`, jobs);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(JSON.stringify(rates));

async function measure(label, url, n) {
  const there = await connect(url, { logger: silentLogger });
  let left = n;
  let ended = () => undefined;
  const over = new Promise((resolve) => (ended = resolve));
  const work = defineJob({ name: "work", run: () => void (--left === 0 && ended()) });
  const payloads = Array.from({ length: 1_000 }, (_, i) => ({ to: `user${i}@example.com` }));
  rates[`${label} enqueue, 1,000 a call`] = await rate(n, async () => {
    for (let done = 0; done < n; done += payloads.length) await there.enqueueMany(work, payloads);
  });
  const worker = there.worker([work], { concurrency: 100 });
  rates[`${label} drain, one worker`] = await rate(n, async () => {
    await worker.start();
    await over;
  });
  await there.close();
}

async function rate(n, what) {
  const from = performance.now();
  await what();
  return (n / (performance.now() - from)) * 1_000;
}
