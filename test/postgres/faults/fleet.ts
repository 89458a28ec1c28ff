import { type ChildProcess, fork } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import type { JobId, JobState } from "../../../src/job/job.ts";
import { silentLogger } from "../../../src/logger.ts";
import { PostgresStorage } from "../../../src/storage/postgres/index.ts";
import { check, type FinalJob } from "../../crash/history.ts";
import { bundled, libraryEnv } from "../../support/bundled.ts";
import type { LocalServer } from "../../support/postgres/server.ts";
import { isLong } from "../../support/size.ts";
import { afterCrashes, type FaultEntry, loudestSecond, recoveryMs, type VoidClaim } from "./outages.ts";
import { type Allowed, problemsIn } from "./server-log.ts";

/** For a whole test, on a slow machine with much else to do. */
export const TIMEOUT_MS: number = isLong ? 1_800_000 : 300_000;
/** What is promised is 10 s; a slow machine must not fail a test. Measured times are figures. */
const RECOVERY_MS_MAX = 30_000;
/** A process of ours that does not do what it must within this time hangs. */
const HANG_MS = 60_000;
/** The default. */
const LOST_AFTER_MS = 25_000;
/**
 * A claim that the network held back until nobody waited for it leaves jobs with a process that does not know of
 * them; they are handed over after a minute of not being named.
 */
const END_MS = 180_000;
const LINES_PER_SECOND_MAX = 10;
const LOOK_MS = 10;
const UNFINISHED = ["scheduled", "available", "running"] as const;

/** Members run what is built. */
export const buildMembers: () => Promise<void> = bundled;

/** What a member is told at its start; see `child/member.mjs`. */
export interface MemberOptions {
  /** Options of its `PostgresStorage`; the URL and the schema are the fleet's when nothing is said. */
  readonly storage?: Readonly<Record<string, unknown>>;
  /** Options of a `pg.Pool` of the user, instead of a URL. */
  readonly pool?: Readonly<Record<string, unknown>>;
  /** The same, of a pool that only the storage uses: nobody else listens for broken connections. */
  readonly plainPool?: Readonly<Record<string, unknown>>;
  readonly lostAfterMs?: number;
  readonly [option: string]: unknown;
}

/** A process of the fleet. */
export class Member {
  readonly name: string;
  readonly process: ChildProcess;
  readonly exited: Promise<string>;
  readonly told: { readonly name: string; readonly value?: unknown }[] = [];
  stderr = "";
  isOver = false;

  constructor(script: string, name: string, options: object) {
    this.name = name;
    this.process = fork(fileURLToPath(new URL(`child/${script}.mjs`, import.meta.url)), {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, ...libraryEnv(), JOBWRIGHT_FAULTS_CHILD: JSON.stringify({ ...options, name }) },
      execArgv: [],
    });
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-4_000);
    });
    this.process.on("message", (message) => this.told.push(message as { name: string }));
    this.process.on("error", () => undefined);
    this.exited = new Promise((resolve) => {
      this.process.once("exit", (code, signal) => {
        this.isOver = true;
        resolve(`${signal ?? code}`);
      });
    });
  }

  send(name: string, value?: unknown): void {
    if (!this.isOver && this.process.connected) this.process.send({ name, value }, () => undefined);
  }

  tells(name: string): unknown[] {
    return this.told.filter((message) => message.name === name).map(({ value }) => value);
  }
}

export interface JudgeOptions {
  /** What the test has made the server complain of. */
  readonly allowed?: readonly Allowed[];
  readonly recoveryMsMax?: number;
}

/** What a fleet came to. */
export interface Verdict {
  /** Everything that must not be; the rest is for the figures. */
  readonly problems: readonly string[];
  readonly acknowledged: number;
  readonly runs: number;
  /** Claims that crashes took back. */
  readonly voids: readonly VoidClaim[];
  /** The longest time from a return of the server to work in every process. */
  readonly recoveredMs: number;
  /** Lines of the log, in the loudest second of the loudest process: before the logger leaves some out. */
  readonly linesPerSecond: number;
}

/** Processes with one storage on a server that is not to be relied on, and a journal of what they were answered. */
export class Fleet implements AsyncDisposable {
  readonly server: LocalServer;
  readonly schema: string;
  readonly url: string;
  readonly #home: string;
  readonly #journal: string;
  readonly #file: number;
  readonly #members = new Set<Member>();
  readonly #mayEnd = new Set<Member>();
  readonly #launchedNames: string[] = [];
  readonly #entries: FaultEntry[] = [];
  #read = 0;
  #rest = "";
  #launched = 0;
  #problem: Error | undefined;
  readonly #logFrom: number;

  /** @param url how members reach the server: through a proxy, as somebody else */
  constructor(server: LocalServer, options: { readonly schema?: string; readonly url?: string } = {}) {
    this.server = server;
    this.#logFrom = server.log().length;
    this.schema = options.schema ?? "jobwright";
    this.url = options.url ?? server.url;
    this.#home = mkdtempSync(join(tmpdir(), "jobwright-faults-"));
    this.#journal = join(this.#home, "journal.log");
    this.#file = openSync(this.#journal, "a+");
  }

  launch(script: string, options: MemberOptions = {}): Member {
    this.#launched += 1;
    const where = (options.pool ?? options.plainPool) === undefined ? { url: this.url } : {};
    const member = new Member(script, `${script}-${this.#launched}`, {
      lostAfterMs: LOST_AFTER_MS,
      ...options,
      storage: { schema: this.schema, ...where, ...options.storage },
      journal: this.#journal,
    });
    this.#members.add(member);
    this.#launchedNames.push(member.name);
    void member.exited.then((how) => {
      this.#members.delete(member);
      if (!this.#mayEnd.has(member)) {
        this.#problem ??= new Error(`${member.name} ended by itself (${how}):\n${member.stderr}`);
      }
    });
    return member;
  }

  /** Launch several, and wait until all work. */
  async launchAll(...members: readonly [script: string, options?: MemberOptions][]): Promise<Member[]> {
    // The schema is there first: processes that migrate at once leave a line in the server's log.
    await this.withStorage(() => Promise.resolve());
    const launched = members.map(([script, options]) => this.launch(script, options));
    await this.until("all are ready", () => launched.every((member) => member.tells("ready").length > 0));
    return launched;
  }

  /** Ask for an orderly end, and insist on it. */
  async end(member: Member): Promise<void> {
    this.check();
    this.#mayEnd.add(member);
    member.send("end");
    let timer: NodeJS.Timeout | undefined;
    const hangs = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${member.name} does not end:\n${member.stderr}`)), HANG_MS);
    });
    const how = await Promise.race([member.exited, hangs]).finally(() => clearTimeout(timer));
    if (how !== "0") throw new Error(`${member.name} should have ended in order: ${how}\n${member.stderr}`);
  }

  /** Take the server away and bring it back, written down for the judge. */
  async outage(how: "fast" | "immediate" | "kill", downMs: number): Promise<void> {
    await this.down(how);
    await pause(downMs);
    await this.up();
  }

  async down(how: "fast" | "immediate" | "kill"): Promise<void> {
    this.note("away", { isCrash: how !== "fast" });
    if (how === "kill") await this.server.kill();
    else await this.server.stop(how);
  }

  async up(): Promise<void> {
    await this.server.start();
    this.note("back");
  }

  note(what: "away" | "back", about: object = {}): void {
    const at = Number(process.hrtime.bigint() / 1_000n);
    writeSync(this.#file, `${JSON.stringify({ at, by: "test", what, ...about })}\n`);
  }

  /** Wait until something holds. It fails early when a process ended that should not. */
  async until(
    what: string,
    holds: () => boolean | Promise<boolean>,
    hangMs: number = HANG_MS,
  ): Promise<void> {
    const deadline = performance.now() + hangMs;
    for (;;) {
      this.check();
      if (await holds()) return;
      if (performance.now() > deadline) {
        const lines = this.entries().flatMap((entry) =>
          entry.what === "line" ? [`${entry.by}: ${entry.text}`] : [],
        );
        throw new Error(`It never came to pass that ${what}.\n${lines.slice(-20).join("\n")}`);
      }
      await pause(LOOK_MS);
    }
  }

  /** What the server has logged since this fleet was made. */
  log(): string {
    return this.server.log().slice(this.#logFrom);
  }

  /** Wait until every process has been answered since the server's last return. */
  async allAtWork(): Promise<void> {
    await this.until("every process is at work again", () => {
      const times = recoveryMs(this.entries(), this.#living());
      return times.every((ms) => ms < Number.POSITIVE_INFINITY);
    });
  }

  #living(): string[] {
    return [...this.#members].filter((member) => !this.#mayEnd.has(member)).map(({ name }) => name);
  }

  /** Wait until this many more jobs are acknowledged, and as many have been settled. */
  async progress(jobs: number): Promise<void> {
    const acknowledged = this.acknowledged + jobs;
    const settled = this.settled + jobs;
    await this.until("work goes on", () => this.acknowledged >= acknowledged && this.settled >= settled);
  }

  /** @throws when a process ended that should not have */
  check(): void {
    if (this.#problem !== undefined) throw this.#problem;
  }

  /** All that was written down by now. */
  entries(): readonly FaultEntry[] {
    const chunk = Buffer.allocUnsafe(1 << 20);
    for (;;) {
      const n = readSync(this.#file, chunk, 0, chunk.length, this.#read);
      if (n === 0) return this.#entries;
      this.#read += n;
      const lines = (this.#rest + chunk.toString("latin1", 0, n)).split("\n");
      this.#rest = lines.pop() as string;
      for (const line of lines) this.#add(JSON.parse(line) as FaultEntry);
    }
  }

  #acknowledged = 0;
  #settled = 0;
  #runs = 0;

  #add(entry: FaultEntry): void {
    this.#entries.push(entry);
    if (entry.what === "ack") this.#acknowledged += entry.ids.length;
    else if (entry.what === "start") this.#runs += 1;
    else if (entry.what === "settle") {
      this.#settled += entry.runs.filter(([, , , , answer]) => answer === "settled").length;
    }
  }

  get acknowledged(): number {
    this.entries();
    return this.#acknowledged;
  }

  /** Ends of runs that the storage has accepted. */
  get settled(): number {
    this.entries();
    return this.#settled;
  }

  /** A look at the storage from this very process, around all that is put in the way of the others. */
  async withStorage<T>(look: (storage: PostgresStorage) => Promise<T>): Promise<T> {
    const storage = new PostgresStorage({ url: this.server.url, schema: this.schema, logger: silentLogger });
    await storage.open();
    try {
      return await look(storage);
    } finally {
      await storage.close();
    }
  }

  /** Wait until no job waits or runs any more. */
  async allEnded(): Promise<void> {
    await this.withStorage(async (storage) => {
      try {
        // One look at all states: between two, a job could go from one to the other and be seen in neither.
        const hasNone = async (): Promise<boolean> => {
          const { lanes } = await storage.lanes();
          return lanes.every(({ counts }) => UNFINISHED.every((state) => counts[state] === 0));
        };
        await this.until("every job has ended", hasNone, END_MS);
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${await this.#left()}`, { cause: error });
      }
    });
  }

  /** Some of the jobs that have not ended, with whatever is said of them in the tables. */
  async #left(): Promise<string> {
    const s = pg.escapeIdentifier(this.schema);
    const rows = await this.server.query(
      `select to_jsonb(j) - 'payload' as job,
        (select jsonb_agg(r) from ${s}.ready as r where r.id = j.id) as ready,
        (select jsonb_agg(w) from ${s}.scheduled as w where w.id = j.id) as scheduled,
        (select jsonb_agg(l) from ${s}.lease as l where j.id = any (l.ids)) as leases
      from ${s}.job as j order by j.id limit 5`,
    );
    return rows.map((row) => JSON.stringify(row)).join("\n");
  }

  /** End the spawners, wait for the last job, end the workers. */
  async finish(spawners: readonly Member[], workers: readonly Member[]): Promise<void> {
    await Promise.all(spawners.map((member) => this.end(member)));
    await this.allEnded();
    await Promise.all(workers.map((member) => this.end(member)));
  }

  /** Whatever has happened: nothing lost, nothing twice, nobody loud, and a server without complaints. */
  async judge(options: JudgeOptions = {}): Promise<Verdict> {
    this.check();
    const all = this.entries();
    const { entries, voids, problems } = afterCrashes(all);
    const stored = await this.#stored();
    const violations = check(entries, stored, { lostAfterMs: LOST_AFTER_MS });
    const recoveredMs = Math.max(0, ...recoveryMs(all, this.#launchedNames));
    const loudest = loudestSecond(all);
    const { allowed = [], recoveryMsMax = RECOVERY_MS_MAX } = options;
    return {
      problems: [
        ...problems,
        ...violations.map(({ name, about, story = [] }) => [`${name}: ${about}`, ...story].join("\n  ")),
        ...problemsIn(this.log(), allowed),
        ...(recoveredMs < recoveryMsMax
          ? []
          : [`a process was at work only ${shown(recoveredMs)} after a return`]),
        ...(loudest.shown <= LINES_PER_SECOND_MAX
          ? []
          : [`a process logged ${loudest.shown} lines in a second`]),
      ],
      acknowledged: this.acknowledged,
      runs: this.#runs,
      voids,
      recoveredMs,
      linesPerSecond: loudest.said,
    };
  }

  #stored(): Promise<FinalJob[]> {
    return this.withStorage(async (storage) => {
      const found: FinalJob[] = [];
      for (const state of ["scheduled", "available", "running", "completed", "cancelled", "dead"] as const) {
        found.push(...(await listed(storage, state)));
      }
      return found;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const left = [...this.#members];
    for (const member of left) {
      this.#mayEnd.add(member);
      member.process.kill("SIGKILL");
    }
    await Promise.all(left.map((member) => member.exited));
    closeSync(this.#file);
    if (process.env["JOBWRIGHT_CRASH_KEEP"] === undefined) {
      rmSync(this.#home, { recursive: true, force: true });
      return;
    }
    // For whoever wants to look at what a failure left.
    writeFileSync(join(this.#home, "server.log"), this.log());
    process.stderr.write(`kept: ${this.#home}\n`);
  }
}

/** All jobs in a state, as the judge wants them. @throws when the storage's own count does not agree */
async function listed(storage: PostgresStorage, state: JobState): Promise<FinalJob[]> {
  const found: FinalJob[] = [];
  let after: string | undefined;
  do {
    const page = await storage.list({ state, limit: 1_000, ...(after === undefined ? {} : { after }) });
    for (const job of page.jobs) {
      const { batch, number } = JSON.parse(job.payload) as { batch: string; number: number };
      const failures = job.failures === 0 ? [] : await failuresOf(storage, job.id);
      const base = {
        id: String(job.id),
        batch,
        number,
        state: job.state,
        attempt: job.attempt,
        marked: job.marked,
        failures,
      };
      found.push(
        job.result === undefined
          ? base
          : { ...base, result: JSON.parse(job.result) as { process: string; attempt: number } },
      );
    }
    after = page.next;
  } while (after !== undefined);
  const { n } = await storage.count({ state });
  if (n !== found.length)
    throw new Error(`The storage counts ${n} jobs that are ${state}, and lists ${found.length}.`);
  return found;
}

async function failuresOf(storage: PostgresStorage, id: JobId): Promise<FinalJob["failures"]> {
  const attempts = await storage.attempts(id);
  return attempts.map(({ attempt, processId, error }) => ({ attempt, processId, error: error.name }));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A line that people may copy. */
export function figure(text: string): void {
  console.log(`figure: ${text}`);
}

/** A figure in ms as people read it. */
export function shown(ms: number): string {
  return `${Math.round(ms)} ms`;
}
