// A worker of two definitions in two queues, whose jobs share limit keys. Writes down which of them run.

import { connect, jobwright, leave, listen, log, pause, tell } from "./store.mjs";

const { jobs } = await connect();

const run = async ({ key, act, ms }, ctx) => {
  const { id, attempt } = ctx.job;
  const process = worker.processId;
  log("start", { process, id, key });
  try {
    if (ms > 0) await pause(ms);
    if (act === "snooze" && attempt === 1 && ctx.job.runAt.getTime() === ctx.job.createdAt.getTime())
      return jobwright.snooze(20);
    if (act === "fail" && attempt === 1) throw new Error("failed on purpose");
    if (act === "die") throw new jobwright.UnrecoverableError("dead on purpose");
  } finally {
    log("end", { process, id, key });
  }
};
const options = { backoff: jobwright.fixed(10), maxRetries: Number.POSITIVE_INFINITY };
const worker = jobs.worker(
  ["a", "b"].map((name) => jobwright.defineJob({ name, ...options, run })),
  { queues: ["one", "two"], concurrency: 6, pollInterval: 500 },
);
await worker.start();
tell({ name: "ready" });
listen({ end: () => leave(jobs) });
