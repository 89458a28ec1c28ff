// Callers that enqueue jobs with few unique keys, and a worker that runs them. All write down what they asked and what
// they were answered. The keys and what they mean come from the test.

import { connect, jobwright, leave, listen, log, now, options, pause, randomFrom, tell } from "./store.mjs";

const random = randomFrom(options.seed);
const { jobs } = await connect();
const ending = new AbortController();
let calls = 0;

const unique = jobwright.defineJob({
  name: "unique",
  backoff: jobwright.fixed(5),
  async run({ key, act, ms }, ctx) {
    const { id, attempt } = ctx.job;
    const process = worker.processId;
    log("start", { process, id, key });
    try {
      // Some end at once when they are cancelled, and some return in spite of it.
      if (ms > 0) await (act === "fail" ? Promise.race([pause(ms), aborted(ctx)]) : pause(ms));
      if (act === "die") throw new jobwright.UnrecoverableError("dead on purpose");
      if (act === "fail" && attempt <= 2) throw new Error("failed on purpose");
    } finally {
      log("end", { process, id, key });
    }
  },
});

function aborted(ctx) {
  return new Promise((_, reject) => {
    ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason));
  });
}

const worker = jobs.worker([unique], { concurrency: 20, pollInterval: 500 });
await worker.start();
const callers = Promise.all(Array.from({ length: options.callers }, call));
listen({
  async quiet() {
    ending.abort();
    await callers;
    tell({ name: "quiet" });
  },
  end: () => leave(jobs),
});
tell({ name: "ready" });

async function call() {
  while (!ending.signal.aborted) {
    const rule = options.keys[Math.floor(random() * options.keys.length)];
    const handle = await enqueue(rule);
    if (handle?.created) {
      const dice = random();
      if (dice < 0.25) await cancel(handle);
      // As soon as it has ended, its key is there for the next one.
      else if (dice < 0.6 && (await hasEnded(handle))) await enqueue(rule, handle.id);
    }
    await pause(random() * options.restMs);
  }
}

/** @param after the job of this key that was just seen to have ended */
async function enqueue({ key, kind, forMs }, after) {
  const name = `${options.name}#${(calls += 1)}`;
  const dice = random();
  const onConflict = dice < 0.6 ? "keep" : dice < 0.8 ? "replace" : "error";
  // Who runs again waits again, and would then wait beside another one that has taken the key meanwhile.
  const maxRetries = kind === "waiting" || random() < 0.5 ? 0 : 4;
  const later = random() < 0.2 ? { in: Math.floor(random() * 30) } : {};
  const held = kind === "for" ? { for: forMs } : { while: kind };
  const sentAt = now();
  log("asked", { call: name, key, ...(after === undefined ? {} : { after }) });
  try {
    const handle = await jobs.enqueue(unique, payloadFor(key), {
      ...{ maxRetries, ...later },
      unique: { key, onConflict, ...held },
    });
    log("answered", { call: name, key, sentAt, status: handle.status, id: handle.id });
    return handle;
  } catch (error) {
    if (!(error instanceof jobwright.KeyHeldError)) throw error;
    log("answered", { call: name, key, sentAt, status: "held", id: error.holderId });
    return undefined;
  }
}

function payloadFor(key) {
  const dice = random();
  const act = dice < 0.5 ? "return" : dice < 0.85 ? "fail" : "die";
  return { key, act, ms: random() < 0.4 ? 0 : Math.floor(random() * 60) };
}

async function cancel(handle) {
  await pause(random() * 30);
  const sentAt = now();
  const answer = await handle.cancel("cancelled on purpose");
  if (answer === "cancelled") log("over", { id: handle.id, liveAt: sentAt });
  else if (answer === "finished") log("over", { id: handle.id });
}

async function hasEnded(handle) {
  try {
    await handle.result({ timeout: 60_000, signal: ending.signal });
  } catch (error) {
    const { JobCancelledError, JobFailedError } = jobwright;
    if (ending.signal.aborted) return false;
    if (!(error instanceof JobCancelledError || error instanceof JobFailedError)) throw error;
  }
  log("over", { id: handle.id });
  return true;
}
