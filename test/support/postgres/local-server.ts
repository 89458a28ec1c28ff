import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { appendFileSync, closeSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createDatabase, dropDatabase, query, type Row } from "./database.ts";
import { makeDataFolder, makeServerFolder, removeFolder, serverUser } from "./folder.ts";
import { type Guard, guard } from "./guard.ts";
import { childrenOf, postmasterFile, signal, untilGone } from "./processes.ts";
import { copyTemplate, type Template } from "./template.ts";

export interface ServerOptions {
  /**
   * Whether commits are synced to disk, so that a power cut of the machine would keep them. A killed
   * server keeps them either way: the kernel has them.
   *
   * @default false
   */
  readonly fsync?: boolean;
  /** Lines of `postgresql.conf`: `{ max_connections: 20, default_transaction_isolation: "serializable" }`. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** The text of `pg_hba.conf`, for tests of passwords. @default everybody is trusted */
  readonly hba?: string;
  /** Start as a standby without a primary: it answers, read-only, until `select pg_promote()`. A standby
   * must allow at least 100 connections. */
  readonly isStandby?: boolean;
}

/** How long a server may take to start (with recovery) or to stop. */
const DEADLINE_MS = 60_000;

/** A PostgreSQL server of our own, in a folder of its own, on a port that it keeps over restarts. */
export class LocalServer implements AsyncDisposable {
  readonly port: number;
  readonly #postgres: string;
  readonly #folder: string;
  readonly #guard: Guard;
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();

  private constructor(postgres: string, folder: string, port: number, itsGuard: Guard) {
    this.#postgres = postgres;
    this.#folder = folder;
    this.port = port;
    this.#guard = itsGuard;
  }

  /** Make a server from the template and start it. */
  static async start(template: Template, options: ServerOptions = {}): Promise<LocalServer> {
    const folder = makeDataFolder();
    const itsGuard = guard(folder);
    try {
      const data = makeServerFolder(join(folder, "data"));
      await copyTemplate(template, data);
      configure(data, options);
      const server = new LocalServer(template.postgres, folder, await freePort(), itsGuard);
      await server.start();
      return server;
    } catch (error) {
      itsGuard.end();
      throw error;
    }
  }

  /** As superuser, in the database "postgres". */
  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  /** The process id of the postmaster; `undefined` when it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Start (again) on the same data and port, and wait until connections are taken. */
  async start(): Promise<void> {
    if (this.#child !== undefined) return;
    const log = openSync(this.#logPath, "a");
    const child = spawn(this.#postgres, ["-D", this.#data, "-p", `${this.port}`], {
      ...serverUser,
      cwd: this.#folder,
      // A terminal's Ctrl-C is for vitest, which ends its servers in order.
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    const failure = new Promise<Error>((resolve) => child.once("error", resolve));
    this.#gone = new Promise((resolve) => {
      const end = (): void => {
        this.#child = undefined;
        this.#guard.watch(undefined);
        resolve();
      };
      child.once("exit", end);
      child.once("error", end);
    });
    this.#child = child;
    child.unref();
    this.#guard.watch(child.pid);

    const end = performance.now() + DEADLINE_MS;
    for (;;) {
      const lines = postmasterFile(this.#data);
      // The first line is the process, the eighth its state: what pg_ctl looks at.
      if (Number(lines[0]) === child.pid && /^(ready|standby)\s*$/.test(lines[7] ?? "")) return;
      if (this.#child !== child) {
        const error = child.pid === undefined ? ` ${(await failure).message}` : "";
        throw new Error(`PostgreSQL did not start:${error}\n${this.log().slice(-4_000)}`);
      }
      if (performance.now() > end) {
        await this.kill();
        throw new Error(`PostgreSQL did not start in ${DEADLINE_MS} ms:\n${this.log().slice(-4_000)}`);
      }
      await pause(5);
    }
  }

  /**
   * Shut down and wait for the end. "fast" ends sessions with 57P01 and writes a checkpoint; "immediate"
   * only warns them (57P02), hangs up, and leaves recovery to the next start.
   */
  async stop(mode: "fast" | "immediate" = "fast"): Promise<void> {
    const pid = this.pid;
    if (pid === undefined) return;
    signal(pid, mode === "fast" ? "SIGINT" : "SIGQUIT");
    const late = new AbortController();
    const isLate = await Promise.race([
      this.#gone.then(() => false),
      pause(DEADLINE_MS, true, { signal: late.signal, ref: true }).catch(() => false),
    ]);
    late.abort();
    if (!isLate) return;
    await this.kill();
    throw new Error(`PostgreSQL did not stop in ${DEADLINE_MS} ms:\n${this.log().slice(-4_000)}`);
  }

  /** `kill -9` of every process of the server at one moment, and wait until all are gone. */
  async kill(): Promise<void> {
    const pid = this.pid;
    if (pid === undefined) return;
    // Stopped, it neither makes new children nor notices the death of one.
    signal(pid, "SIGSTOP");
    const all = [...childrenOf(pid), pid];
    for (const one of all) signal(one, "SIGKILL");
    await this.#gone;
    // A child that lives on holds the shared memory, and the next start would be refused.
    for (const one of all) await untilGone(one);
    // Nobody lives, so the file says nothing true; by now its number may be somebody else's.
    freeSharedMemory(postmasterFile(this.#data));
    rmSync(join(this.#data, "postmaster.pid"), { force: true });
  }

  /** Everything the server has logged since it was made. */
  log(): string {
    return readFileSync(this.#logPath, "utf8");
  }

  /** Run one statement on a connection of its own. */
  query(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    return query(this.url, sql, values);
  }

  /** Make an empty database. Answers its URL. */
  createDatabase(): Promise<string> {
    return createDatabase(this.url);
  }

  dropDatabase(url: string): Promise<void> {
    return dropDatabase(this.url, url);
  }

  /** Stop it and remove its folder. Also done when this process ends without having asked for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("immediate");
    removeFolder(this.#folder);
    this.#guard.end();
  }

  get #data(): string {
    return join(this.#folder, "data");
  }

  get #logPath(): string {
    return join(this.#folder, "log");
  }
}

function configure(data: string, options: ServerOptions): void {
  const isSynced = options.fsync ?? false;
  const settings = { fsync: isSynced, full_page_writes: isSynced, ...options.settings };
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`,
  );
  appendFileSync(join(data, "postgresql.conf"), lines.join(""));
  if (options.hba !== undefined) writeFileSync(join(data, "pg_hba.conf"), `${options.hba}\n`);
  if (options.isStandby) writeFileSync(join(data, "standby.signal"), "");
}

/** The block by which servers of one data folder notice each other; a killed one leaves it behind. */
function freeSharedMemory(lines: readonly string[]): void {
  const id = /^\s*\d+\s+(\d+)\s*$/.exec(lines[6] ?? "")?.[1];
  if (id !== undefined) spawnSync("ipcrm", ["-m", id], { stdio: "ignore" });
}

/**
 * A port below those that the system gives to outgoing connections: one of these could take the port
 * while the server is down.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    if ((await isFree(port)) && !(await answers(port))) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Somebody may listen on all addresses beside our one. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
