// Writes in every way there is to the same few jobs as all the others, in an order of chance.

import { connect, jobwright, leave, listen, log, options, pause, randomFrom, tell } from "./member.mjs";

const random = randomFrom(options.seed);
const mix = jobwright.defineJob({
  name: "mix",
  maxRetries: 3,
  backoff: jobwright.fixed(0),
  async run({ n }) {
    if (random() < 0.3) await pause(random() * 5);
    if (random() < 0.3) throw new Error("as chance would have it");
    return n;
  },
});

const { jobs } = await connect();
const worker = jobs.worker([mix], { pollInterval: 200, concurrency: 5 });
if (options.works) await worker.start();

/** Ids by which all processes know the same jobs. */
const known = new Map();
let calls = 0;
const ending = new AbortController();
listen({ end: () => ending.abort() });
tell("ready");
await Promise.all(Array.from({ length: options.writers }, write));
tell("calls", calls);
await leave(jobs);

async function write() {
  while (!ending.signal.aborted) {
    const dice = random();
    if (dice < 0.5) await enqueue();
    else if (dice < 0.9) await steer();
    else await jobs[random() < 0.2 ? "pause" : "resume"]({ queue: "default", name: "mix" });
    calls += 1;
    if (calls % 50 === 0) tell("calls", calls);
  }
}

/** The same ids as everybody else, each time in another order, with the same payload each. */
async function enqueue() {
  const numbers = Array.from({ length: 10 }, () => Math.floor(random() * options.ids));
  const items = [...new Set(numbers)].map((n) =>
    jobwright.item(mix, { n }, { id: `mix ${n}`, priority: 0, ...(random() < 0.1 ? { in: 5 } : {}) }),
  );
  const handles = await jobs.enqueueMany(items);
  handles.forEach(({ id }) => known.set(id, id));
}

/** Many at once, so that they are written together. */
async function steer() {
  const ids = [...known.keys()];
  if (ids.length === 0) return;
  const some = Array.from({ length: 10 }, () => ids[Math.floor(random() * ids.length)]);
  const action = ["cancel", "retry", "retry", "remove"][Math.floor(random() * 4)];
  await Promise.all(some.map((id) => jobs[action](id)));
  if (action === "remove") some.forEach((id) => known.delete(id));
}

process.on("unhandledRejection", (error) => {
  log("refused", { error: String(error) });
  throw error;
});
