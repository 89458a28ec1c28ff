// Enqueues batches, several on their way at any time, and ends in the midst of it, one way or another.

import { connect, jobwright, leave, log, options, randomFrom, tell } from "./store.mjs";

const random = randomFrom(options.seed);
const work = jobwright.defineJob({ name: "work" });
const { jobs } = await connect({ watched: false });
let batches = 0;
const ending = new AbortController();

const endings = {
  /** The test kills it. */
  kill: () => {},
  exit: () => process.exit(0),
  throw: () => {
    throw new Error("thrown on purpose");
  },
  close: async () => {
    ending.abort();
    // With enqueues under way: they are stored first, or refused.
    await leave(jobs);
  },
};

await enqueue();
tell({ name: "ready" });
setTimeout(endings[options.how], random() * 30);
await Promise.all([enqueueOn(), enqueueOn(), enqueueOn()]);

async function enqueueOn() {
  while (!ending.signal.aborted) {
    try {
      await enqueue();
    } catch (error) {
      const isClosed = error instanceof jobwright.StateError || error instanceof jobwright.StorageClosedError;
      if (!ending.signal.aborted || !isClosed) throw error;
    }
  }
}

async function enqueue() {
  batches += 1;
  const batch = `${options.name}#${batches}`;
  const numbers = Array.from({ length: 1 + Math.floor(random() * 10) }, (_, number) => number);
  log("ask", { batch, numbers });
  const handles = await jobs.enqueueMany(
    work,
    numbers.map((number) => ({ batch, number })),
  );
  log("ack", { batch, ids: handles.map(({ id }) => id) });
}
