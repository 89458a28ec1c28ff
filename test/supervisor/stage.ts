import { type ChildProcess, fork } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect } from "../../src/connect.ts";
import type { Duration } from "../../src/duration.ts";
import { fixed } from "../../src/job/backoff.ts";
import { type AnyJobDefinition, defineJob } from "../../src/job/definition.ts";
import type { Jobs } from "../../src/jobs.ts";
import { type Logger, silentLogger } from "../../src/logger.ts";
import type {
  SupervisedChild,
  Supervisor,
  SupervisorEvents,
  SupervisorOptions,
} from "../../src/supervisor/index.ts";
import type * as supervisorModule from "../../src/supervisor/index.ts";
import { built, root } from "../support/built.ts";
import { until } from "../support/world.ts";

/** Far beyond what any of these tests takes: only what the Supervisor tells the storage can be sooner. */
export const LOST_AFTER = "60s";

/** For a whole test, on a slow machine with much else to do. */
export const TIMEOUT_MS: number = 240_000;

/** For a result that must come. */
export const WAIT: { readonly timeout: Duration } = { timeout: "120s" };

/** The job whose handlers stand in `module/worker.mjs`. */
export const act: AnyJobDefinition = defineJob({ name: "act", backoff: fixed(1) });

const dist: string = process.env["JOBWRIGHT_DIST"] ?? join(root, "dist");

/** Children run what is built. */
export async function buildChildren(): Promise<void> {
  if (process.env["JOBWRIGHT_DIST"] === undefined) await built();
}

/** The Supervisor as it is built: its children are files beside it. Loaded by Node itself, not by the tests' loader. */
export function builtSupervisor(): typeof supervisorModule {
  const require = createRequire(import.meta.url);
  return require(join(dist, "supervisor/index.js")) as typeof supervisorModule;
}

/** A run as its handler wrote it down. */
export interface Start {
  readonly id: string;
  readonly attempt: number;
  readonly at: number;
  readonly pid: number;
  readonly threadId: number;
}

/** A folder like a user's project, and what the tests start in it. */
export class Stage implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "jobwright-supervisor-"));
  readonly log: string = join(this.folder, "log");
  readonly lines: string[] = [];
  readonly #open: (() => Promise<unknown>)[] = [];

  constructor() {
    mkdirSync(join(this.folder, "node_modules"));
    symlinkSync(dirname(dist), join(this.folder, "node_modules/jobwright"));
    writeFileSync(join(this.folder, "package.json"), JSON.stringify({ type: "module" }));
    writeFileSync(this.log, "");
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** A module of `module/`, or one with this text. */
  module(name: string, text?: string): string {
    const path = this.path(name);
    if (text === undefined) copyFileSync(fileURLToPath(new URL(`module/${name}`, import.meta.url)), path);
    else writeFileSync(path, text);
    return path;
  }

  /** Let those go on who wait for this file. */
  go(name: string): void {
    appendFileSync(this.path(name), "");
  }

  /** Keeps what the Supervisor logs. */
  get logger(): Logger {
    const keep = (message: string): void => void this.lines.push(message);
    return { debug: keep, info: keep, warn: keep, error: keep };
  }

  supervisor(options: SupervisorOptions): Watched {
    const { Supervisor: Built } = builtSupervisor();
    const connectOptions = { lostAfter: LOST_AFTER, beatEvery: "100ms" } as const;
    const supervisor = new Built({ connect: connectOptions, logger: this.logger, ...options });
    this.#open.push(() => supervisor.stop({ timeout: 0 }));
    return new Watched(supervisor);
  }

  async connect(...[target, options = {}]: Parameters<typeof connect>): Promise<Jobs> {
    const jobs = await connect(target, { logger: silentLogger, ...options });
    this.#open.push(() => jobs.close());
    return jobs;
  }

  /** A program of `child/`, told this. */
  program(name: string, about: object): ChildProcess {
    const program = fork(fileURLToPath(new URL(`child/${name}`, import.meta.url)), {
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: { ...process.env, JOBWRIGHT_TEST_DIST: dist, JOBWRIGHT_TEST_ABOUT: JSON.stringify(about) },
      execArgv: [],
    });
    this.#open.push(async () => program.kill("SIGKILL"));
    return program;
  }

  /** Every run that began by now. */
  starts(): Start[] {
    const lines = readFileSync(this.log, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Start);
  }

  /** The n-th run of a job, when it has begun. */
  async start(id: string, attempt: number): Promise<Start> {
    const find = (): Start | undefined =>
      this.starts().find((one) => one.id === id && one.attempt === attempt);
    await until(() => find() !== undefined);
    return find() as Start;
  }

  /** Until the storage knows of a start as well: beats carry them. Before that a loss spends no attempt. */
  async toldStart(jobs: Jobs, { pid, at }: Start): Promise<void> {
    await until(async () => {
      const heard = (await jobs.processes()).filter((one) => one.pid === pid && one.running > 0);
      return heard.some(({ silentMs }) => Date.now() - silentMs > at + 50);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#open.reverse()) await end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

type Told = { [E in keyof SupervisorEvents]: { readonly event: E; readonly about: SupervisorEvents[E][0] } };

/** A Supervisor, and everything it told. */
export class Watched {
  readonly supervisor: Supervisor;
  readonly told: Told[keyof SupervisorEvents][] = [];

  constructor(supervisor: Supervisor) {
    this.supervisor = supervisor;
    const events = ["started", "ready", "blocked", "exited", "restarting", "stopping", "stopped"] as const;
    for (const event of events) {
      supervisor.on(event, (about?: unknown) => void this.told.push({ event, about } as never));
    }
  }

  all<E extends keyof SupervisorEvents>(event: E): SupervisorEvents[E][0][] {
    return this.told.filter((one) => one.event === event).map(({ about }) => about as SupervisorEvents[E][0]);
  }

  /** Until it has told this so many times. */
  async until(event: keyof SupervisorEvents, times: number): Promise<void> {
    await until(() => this.all(event).length >= times);
  }

  get children(): readonly SupervisedChild[] {
    return this.supervisor.children;
  }
}

/** Whether a process is there, a dead one that nobody has waited for not counted. */
export function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const status = `/proc/${pid}/stat`;
  return !existsSync(status) || !/\) Z/.test(readFileSync(status, "utf8"));
}
