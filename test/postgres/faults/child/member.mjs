// What every process of the fault tests begins with: the built library, a storage that writes down what it was
// answered, and an end that never outlives the test.

import { openSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import pg from "pg";

/** A build other than the checkout's own, to try a mutant. */
const dist = process.env.JOBWRIGHT_DIST;
const base = dist === undefined ? new URL("../../../../dist/", import.meta.url) : pathToFileURL(`${dist}/`);

export const jobwright = await import(new URL("index.js", base).href);
const { PostgresStorage } = await import(new URL("storage/postgres/index.js", base).href);

/** Set by the test: `name`, `journal`, `storage`, and what the script wants to know. */
export const options = JSON.parse(process.env.JOBWRIGHT_FAULTS_CHILD);

const journal = openSync(options.journal, "a");

/** Microseconds of the kernel's monotonic clock: the same for all processes of the machine. */
export function now() {
  return Number(process.hrtime.bigint() / 1_000n);
}

/** One line, one small write to the end of the file: whole or not there, whenever the process ends. */
export function log(what, about) {
  writeSync(journal, `${JSON.stringify({ at: now(), by: options.name, what, ...about })}\n`);
}

/** The test is gone: so are we. */
let isLeaving = false;
process.on("disconnect", () => {
  if (!isLeaving) process.kill(process.pid, "SIGKILL");
});

let isShown = false;
const lines = jobwright.lineLogger(() => (isShown = true));

/** Every line that is said, and whether the default logger shows it. */
function say(level, text) {
  isShown = false;
  lines[level](text);
  log("line", { level, text, isShown, second: Math.floor(Date.now() / 1_000) });
}

const logger = {
  debug: () => undefined,
  info: (text) => say("info", text),
  warn: (text) => say("warn", text),
  error: (text) => say("error", text),
};

/** The user's own pool, when the test wants one; a plain one has nobody but us to hear of broken connections. */
export const pool = options.plainPool !== undefined ? new pg.Pool(options.plainPool) : poolOf(options.pool);

/** A client in use tells the end of its connection with an event that would end the process if nobody heard it. */
export function poolOf(of) {
  if (of === undefined) return undefined;
  const made = new pg.Pool(of);
  made.on("error", () => undefined);
  made.on("connect", (client) => client.on("error", () => undefined));
  return made;
}

/** Connect as the test says, to a URL or with the user's pool. */
export async function connect() {
  const where = pool === undefined ? {} : { pool };
  const storage = new PostgresStorage({ ...options.storage, ...where, logger });
  const jobs = await jobwright.connect(watched(storage), { lostAfter: options.lostAfterMs, logger });
  return { jobs, storage };
}

/** The storage, writing down each answer that the judge needs before anybody acts on it. */
function watched(storage) {
  const settled = (sentAt, process, settlements, answers) => {
    if (settlements.length === 0) return;
    const runs = settlements.map(({ lease, outcome }, i) => [
      lease.id,
      lease.generation,
      lease.token,
      outcome.state,
      answers[i],
    ]);
    log("settle", { process, sentAt, runs });
  };
  /** The answer was lost: the settle may have taken effect all the same. */
  const unheard = (sentAt, process, settlements) => (error) => {
    settled(
      sentAt,
      process,
      settlements,
      settlements.map(() => "unheard"),
    );
    throw error;
  };
  const told = (process, starts) => {
    if (starts.length > 0) log("told", { process, starts: starts.map(({ id, token }) => [id, token]) });
  };
  const claimed = ({ processId: process, starts }, { known, jobs }) => {
    if (known) told(process, starts);
    if (jobs.length === 0) return;
    const rows = jobs.map(({ id, generation, token, marked }) => [id, generation, token, marked]);
    log("claim", { process, jobs: rows });
  };
  const own = {
    async claim(request) {
      const result = await storage.claim(request);
      claimed(request, result);
      return result;
    },
    async settle(settlements) {
      const sentAt = now();
      const answers = await storage.settle(settlements).catch(unheard(sentAt, "", settlements));
      settled(sentAt, "", settlements, answers);
      return answers;
    },
    async exchange(settlements, request) {
      const sentAt = now();
      const { processId } = request;
      const result = await storage
        .exchange(settlements, request)
        .catch(unheard(sentAt, processId, settlements));
      settled(sentAt, request.processId, settlements, result.settled);
      claimed(request, result.claimed);
      return result;
    },
    async settleIn(transaction, completion) {
      const answer = await storage.settleIn(transaction, completion);
      const { id, generation, token } = completion.lease;
      log("joined", { run: [id, generation, token, answer] });
      return answer;
    },
    async beat(message) {
      const sentAt = now();
      const result = await storage.beat(message);
      if (result.known) {
        log("beat", { process: message.id, sentAt, first: message.first === true });
        told(message.id, message.starts);
      }
      return result;
    },
    async rescue(request) {
      const jobs = await storage.rescue(request);
      if (jobs.length > 0) {
        log("rescue", {
          process: request.processId,
          jobs: jobs.map(({ id, lostProcessId, started }) => [id, lostProcessId, started]),
        });
      }
      return jobs;
    },
  };
  return new Proxy(storage, {
    get(target, key) {
      if (Object.hasOwn(own, key)) return own[key];
      const value = target[key];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Tell the test something. */
export function tell(name, value) {
  process.send?.({ name, value });
}

/** What the test says: one handler a message name. The time this process has used is told to whoever asks. */
export function listen(handlers) {
  process.on("message", ({ name, value }) => {
    if (name === "usage") tell("usage", process.cpuUsage());
    else void handlers[name](value);
  });
}

/** Numbers that a seed repeats, as `randomFrom` of the tests. */
export function randomFrom(start) {
  let state = start | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Close in order, then let the event loop run empty. */
export async function leave(jobs) {
  await jobs.close();
  await pool?.end();
  isLeaving = true;
  process.disconnect();
}
