// Enqueues batches of all kinds as far as the test allows, and writes down what was asked and what was answered.

import { connect, jobwright, leave, listen, log, options, pause, randomFrom, tell } from "./store.mjs";

const random = randomFrom(options.seed);
const { jobs } = await connect();
const work = jobwright.defineJob({
  name: "work",
  maxRetries: Number.POSITIVE_INFINITY,
  backoff: jobwright.fixed(5),
});

/** How many of the groups are asked for with an id that is taken. */
const { refused = 0.1 } = options;
/** Jobs that may be asked for by now, and those that were. */
let allowed = options.allowed;
let asked = 0;
const ending = new AbortController();
let wake = () => {};
listen({
  allow(n) {
    allowed = n;
    wake();
  },
  end() {
    ending.abort();
    wake();
  },
});

const taken = `${options.name}-taken`;
let batches = 0;
await enqueue([{ act: "return", ms: 0 }], { id: taken });
tell({ name: "ready" });

while (!ending.signal.aborted) {
  if (asked >= allowed) {
    tell({ name: "idle" });
    await new Promise((resolve) => (wake = resolve));
    continue;
  }
  const n = random() < 0.3 ? 1 : 2 + Math.floor(random() * 18);
  const jobsOfBatch = Array.from({ length: n }, () => ({ act: "return", ms: handlerMs() }));
  if (random() < refused) await enqueueRefused(jobsOfBatch);
  else await enqueue(jobsOfBatch, laterOrNow());
  await pause(random() * 4);
}
await leave(jobs);

function handlerMs() {
  const dice = random();
  if (dice < 0.3) return 0;
  return dice < 0.8 ? Math.floor(random() * 40) : 40 + Math.floor(random() * 200);
}

function laterOrNow() {
  const dice = random();
  if (dice < 0.2) return { in: Math.floor(random() * 200) };
  return dice < 0.4 ? { priority: Math.floor(random() * 3) - 1 } : {};
}

function ask(payloads) {
  batches += 1;
  const batch = `${options.name}#${batches}`;
  log("ask", { batch, numbers: payloads.map((_, number) => number) });
  asked += payloads.length;
  return { batch, payloads: payloads.map((payload, number) => ({ ...payload, batch, number })) };
}

/** One, or several at once that share a commit, or a group. */
async function enqueue(list, jobOptions) {
  const { batch, payloads } = ask(list);
  const handles =
    payloads.length === 1
      ? [await jobs.enqueue(work, payloads[0], jobOptions)]
      : await jobs.enqueueMany(work, payloads, jobOptions);
  log("ack", { batch, ids: handles.map(({ id }) => id) });
  const one = handles[Math.floor(random() * handles.length)];
  if ((await jobs.get(one.id)) === undefined) log("unseen", { id: one.id });
}

/** A group whose last job asks for an id that another job has: none of it may be stored. */
async function enqueueRefused(list) {
  const { batch, payloads } = ask([...list, {}]);
  asked -= payloads.length;
  const items = payloads.map((payload, i) =>
    jobwright.item(work, payload, i === payloads.length - 1 ? { id: taken } : {}),
  );
  try {
    await jobs.enqueueMany(items);
    throw new Error("a group with a taken id was stored");
  } catch (error) {
    if (!(error instanceof jobwright.DuplicateIdError)) throw error;
    log("nak", { batch, error: error.name });
  }
}
