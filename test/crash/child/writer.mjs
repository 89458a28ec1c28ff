// Writes as fast as it can, and measures how long it is made to wait.

import { connect, jobwright, leave, listen, log, options, randomFrom, tell } from "./store.mjs";

const random = randomFrom(options.seed);
const work = jobwright.defineJob({ name: "work" });
/** Between two looks at the event loop, in ms. */
const BEAT_MS = 10;

const { jobs } = await connect({ watched: false });
const ending = new AbortController();
listen({ end: () => ending.abort() });

let longestStall = 0;
let lookedAt = performance.now();
const watch = setInterval(() => {
  const now = performance.now();
  longestStall = Math.max(longestStall, now - lookedAt - BEAT_MS);
  lookedAt = now;
}, BEAT_MS);

let batches = 0;
let longestWait = 0;
tell({ name: "ready" });
while (!ending.signal.aborted) {
  // Now and then a large group, to be long inside a transaction; small ones to be there often.
  const n = random() < 0.1 ? 100 : 1 + Math.floor(random() * 5);
  const askedAt = performance.now();
  const id = await enqueue(n);
  const waited = performance.now() - askedAt;
  longestWait = Math.max(longestWait, waited);
  if (options.readBack && (await jobs.get(id)) === undefined) log("unseen", { id });
  if (options.paceMs > 0) await new Promise((resolve) => setTimeout(resolve, options.paceMs));
}
clearInterval(watch);
log("measure", { name: "longest wait", value: longestWait });
log("measure", { name: "longest stall", value: longestStall });
await leave(jobs);

async function enqueue(n) {
  batches += 1;
  const batch = `${options.name}#${batches}`;
  const payloads = Array.from({ length: n }, (_, number) => ({
    batch,
    number,
    fill: "x".repeat(random() * 500),
  }));
  log("ask", { batch, numbers: payloads.map(({ number }) => number) });
  const handles = await jobs.enqueueMany(work, payloads);
  log("ack", { batch, ids: handles.map(({ id }) => id) });
  return handles[0].id;
}
