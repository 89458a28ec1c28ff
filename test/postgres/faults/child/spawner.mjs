// Enqueues batches of all kinds, at a pace, and writes down what was asked and what was answered.

import { connect, jobwright, leave, listen, log, options, pause, randomFrom, tell } from "./member.mjs";

const random = randomFrom(options.seed);
const work = jobwright.defineJob({
  name: "work",
  maxRetries: Number.POSITIVE_INFINITY,
  backoff: jobwright.fixed(5),
});

const { jobs } = await connect();
const ending = new AbortController();
listen({ end: () => ending.abort() });

let batches = 0;
tell("ready");
await Promise.all(Array.from({ length: options.writers ?? 2 }, spawn));
await leave(jobs);

async function spawn() {
  while (!ending.signal.aborted) {
    const n = random() < 0.3 ? 1 : 2 + Math.floor(random() * 10);
    try {
      await enqueue(n);
    } catch (error) {
      // Whether it was stored is not known: it was not acknowledged, that is all.
      const { StorageUnavailableError, OverloadedError } = jobwright;
      if (!(error instanceof StorageUnavailableError || error instanceof OverloadedError)) throw error;
      log("refused", { error: error.message });
    }
    await pause(random() * 2 * (options.paceMs ?? 40));
  }
}

async function enqueue(n) {
  batches += 1;
  const batch = `${options.name}#${batches}`;
  const payloads = Array.from({ length: n }, (_, number) => ({ batch, number, ...whatToDo() }));
  log("ask", { batch, numbers: payloads.map(({ number }) => number) });
  const handles =
    n === 1 && random() < 0.5
      ? [await jobs.enqueue(work, payloads[0], { id: batch })]
      : await jobs.enqueueMany(work, payloads, laterOrNow());
  log("ack", { batch, ids: handles.map(({ id }) => id) });
  if (random() < 0.1) await lookFor(handles[0].id);
}

/** What was acknowledged is there, unless nobody can say. */
async function lookFor(id) {
  try {
    if ((await jobs.get(id)) === undefined) log("unseen", { id });
  } catch (error) {
    if (!(error instanceof jobwright.StorageUnavailableError)) throw error;
  }
}

function whatToDo() {
  if (random() < (options.transact ?? 0)) return { transact: true, ms: Math.floor(random() * 20) };
  if (random() < (options.fail ?? 0.1)) return { fails: 1 };
  const dice = random();
  if (dice < 0.3) return { ms: 0 };
  return { ms: Math.floor(dice < 0.8 ? random() * 40 : 40 + random() * 200) };
}

function laterOrNow() {
  const dice = random();
  if (dice < 0.2) return { in: Math.floor(random() * 200) };
  return dice < 0.4 ? { priority: Math.floor(random() * 3) - 1 } : {};
}
