import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { libraryEnv } from "../support/bundled.ts";

/** What processes of a fleet tell; see `child/booker.mjs`. */
const TOLD = [
  "ready",
  "held",
  "rolled back",
  "committed beside",
  "conflict",
  "stale",
  "refused again",
  "overtaken",
  "slept",
  "lost in the end",
  "fenced",
] as const;
type Told = (typeof TOLD)[number];

export interface FleetOptions {
  readonly url: string;
  readonly isolation: string;
  readonly processes: number;
  /** Silence after which a process counts as lost. */
  readonly lostAfterMs: number;
  readonly random: () => number;
}

/**
 * After how many ends of jobs a process is killed, and a connection ended: the same harm to all of the work, however
 * slow the machine is. Each comes a little later, so that it meets any moment.
 */
const KILL_EVERY = 25;
const TERMINATE_EVERY = 4;
const LATER_MS = 200;
const LOOK_MS = 10;
/** So many of them meet a transaction of the application, when there is one, besides those that do by chance. */
const IN_TRANSACTION = 0.2;

/** Processes that book, and somebody who kills them and ends their connections until they are done. */
export class BookingFleet implements AsyncDisposable {
  /** How often each thing was told. What a process tells at its very end may be lost. */
  readonly told: Record<Told, number> = Object.fromEntries(TOLD.map((name) => [name, 0])) as Record<
    Told,
    number
  >;
  /** Neighbours that returned beside an open transaction of their batch: how long their settles took. */
  longestSettleMs = 0;
  /** Those of them that were settled while it was still open. */
  passed = 0;
  /** How many jobs have ended, as the test has seen. */
  ended = 0;
  /** Processes killed by the test, and all that died. */
  killed = 0;
  died = 0;
  /** Connections ended: of the application in a transaction, of the application, of the storage. */
  readonly terminated = { "in transaction": 0, booking: 0, jobwright: 0 };

  readonly #options: FleetOptions;
  readonly #folder = mkdtempSync(join(tmpdir(), "jobwright-bookings-"));
  readonly #over = new AbortController();
  readonly #ready = new Set<ChildProcess>();
  readonly #work: Promise<unknown>;
  #stderr = "";

  constructor(options: FleetOptions) {
    this.#options = options;
    const places = Array.from({ length: options.processes }, () => this.#keepAlive());
    this.#work = Promise.all([...places, this.#kill(), this.#terminate()]);
    this.#work.catch(() => this.#over.abort());
  }

  /** What the processes have written to standard error. */
  get stderr(): string {
    return this.#stderr;
  }

  /** @throws when a process ended by itself, or the test could do no harm any more */
  async whileItWorks<T>(body: Promise<T>): Promise<T> {
    const isOver = this.#work.then(() => Promise.reject(new Error("The fleet is over.")));
    return Promise.race([body, isOver]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#work.catch(() => undefined);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #keepAlive(): Promise<void> {
    while (!this.#over.signal.aborted) await this.#live();
  }

  /** One process, from its start to its death. */
  async #live(): Promise<void> {
    const { url, isolation, lostAfterMs } = this.#options;
    const child = fork(fileURLToPath(new URL("./child/booker.mjs", import.meta.url)), {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: {
        ...process.env,
        ...libraryEnv(),
        BOOKER: JSON.stringify({ url, isolation, lostAfterMs, folder: this.#folder }),
      },
      execArgv: [],
    });
    const kill = (): void => void child.kill("SIGKILL");
    this.#over.signal.addEventListener("abort", kill);
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4_000);
    });
    child.on("message", (message) => this.#hear(child, message as Message));
    const ended = await new Promise<string>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => resolve(`${signal ?? code}`));
    });
    this.#ready.delete(child);
    this.#over.signal.removeEventListener("abort", kill);
    // Any other end is a defect, and would otherwise repeat itself for ever.
    if (ended !== "SIGKILL") throw new Error(`A process ended by itself (${ended}):\n${this.#stderr}`);
    if (!this.#over.signal.aborted) this.died += 1;
  }

  #hear(child: ChildProcess, { name, value }: Message): void {
    if (name === "neighbour") {
      this.longestSettleMs = Math.max(this.longestSettleMs, value.ms);
      if (value.passed) this.passed += 1;
      return;
    }
    this.told[name] += 1;
    if (name === "ready") this.#ready.add(child);
  }

  /** Only those that work: a process killed at its start has done nothing yet. */
  async #kill(): Promise<void> {
    for (let next = KILL_EVERY; await this.#reaches(next); next = this.ended + KILL_EVERY) {
      const ready = [...this.#ready];
      const victim = ready[Math.floor(this.#options.random() * ready.length)];
      if (victim?.kill("SIGKILL")) this.killed += 1;
    }
  }

  async #terminate(): Promise<void> {
    const client = new pg.Client({ connectionString: this.#options.url, application_name: "killer" });
    await client.connect();
    try {
      for (let next = TERMINATE_EVERY; await this.#reaches(next); next = this.ended + TERMINATE_EVERY) {
        const { rows } = await client.query<{ kind: keyof BookingFleet["terminated"] }>(TERMINATE, [
          this.#options.random() < IN_TRANSACTION,
        ]);
        for (const { kind } of rows) this.terminated[kind] += 1;
      }
    } finally {
      await client.end();
    }
  }

  /** Waits until so many jobs have ended, and a little longer. Answers whether the fleet goes on. */
  async #reaches(ended: number): Promise<boolean> {
    const { signal } = this.#over;
    while (this.ended < ended && !signal.aborted) await pause(LOOK_MS);
    await pause(this.#options.random() * LATER_MS, undefined, { signal }).catch(() => undefined);
    return !signal.aborted;
  }
}

type Message =
  | { readonly name: Told; readonly value?: undefined }
  | { readonly name: "neighbour"; readonly value: { readonly ms: number; readonly passed: boolean } };

/** One connection of chance. */
const TERMINATE = `
  with chosen as materialized (
    select pid, kind from (
      select pid, case when application_name = 'booking' and xact_start is not null then 'in transaction'
        else application_name end as kind
      from pg_stat_activity
      where datname = current_database() and application_name in ('booking', 'jobwright')
    ) as connection
    where kind = 'in transaction' or not $1::boolean
    order by random() limit 1
  )
  select kind from chosen where pg_terminate_backend(pid)`;
