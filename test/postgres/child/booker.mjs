// A worker whose handler books in a transaction of the application and is completed with it. What it does besides
// stands in the payload (see `booking-plan.ts`); it does so once, later runs book and commit. `BOOKER` says where.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import pg from "pg";

/** A build other than the checkout's own, to try a mutant. */
const dist = process.env.JOBWRIGHT_DIST;
const base = dist === undefined ? new URL("../../../dist/", import.meta.url) : pathToFileURL(`${dist}/`);
const jobwright = await import(new URL("index.js", base).href);
const { PostgresStorage } = await import(new URL("storage/postgres/index.js", base).href);

const { url, isolation, folder, lostAfterMs } = JSON.parse(process.env.BOOKER);
/** Longest that a transaction is held open for neighbours that are not settled. */
const PATIENCE_MS = 12_000;
/** Longest that a process sleeps with its job: the others may be dead themselves. */
const SLEEP_MS = 4_000;
/** How long a run waits for an earlier one that slept to come too late; that may have died. */
const SLEEPER_MS = 2_000;
/** How often a handler begins its transaction anew after a conflict. */
const TRIES = 3;

const pool = new pg.Pool({ connectionString: url, max: 20, application_name: "booking" });
// The test ends connections, in use or not.
pool.on("error", () => undefined);
pool.on("connect", (client) => client.on("error", () => undefined));

const die = () => process.kill(process.pid, "SIGKILL");
// The test is gone: so are we.
process.on("disconnect", die);
function fail(error) {
  throw error;
}
const tell = (name, value) => process.send({ name, value });

// ── What is known of the batches in the hands of this process ────────────────

/** The lease of each job claimed: jobs of one token came with one claim. */
const leases = new Map();
const batchOf = (id) => leases.get(id)?.token;
/** By token: transactions that have completed a job and are still open. */
const open = new Map();
/** When the handlers of neighbours returned, and which transactions were open beside them then. */
const returned = new Map();

/** Jobs whose handlers complete them once more after their commit. */
const repeating = new Set();

const openBeside = (id) => open.get(batchOf(id)) ?? new Set();

/** Neighbours of a job that have returned and whose settle is not answered. */
function unsettledBeside(id) {
  return [...returned.keys()].filter((other) => batchOf(other) === batchOf(id)).length;
}

/** The storage, followed to see what becomes of neighbours of an open transaction. */
function followed(storage) {
  const claimed = ({ jobs }) => {
    for (const { id, generation, token } of jobs) leases.set(id, { generation, token });
  };
  const settled = (settlements, answers) => {
    for (const [index, { lease }] of settlements.entries()) {
      const end = returned.get(lease.id);
      if (end === undefined) continue;
      returned.delete(lease.id);
      if (end.beside.length === 0) continue;
      const still = end.beside.some((one) => openBeside(lease.id).has(one));
      tell("neighbour", { ms: performance.now() - end.at, passed: still && answers[index] === "settled" });
    }
  };
  const own = {
    async claim(request) {
      const result = await storage.claim(request);
      claimed(result);
      return result;
    },
    async settle(settlements) {
      const answers = await storage.settle(settlements);
      settled(settlements, answers);
      return answers;
    },
    async exchange(settlements, request) {
      const result = await storage.exchange(settlements, request);
      settled(settlements, result.settled);
      claimed(result.claimed);
      return result;
    },
    async settleIn(transaction, completion) {
      const answer = await storage.settleIn(transaction, completion);
      if (answer === "stale") tell(repeating.has(completion.lease.id) ? "refused again" : "stale");
      return answer;
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

// ── A transaction of the application ─────────────────────────────────────────

const BOOK = "insert into booking (number, generation, attempt, by) values ($1, $2, $3, $4)";

/** One run of the handler, with the transactions it makes. */
class Booking {
  constructor({ number, does, dieAt, ms }, ctx) {
    this.ctx = ctx;
    this.number = number;
    this.does = does;
    this.dieAt = dieAt;
    this.ms = ms;
    /** How many there have been of this job, with this one. */
    this.runs = 1;
    this.slept = false;
    this.id = Number(ctx.job.id);
    const { generation } = leases.get(this.id);
    this.result = { number, generation, attempt: ctx.job.attempt, by: process.pid };
  }

  /** Whether no run of this job has done it, in whatever process. */
  isFirstTo(what) {
    try {
      writeFileSync(this.marker(what), "", { flag: "wx" });
      return true;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      return false;
    }
  }

  marker(what) {
    return join(folder, `${this.number} ${what}`);
  }

  at(moment) {
    if (this.dieAt === moment && this.isFirstTo("die")) die();
  }

  /** Book and complete; the transaction is left open. */
  async begin() {
    const client = await pool.connect();
    try {
      await client.query(`begin isolation level ${isolation}`);
      const sleepsFirst = this.does === "sleep, then begin" && this.isFirstTo("sleep");
      if (sleepsFirst) this.sleep();
      const booked = client.query(BOOK, Object.values(this.result));
      // Who has just slept goes on at once, before this process can find out that it was lost.
      if (!sleepsFirst) await booked;
      this.at("before it is written");
      if (this.does === "sleep, then complete" && this.isFirstTo("sleep")) this.sleep();
      const [done] = await Promise.all([this.ctx.completeIn(client, this.result), booked]);
      await this.ctx.jobs.in(client).enqueue(followUp, this.number);
      this.at("written");
      const batch = batchOf(this.id);
      const transactions = open.get(batch) ?? new Set();
      open.set(batch, transactions.add(client));
      return { client, done };
    } catch (error) {
      await this.giveBack(client, client.query("rollback"));
      if (this.slept) this.isFirstTo("awake");
      throw error;
    }
  }

  async commit(client) {
    this.neighbourhood()?.delete(client);
    const beside = [...openBeside(this.id)];
    const committed = client.query("commit");
    if (this.dieAt === "commit under way") setImmediate(() => this.at("commit under way"));
    await this.giveBack(client, committed, true);
    if (beside.some((one) => openBeside(this.id).has(one))) tell("committed beside");
    if (this.slept) this.isFirstTo("awake");
    this.at("committed");
  }

  async rollBack(client) {
    this.neighbourhood()?.delete(client);
    await this.giveBack(client, client.query("rollback"));
    tell("rolled back");
  }

  neighbourhood() {
    return open.get(batchOf(this.id));
  }

  /** To the pool once its transaction has ended; thrown away when nobody knows how that went. */
  async giveBack(client, ended, matters = false) {
    try {
      await ended;
      client.release();
    } catch (error) {
      client.release(error);
      if (matters) throw error;
    }
  }

  /** For as long as the plan says, and for as long as neighbours that have returned are kept waiting. */
  async hold() {
    tell("held");
    const since = performance.now();
    const heldMs = () => performance.now() - since;
    while (heldMs() < this.ms || (unsettledBeside(this.id) > 0 && heldMs() < PATIENCE_MS)) await pause(20);
  }

  /** Blocks the whole process, heartbeats and all, until somebody else runs this job. */
  sleep() {
    const end = performance.now() + SLEEP_MS;
    const cell = new Int32Array(new SharedArrayBuffer(4));
    const overtaken = this.marker(`run ${this.runs + 1}`);
    while (!existsSync(overtaken) && performance.now() < end) Atomics.wait(cell, 0, 0, 10);
    if (existsSync(overtaken)) tell("overtaken");
    this.slept = true;
  }

  /** Whoever slept tries to complete the job while another run of it goes on. */
  async waitForSleeper() {
    const end = performance.now() + SLEEPER_MS;
    while (!existsSync(this.marker("awake")) && performance.now() < end) await pause(20);
  }

  // ── What it does ───────────────────────────────────────────────────────────

  async run() {
    while (!this.isFirstTo(`run ${this.runs}`)) this.runs += 1;
    if (this.does.startsWith("sleep") && this.runs > 1) await this.waitForSleeper();
    if (this.does === "commit") await pause(this.ms);
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.once();
      } catch (error) {
        if (error.code !== "40001") throw error;
        tell("conflict");
        if (tries === TRIES) throw error;
      }
    }
  }

  async once() {
    const { client, done } = await this.begin();
    if (this.does === "give up") {
      await this.rollBack(client);
      throw new jobwright.UnrecoverableError("gives up");
    }
    if (this.isFirstTo(this.does)) {
      switch (this.does) {
        case "hold, then commit":
          await this.hold();
          break;
        case "hold, then roll back":
          await this.hold();
          await this.rollBack(client);
          throw new Error("held for nothing");
        case "roll back":
          await this.rollBack(client);
          throw new Error("not this time");
        case "roll back and return":
          await this.rollBack(client);
          return done;
        case "roll back, then commit":
          await this.rollBack(client);
          return this.once();
        case "return before the commit":
          this.later(() => this.commit(client));
          return done;
        case "throw before the rollback":
          this.later(() => this.rollBack(client));
          throw new Error("its transaction is still open");
        case "complete, then sleep":
          this.sleepOn();
          break;
      }
    }
    await this.commit(client);
    if (this.does === "commit and throw") throw new Error("after all was done");
    if (this.does === "commit and give up") throw new jobwright.UnrecoverableError("after all was done");
    if (this.does === "commit, then complete again") await this.again();
    if (this.dieAt === "returned") queueMicrotask(() => queueMicrotask(() => this.at("returned")));
    return done;
  }

  /** As a handler that has not heard how its commit went. */
  async again() {
    repeating.add(this.id);
    try {
      const { client } = await this.begin();
      await this.commit(client);
    } catch (error) {
      if (!(error instanceof jobwright.LeaseLostError)) throw error;
    } finally {
      repeating.delete(this.id);
    }
  }

  /** Silent for longer than its leases stand, with its completion written and not committed. */
  sleepOn() {
    const cell = new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(cell, 0, 0, lostAfterMs * 1.5);
    tell("slept");
  }

  /** What nobody waits for, as in a handler that forgot an `await`. */
  later(end) {
    const ended = async () => {
      await pause(this.ms);
      await end();
    };
    ended().catch(() => tell("lost in the end"));
  }
}

const book = jobwright.defineJob({
  name: "book",
  async run(payload, ctx) {
    try {
      return await new Booking(payload, ctx).run();
    } catch (error) {
      // A mistake of this file would be tried again for ever.
      if (error instanceof ReferenceError || error instanceof TypeError) process.nextTick(fail, error);
      throw error;
    }
  },
});

/** Has nothing to do with any transaction, and comes with the same claims. */
const neighbour = jobwright.defineJob({
  name: "neighbour",
  async run({ ms }, ctx) {
    await pause(ms);
    // Whoever has lost its lease is settled by somebody else.
    if (ctx.signal.aborted) return;
    const id = Number(ctx.job.id);
    returned.set(id, { at: performance.now(), beside: [...openBeside(id)] });
  },
});

const followUp = jobwright.defineJob({ name: "follow up", queue: "nobody serves it" });

/** Connections are ended at the start as well: then it is for the application to try again. */
async function insist(start) {
  for (;;) {
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof jobwright.StorageUnavailableError)) throw error;
    }
  }
}

const storage = followed(new PostgresStorage({ url, logger: jobwright.silentLogger }));
const jobs = await insist(() =>
  jobwright.connect(storage, {
    logger: jobwright.silentLogger,
    beatEvery: lostAfterMs / 10,
    lostAfter: lostAfterMs,
  }),
);
const worker = jobs.worker([book, neighbour], { concurrency: 8, pollInterval: 100 });
worker.on("fenced", () => tell("fenced"));
await insist(() => worker.start());
tell("ready");
