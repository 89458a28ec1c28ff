// What every child of the crash tests begins with: the built library, a connection whose storage logs what
// it answers, and an end that never outlives the test.

import { openSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** A build other than the checkout's own, to try a mutant. */
const dist = process.env.JOBWRIGHT_DIST;
const base = dist === undefined ? new URL("../../../dist/", import.meta.url) : pathToFileURL(`${dist}/`);

export const jobwright = await import(new URL("index.js", base).href);
const load = (path) => import(new URL(path, base).href);

/** Set by the test: `name`, `url`, `log`, `lostAfterMs`, and what the script wants to know. */
export const options = JSON.parse(process.env.JOBWRIGHT_CRASH_CHILD);

const logFile = openSync(options.log, "a");

/** Microseconds of the kernel's monotonic clock: the same for all processes of the machine. */
export function now() {
  return Number(process.hrtime.bigint() / 1_000n);
}

/** One line, one small write to the end of the file: whole or not there, whenever the process is killed. */
export function log(what, about) {
  writeSync(logFile, `${JSON.stringify({ at: now(), by: options.name, what, ...about })}\n`);
}

/**
 * What this process dies at, if it is told to: the n-th time that `write` comes to the instant `when`. The
 * checks that this is reached are the test's.
 */
const failpoint = { write: "", when: "", nth: 0, ...options.failpoint };

function come(write, when, n) {
  if (write === failpoint.write && when === failpoint.when && n === failpoint.nth) die();
}

/** Each kind of storage: how it is made from the URL, and where it comes to the instants of its writes. */
const kinds = {
  "lmdb:": {
    async make() {
      const { LmdbStorage } = await load("storage/lmdb/index.js");
      return new LmdbStorage({ path: options.url.slice("lmdb:".length) });
    },
    /** Two environments are written: before, inside (written, not committed) and after. */
    async plant() {
      const { Environments } = await load("storage/lmdb/environments.js");
      for (const write of ["writeDurable", "writeVolatile"]) {
        const original = Environments.prototype[write];
        let calls = 0;
        Environments.prototype[write] = function (body) {
          const n = (calls += 1);
          come(write, "before", n);
          original.call(this, () => {
            body();
            come(write, "inside", n);
          });
          come(write, "after", n);
        };
      }
    },
  },
  "postgres:": {
    async make() {
      const { PostgresStorage } = await load("storage/postgres/index.js");
      const url = new URL(options.url);
      const schema = url.searchParams.get("schema");
      url.searchParams.delete("schema");
      return new PostgresStorage({ url: url.href, schema, logger: jobwright.silentLogger });
    },
    /** Every statement passes here: those alone in their transaction, and those that begin and commit one. */
    async plant() {
      const { Connection } = await load("storage/postgres/connection.js");
      const original = Connection.prototype.run;
      const inside = new WeakSet();
      const calls = { statement: 0, transaction: 0 };
      Connection.prototype.run = async function (statement, ...rest) {
        const go = () => original.call(this, statement, ...rest);
        const word = /^\w+/.exec(statement.text)?.[0];
        if (word === "begin") {
          calls.transaction += 1;
          come("transaction", "before", calls.transaction);
          inside.add(this);
          return go();
        }
        const isEnd = word === "commit" || word === "rollback";
        if (inside.has(this) && !isEnd) return go();
        if (isEnd) inside.delete(this);
        if (word === "rollback") return go();
        const write = isEnd ? "transaction" : "statement";
        const n = isEnd ? calls.transaction : (calls.statement += 1);
        if (isEnd) come(write, "inside", n);
        else come(write, "before", n);
        const answer = go();
        // It is on its way to the server, which does what it is asked for whether we live or not.
        come(write, "sent", n);
        const result = await answer;
        come(write, "after", n);
        return result;
      };
    },
  },
};
const kind = kinds[new URL(options.url).protocol];

/** `kill -9` of oneself, at once and written down. */
export function die() {
  log("kill", { target: options.name });
  process.kill(process.pid, "SIGKILL");
  // The signal is on its way; nothing else of this process may happen.
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  for (;;) Atomics.wait(nothing, 0, 0, 1_000);
}

if (options.failpoint !== undefined) await kind.plant();

/** The test is gone: so are we. An orderly end would wait for what the test was to decide. */
let isLeaving = false;
process.on("disconnect", () => {
  if (!isLeaving) process.kill(process.pid, "SIGKILL");
});

export async function connect({ watched = true } = {}) {
  const storage = await kind.make();
  tell({ name: "opening" });
  const jobs = await jobwright.connect(watched ? logged(storage) : storage, {
    lostAfter: options.lostAfterMs ?? 3_000,
    logger: jobwright.silentLogger,
  });
  return { jobs, storage };
}

/** The storage, writing down each answer that the checker needs before anybody acts on it. */
function logged(storage) {
  const settle = (sentAt, settlements, answers, process) => {
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
  const claim = (request, { known, jobs }) => {
    const { processId: process } = request;
    if (known) told(process, request.starts);
    if (jobs.length === 0) return;
    log("claim", {
      process,
      jobs: jobs.map(({ id, generation, token, marked }) => [id, generation, token, marked]),
    });
  };
  const told = (process, starts) => {
    if (starts.length > 0) log("told", { process, starts: starts.map(({ id, token }) => [id, token]) });
  };
  const own = {
    async claim(request) {
      const result = await storage.claim(request);
      claim(request, result);
      return result;
    },
    async settle(settlements) {
      const sentAt = now();
      const answers = await storage.settle(settlements);
      settle(sentAt, settlements, answers, "");
      return answers;
    },
    async exchange(settlements, request) {
      const sentAt = now();
      const result = await storage.exchange(settlements, request);
      settle(sentAt, settlements, result.settled, request.processId);
      claim(request, result.claimed);
      // For tests that want the worker to be found waiting for an answer.
      if (options.answerMs > 0) await pause(options.answerMs);
      return result;
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
  const bound = new Map();
  return new Proxy(storage, {
    get(target, key) {
      if (Object.hasOwn(own, key)) return own[key];
      const value = target[key];
      if (typeof value !== "function") return value;
      let method = bound.get(key);
      if (method === undefined) bound.set(key, (method = value.bind(target)));
      return method;
    },
  });
}

/** Tell the test something. */
export function tell(message) {
  process.send?.(message);
}

/** What the test says: one handler a message name. */
export function listen(handlers) {
  process.on("message", ({ name, value }) => void handlers[name](value));
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

/** End in an orderly way: close, then let the event loop run empty. */
export async function leave(jobs) {
  await jobs.close();
  endChannel();
}

/** Nothing but the channel to the test keeps a process alive that has closed everything. */
export function endChannel() {
  isLeaving = true;
  process.disconnect();
}

/** As {@link endChannel}, for who still has something to say. */
export function leaveChannel() {
  isLeaving = true;
  process.channel?.unref();
}
