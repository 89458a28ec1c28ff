// What is measured. Every measure gets the URL of a database and the contender's client processes with
// nothing open, and leaves them so. Each drain has a database of its own; the others share one a round, in
// this order: jobs that were only enqueued stay in it, so what runs jobs comes first. Rates are jobs a second.
import { setTimeout as sleep } from "node:timers/promises";
import { percentile } from "../print.mjs";

/** A pause between jobs of which each is to find an idle system; random, so that no poller's beat is met. */
const IDLE_MS = [5, 25];
const LOOK_MS = 1;
/** Between the last handler and the last commit. */
const SETTLING_MS = 30_000;

const ENQUEUED = "commit synced before the answer";
const ENDED = "end of every job a synced commit";

/**
 * `aim`: what ours is to reach, times the best peer for rates (against: the one named), milliseconds for times.
 */
export const MEASURES = [
  {
    key: "latency",
    runs: true,
    title: "enqueue → start, idle",
    durability: ENQUEUED,
    isTime: true,
    aim: { ms: 1.5 },
    measure: latency,
  },
  {
    key: "one",
    title: "enqueue, one at a time",
    durability: ENQUEUED,
    aim: { times: 3.5 },
    measure: enqueue("one", ({ sizes }) => ({ jobs: sizes.one, ms: sizes.limitMs })),
  },
  {
    key: "concurrent",
    title: "enqueue, 100 at once",
    durability: ENQUEUED,
    aim: { times: 20 },
    measure: enqueue("concurrent", ({ sizes }) => ({ jobs: sizes.concurrent, ms: sizes.limitMs })),
  },
  {
    key: "bulk-1000",
    title: "bulk, 1,000 a call",
    durability: ENQUEUED,
    aim: { times: 1.5 },
    measure: enqueue("bulk", ({ sizes }) => ({ jobs: sizes.bulk, size: 1_000 })),
  },
  {
    key: "bulk-best",
    title: "bulk, best size of a call",
    durability: ENQUEUED,
    aim: { times: 1.5 },
    measure: enqueue("bulk", ({ sizes, contender }) => ({ jobs: sizes.bulk, size: contender.bulk })),
  },
  {
    key: "drain-1",
    runs: true,
    ownDatabase: true,
    title: "drain, one process",
    durability: ENDED,
    aim: { times: 1.5, against: "graphile-worker" },
    measure: (run) => drain(run, 1),
  },
  {
    key: "drain-4",
    runs: true,
    ownDatabase: true,
    title: "drain, four processes",
    durability: ENDED,
    aim: { times: 1.5, against: "graphile-worker" },
    measure: (run) => drain(run, 4),
  },
];

function enqueue(command, argumentOf) {
  return async (run) => {
    const { clients, url, databases } = run;
    const [client] = clients;
    await client.do("open", url);
    // The first calls open connections and prepare statements: that is not what is asked.
    await client.do("concurrent", { jobs: 100, ms: 500 });
    await client.do("one", { jobs: 20, ms: 500 });
    await databases.flush();
    const { jobs, ms } = await client.do(command, argumentOf(run));
    await client.do("close");
    return { value: (jobs / ms) * 1_000 };
  };
}

/**
 * Jobs that do nothing, from the start of the first handler until the storage says that none is left. A
 * contender that would take too long is stopped after `limitMs`, and its rate is that of the runs so far.
 */
async function drain({ clients, url, databases, sizes }, processes) {
  const workers = clients.slice(0, processes);
  const [first] = workers;
  await Promise.all(workers.map((worker) => worker.do("open", url)));
  await first.do("load", sizes.drain);
  await databases.settle(url);

  const total = () => workers.reduce((sum, { ran }) => sum + ran.n, 0);
  let enough;
  const drained = new Promise((resolve) => (enough = resolve));
  for (const worker of workers) {
    worker.ran = { n: 0, first: 0, last: 0 };
    worker.heard = () => total() >= sizes.drain && enough(true);
  }
  const limit = sleep(sizes.limitMs, false, { ref: false });
  await Promise.all(workers.map((worker) => worker.do("work", { tell: "count" })));
  const isDrained = await Promise.race([drained, limit]);
  let ms = 0;
  const begun = () => Math.min(...workers.flatMap(({ ran }) => (ran.n === 0 ? [] : [ran.first])));
  if (isDrained) {
    const until = now() + SETTLING_MS;
    while (await first.do("unfinished")) {
      if (now() > until) throw new Error(`all jobs ran, and after ${SETTLING_MS} ms some have not ended.`);
      await sleep(LOOK_MS);
    }
    ms = now() - begun();
  }
  // Of each process, what it ran after its first: of one that polls, the first came for nothing.
  const rates = workers.map(({ ran: { n, first: from, last } }) => (n < 2 ? 0 : (n - 1) / (last - from)));
  const runs = await Promise.all(workers.map((worker) => worker.do("stop")));
  const ran = runs.reduce((sum, { n }) => sum + n, 0);
  const isWhole = ran === sizes.drain || (ran < sizes.drain && (await first.do("unfinished")));
  await Promise.all(workers.map((worker) => worker.do("close")));
  if (!isWhole) {
    throw new Error(`${sizes.drain} jobs were to run and ${ran} did: jobs were lost or run twice.`);
  }
  if (isDrained) return { value: (ran / ms) * 1_000 };
  return { value: rates.reduce((sum, rate) => sum + rate, 0) * 1_000, limited: true };
}

/** From the call in one process to the handler's start in another, one job at a time. */
async function latency({ contender, clients, url, databases, sizes }) {
  const [producer, worker] = clients;
  await producer.do("open", url);
  await worker.do("open", url);
  await worker.do("work", { tell: "latency" });
  await databases.flush();
  const times = [];
  const until = now() + sizes.limitMs;
  // Waiting for a poller's warm-up would take longer than the measure.
  for (
    let i = contender.polls ? 0 : -(sizes.warmUp ?? WARM_UP);
    i < sizes.latency && (now() < until || times.length === 0);
    i += 1
  ) {
    await sleep(IDLE_MS[0] + Math.random() * (IDLE_MS[1] - IDLE_MS[0]));
    const started = new Promise((resolve) => (worker.heard = resolve));
    await producer.do("send");
    const { ms } = await started;
    if (i >= 0) times.push(ms);
  }
  await worker.do("stop");
  await Promise.all([producer, worker].map((client) => client.do("close")));
  return { value: percentile(times, 0.5), p99: percentile(times, 0.99), n: times.length };
}

const WARM_UP = 20;

function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}
