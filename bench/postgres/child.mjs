// One client process of one contender: it does what it is told and answers with what it measured. All
// contenders do the same things through the same code; only `contender/…` differs.
import { percentile } from "../print.mjs";

const [file, options] = process.argv.slice(2);
const { create } = await import(`./contender/${file}`);
const contender = create(JSON.parse(options));

/** How often the count of runs is told while it grows. */
const TELL_MS = 5;
const CONCURRENT = 100;

let stopWork;
const runs = { n: 0, first: 0, last: 0 };
const payload = { number: 1, text: "x".repeat(78) };

const commands = {
  install: (url) => contender.install(url),
  open: (url) => contender.open(url),
  close: () => contender.close(),
  unfinished: () => contender.unfinished(),
  /** Of this process so far, in µs. */
  cpu() {
    const { user, system } = process.cpuUsage();
    return user + system;
  },
  /** Reads that cost the storage nearly nothing, one after the other. */
  async look({ looks, ms }) {
    const times = [];
    const until = now() + ms;
    while (times.length < looks && now() < until) {
      const from = now();
      await contender.look();
      times.push(now() - from);
    }
    return { value: percentile(times, 0.5), p99: percentile(times, 0.99), n: times.length };
  },

  /** One after the other, each awaited. */
  one: ({ jobs, ms }) => timed(jobs, ms, 1, () => contender.one(payload)),

  /** A hundred callers at once, each awaiting its own. */
  concurrent: ({ jobs, ms }) => timed(jobs, ms, CONCURRENT, () => contender.one(payload)),

  /** Calls of the bulk API, one after the other. */
  async bulk({ jobs, size }) {
    const payloads = Array.from({ length: size }, () => payload);
    const from = now();
    for (let done = 0; done < jobs; done += size) await contender.bulk(payloads);
    return { jobs: Math.ceil(jobs / size) * size, ms: now() - from };
  },

  /** Jobs that wait for a drain: exactly so many. */
  async load(jobs) {
    for (let done = 0; done < jobs; done += 1_000) {
      await contender.bulk(Array.from({ length: Math.min(1_000, jobs - done) }, () => payload));
    }
  },

  /** Say when it was sent: the clock is the machine's, the same in all processes. */
  async send() {
    await (contender.send ?? contender.one)({ sentAt: now() });
  },

  /** Run jobs that do nothing; tell how many, or for each how long it was on its way. */
  async work({ tell }) {
    Object.assign(runs, { n: 0, first: 0, last: 0 });
    if (tell === "latency") {
      stopWork = await contender.work(({ sentAt }) => process.send({ event: "started", ms: now() - sentAt }));
      return;
    }
    const stop = await contender.work(() => {
      runs.last = now();
      if (runs.n === 0) runs.first = runs.last;
      runs.n += 1;
    });
    let told = 0;
    const timer = setInterval(() => {
      if (runs.n !== told) process.send({ event: "ran", ...runs });
      told = runs.n;
    }, TELL_MS);
    stopWork = async () => {
      await stop();
      clearInterval(timer);
    };
  },

  async stop() {
    await stopWork?.();
    stopWork = undefined;
    return { ...runs };
  },
};

async function timed(jobs, limitMs, callers, call) {
  const from = now();
  let begun = 0;
  const caller = async () => {
    while (begun < jobs && now() - from < limitMs) {
      begun += 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { jobs: begun, ms: now() - from };
}

function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

process.on("message", async ({ id, command, argument }) => {
  try {
    process.send({ id, value: await commands[command](argument) });
  } catch (error) {
    process.send({ id, error: error?.stack ?? String(error) });
  }
});
// Whatever a library leaves open: without a parent there is nothing to do.
process.on("disconnect", () => process.exit());
process.send({ event: "ready", node: process.versions.node });
