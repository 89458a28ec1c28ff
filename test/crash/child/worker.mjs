// A worker process. What a handler does stands in the payload: `act`, and what that needs.

import { existsSync } from "node:fs";
import { connect, die, jobwright, leave, leaveChannel, listen, log, options, pause, tell } from "./store.mjs";

const { jobs } = await connect();
const tick = new Int32Array(new SharedArrayBuffer(4));

const work = jobwright.defineJob({
  name: "work",
  run({ batch, number, act = "return", ms = 0, file, where }, ctx) {
    const { id, attempt } = ctx.job;
    const process = worker.processId;
    log("start", { process, id, batch, number, attempt });
    const ended = () => {
      log("end", { process, id, attempt });
      return { process, attempt };
    };
    switch (act) {
      case "return":
        return ms === 0 ? ended() : pause(ms).then(ended);
      case "fail-once":
        ended();
        if (attempt === 1) throw new Error("failed on purpose");
        return { process, attempt };
      case "exit":
        log("kill", { target: options.name });
        return globalThis.process.exit(7);
      case "kill":
        return die();
      case "await-abort":
        // The first time it waits for its signal and then returns in spite of it; the second time it does its work.
        return attempt === 1 ? aborted(ctx, id, process).then(ended) : ended();
      case "block-until":
        // The test says so by a file: a blocked event loop hears nothing else. Elsewhere it only waits.
        if (options.name !== where) return until(() => existsSync(`${file}.elsewhere`)).then(ended);
        while (!existsSync(file)) Atomics.wait(tick, 0, 0, 5);
        return ended();
      case "block-for":
        if (options.name === where) Atomics.wait(tick, 0, 0, ms);
        return ended();
    }
  },
});

async function until(holds) {
  while (!holds()) await pause(5);
}

function aborted(ctx, id, process) {
  return new Promise((resolve) => {
    ctx.signal.addEventListener("abort", () => {
      log("abort", { process, id, reason: ctx.signal.reason.name });
      resolve();
    });
  });
}

const worker = jobs.worker([work], {
  queues: options.queues ?? ["default"],
  concurrency: options.concurrency ?? 10,
  pollInterval: options.pollMs ?? 500,
});
worker.on("fenced", ({ processId }) => log("fenced", { process: processId }));
worker.on("blocked", ({ blockedMs, running }) =>
  tell({ name: "blocked-event", value: { blockedMs, running } }),
);
worker.on("stale", ({ id }) => tell({ name: "stale", value: id }));
if (options.paused) worker.pause();
jobwright.stopOnSignals([worker, jobs]);
process.once("SIGTERM", leaveChannel);
await worker.start();
tell({ name: "ready" });
listen({
  pause: () => worker.pause(),
  resume: () => worker.resume(),
  end: () => leave(jobs),
});
