import { type ChildProcess, fork } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect } from "../../src/connect.ts";
import { type AnyJobDefinition, defineJob } from "../../src/job/definition.ts";
import { fixed } from "../../src/job/backoff.ts";
import { limits } from "../../src/job/limits.ts";
import type { EnqueueOptions } from "../../src/job/options.ts";
import { item } from "../../src/item.ts";
import { type Jobs } from "../../src/jobs.ts";
import { silentLogger } from "../../src/logger.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { bundled, libraryEnv } from "../support/bundled.ts";
import { isLong } from "../support/size.ts";
import type { Entry, EntryOf, FinalJob } from "./history.ts";
import type { Place, Store } from "./places.ts";

/** For a whole test, on a slow machine with much else to do. */
export const TIMEOUT_MS: number = isLong ? 1_200_000 : 240_000;
/** A process of ours that does not do what it must within this time hangs, however slow the machine is. */
const HANG_MS = 60_000;
const WAITING_STATES = ["scheduled", "available", "blocked", "running"] as const;
/** Between two looks at something that other processes change. */
const LOOK_MS = 5;

/** Children run what is built. */
export const buildChildren: () => Promise<void> = bundled;

/** The job of all these tests; its handler is in `child/worker.mjs`. */
export const work: AnyJobDefinition = defineJob({
  name: "work",
  maxRetries: Number.POSITIVE_INFINITY,
  backoff: fixed(5),
});

/** What a child is told at its start; see `child/store.mjs`. */
export interface ChildOptions {
  readonly lostAfterMs?: number;
  readonly [option: string]: unknown;
}

/** A process of a crash test. */
export class Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Everything it told the test, in order. */
  readonly told: { readonly name: string; readonly value?: unknown }[] = [];
  stderr = "";
  isOver = false;

  constructor(script: string, options: { readonly name: string } & ChildOptions) {
    this.name = options.name;
    this.process = fork(fileURLToPath(new URL(`child/${script}.mjs`, import.meta.url)), {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, ...libraryEnv(), JOBWRIGHT_CRASH_CHILD: JSON.stringify(options) },
      execArgv: [],
    });
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-4_000);
    });
    this.process.on("message", (message) => this.told.push(message as { name: string }));
    // A message to a child that is just dying is no failure of the test: what it should have done is.
    this.process.on("error", () => undefined);
    this.exited = new Promise((resolve) => {
      this.process.once("exit", (code, signal) => {
        this.isOver = true;
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    return this.process.pid as number;
  }

  send(name: string, value?: unknown): void {
    if (!this.isOver && this.process.connected) this.process.send({ name, value }, () => undefined);
  }

  tells(name: string): unknown[] {
    return this.told.filter((message) => message.name === name).map(({ value }) => value);
  }

  /** Where a process that does not move stands, as the kernel sees it. */
  state(): string {
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
      const wchan = readFileSync(`/proc/${this.pid}/wchan`, "utf8");
      return `${/^State:\s*(.*)$/m.exec(status)?.[1] ?? "unknown"}, waiting in ${wchan}`;
    } catch {
      return this.isOver ? "gone" : "unknown on this system";
    }
  }
}

/** A store, its log, and the processes that play on it. */
export class Scene implements AsyncDisposable {
  readonly place: Place;
  /** For whatever the test keeps beside the store. */
  readonly home: string;
  readonly #store: Store;
  readonly #log: string;
  readonly #logFile: number;
  readonly #children = new Set<Child>();
  readonly #mayEnd = new Set<Child>();
  #launched = 0;
  #batches = 0;
  #problem: Error | undefined;
  /** How far {@link seen} has read. */
  #read = 0;
  #rest = "";
  readonly #entries: Entry[] = [];
  /** How many entries of a kind there are, in all and by process: a long log must not be counted anew each time. */
  readonly #counts = new Map<string, number>();
  #acknowledged = 0;

  private constructor(place: Place, home: string, store: Store) {
    this.place = place;
    this.home = home;
    this.#store = store;
    this.#log = join(home, "history.log");
    this.#logFile = openSync(this.#log, "a+");
  }

  static async on(place: Place): Promise<Scene> {
    const home = mkdtempSync(join(tmpdir(), "jobwright-crash-"));
    return new Scene(place, home, await place.create(home));
  }

  launch(script: string, options: ChildOptions = {}): Child {
    this.#launched += 1;
    const child = new Child(script, {
      ...options,
      name: `${script}-${this.#launched}`,
      url: this.#store.url,
      log: this.#log,
    });
    this.#children.add(child);
    void child.exited.then(({ code, signal }) => {
      this.#children.delete(child);
      if (this.#mayEnd.has(child)) return;
      this.#problem ??= new Error(`${child.name} ended by itself (${signal ?? code}):\n${child.stderr}`);
    });
    return child;
  }

  /** From now on the child's end is no surprise. */
  expectEnd(child: Child): void {
    this.#mayEnd.add(child);
  }

  /** `kill -9`, written down before. Resolves when the kernel has taken the process away. */
  async kill(child: Child): Promise<void> {
    this.expectEnd(child);
    this.note("kill", { target: child.name });
    child.process.kill("SIGKILL");
    await this.#within(child.exited, () => `${child.name} did not die: ${child.state()}`);
  }

  /** Ask for an orderly end, as the test or as the system asks, and insist on it. */
  async end(child: Child, how: "close" | "SIGTERM" = "close"): Promise<void> {
    this.expectEnd(child);
    if (how === "close") child.send("end");
    else child.process.kill(how);
    const { code, signal } = await this.ended(child);
    if (code !== 0)
      throw new Error(`${child.name} should have ended in order: ${signal ?? code}\n${child.stderr}`);
  }

  /** Wait for its end, whatever that is. A child that hangs is named with what it does. */
  ended(child: Child): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }> {
    this.expectEnd(child);
    return this.#within(
      child.exited,
      () => `${child.name} (pid ${child.pid}) hangs: ${child.state()}\n${child.stderr}`,
    );
  }

  /** Wait until something holds. It fails early when a child ended that should not. */
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
        const states = [...this.#children].map((child) => `${child.name}: ${child.state()} ${child.stderr}`);
        throw new Error(`It never came to pass that ${what}.\n${states.join("\n")}`);
      }
      await pause(LOOK_MS);
    }
  }

  ready(child: Child): Promise<void> {
    return this.until(`${child.name} is ready`, () => child.tells("ready").length > 0);
  }

  /** @throws when a child ended that should not have */
  check(): void {
    if (this.#problem !== undefined) throw this.#problem;
  }

  note(what: Entry["what"], about: object): void {
    const at = Number(process.hrtime.bigint() / 1_000n);
    writeSync(this.#logFile, `${JSON.stringify({ at, by: "test", what, ...about })}\n`);
  }

  /** The store, from this very process, with the code under `src`. */
  connect(): Promise<Jobs> {
    return connect(this.#store.url, { logger: silentLogger });
  }

  /** Store one group and write down what was asked and answered. Answers the ids. */
  async enqueue(
    jobs: Jobs,
    items: readonly { readonly payload: object; readonly options?: EnqueueOptions }[],
  ): Promise<string[]> {
    this.#batches += 1;
    const batch = `test#${this.#batches}`;
    this.note("ask", { batch, numbers: items.map((_, number) => number) });
    const handles = await jobs.enqueueMany(
      items.map(({ payload, options }, number) => item(work, { ...payload, batch, number }, options)),
    );
    const ids = handles.map(({ id }) => id);
    this.note("ack", { batch, ids });
    return ids;
  }

  /** All that was written down by now. */
  seen(): readonly Entry[] {
    const chunk = Buffer.allocUnsafe(1 << 20);
    for (;;) {
      const n = readSync(this.#logFile, chunk, 0, chunk.length, this.#read);
      if (n === 0) return this.#entries;
      this.#read += n;
      const lines = (this.#rest + chunk.toString("latin1", 0, n)).split("\n");
      this.#rest = lines.pop() as string;
      for (const line of lines) this.#add(JSON.parse(line) as Entry);
    }
  }

  #add(entry: Entry): void {
    this.#entries.push(entry);
    const { what, by } = entry;
    for (const key of [what, `${what} ${by}`]) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    if (entry.what === "ack") this.#acknowledged += entry.ids.length;
  }

  /** How many entries of a kind were written down by now, by all or by one. */
  count(what: Entry["what"], by?: Child): number {
    this.seen();
    return this.#counts.get(by === undefined ? what : `${what} ${by.name}`) ?? 0;
  }

  /** All entries of one kind. */
  all<W extends Entry["what"]>(what: W): EntryOf<W>[] {
    return this.seen().filter((entry): entry is EntryOf<W> => entry.what === what);
  }

  /** Jobs whose enqueue was acknowledged by now. */
  get acknowledged(): number {
    this.seen();
    return this.#acknowledged;
  }

  /** Look at the store from this very process, with the code under `src`. */
  async withStorage<T>(look: (storage: Storage) => Promise<T>): Promise<T> {
    const storage = this.#store.storage();
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
        await this.until("every job has ended", () => haveAllEnded(storage));
      } catch (error) {
        const lists = await Promise.all(WAITING_STATES.map((state) => storage.list({ state, limit: 3 })));
        const left = lists.flatMap(({ jobs }) => jobs).map((job) => JSON.stringify(job));
        const processes = (await storage.processes()).map((one) => JSON.stringify(one));
        throw new Error([(error as Error).message, ...left, ...processes].join("\n"), { cause: error });
      }
    });
  }

  /**
   * Every job of the store. Nothing may write to it meanwhile.
   *
   * @throws when the storage's own counters do not agree
   */
  stored(): Promise<FinalJob[]> {
    return this.withStorage(async (storage) => {
      const found: FinalJob[] = [];
      for (const state of ["scheduled", "available", "running", "completed", "cancelled", "dead"] as const) {
        const before = found.length;
        let after: string | undefined;
        do {
          const page = await storage.list({
            state,
            limit: limits.listPage,
            ...(after === undefined ? {} : { after }),
          });
          for (const job of page.jobs) {
            const { batch, number } = JSON.parse(job.payload) as { batch: string; number: number };
            const failures = job.failures === 0 ? [] : await storage.attempts(job.id);
            found.push({
              id: String(job.id),
              batch,
              number,
              state: job.state,
              attempt: job.attempt,
              marked: job.marked,
              failures: failures.map(({ attempt, processId, error }) => ({
                attempt,
                processId,
                error: error.name,
              })),
              ...(job.result === undefined
                ? {}
                : { result: JSON.parse(job.result) as { process: string; attempt: number } }),
            });
          }
          after = page.next;
        } while (after !== undefined);
        const { n, exact } = await storage.count({ state });
        // A write that was forgotten, or made twice, shows in the counters first.
        if (exact && n !== found.length - before) {
          throw new Error(
            `The storage counts ${n} jobs that are ${state}, and lists ${found.length - before}.`,
          );
        }
      }
      return found;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const left = [...this.#children];
    for (const child of left) {
      this.expectEnd(child);
      child.process.kill("SIGKILL");
    }
    await Promise.all(left.map((child) => child.exited));
    closeSync(this.#logFile);
    // For whoever wants to look at what a failure left.
    if (process.env["JOBWRIGHT_CRASH_KEEP"] !== undefined) {
      process.stderr.write(`kept: ${this.home}, ${this.#store.url}\n`);
      return;
    }
    await this.#store.remove();
    rmSync(this.home, { recursive: true, force: true });
  }

  async #within<T>(event: Promise<T>, problem: () => string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const hangs = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(problem())), HANG_MS);
    });
    try {
      return await Promise.race([event, hangs]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * Whether no job waits or runs: one look at all states, or a job on its way from one to the other could be
 * missed in both.
 */
export async function haveAllEnded(storage: Storage): Promise<boolean> {
  const { lanes } = await storage.lanes();
  return lanes.every(({ counts }) => WAITING_STATES.every((state) => counts[state] === 0));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A line that people may copy. */
export function figure({ label }: Place, text: string): void {
  console.log(`figure: ${label}: ${text}`);
}
