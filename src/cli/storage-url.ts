import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError, StorageUnavailableError } from "../errors.ts";
import type { Jobs } from "../jobs.ts";
import { type Logger, silentLogger } from "../logger.ts";
import type { Storage } from "../storage/storage.ts";
import { type Config, loadConfig } from "./config-file.ts";
import type { Terminal } from "./terminal.ts";

/** Options of every command that goes to a storage. */
export interface StorageOptions {
  readonly url?: string;
  readonly config?: string;
  readonly timeout?: string;
}

const TIMEOUT = "10s";

/** Add those options to a command. */
export function withStorage(command: Command): Command {
  return withConfig(
    command.option("--url <url>", "the storage: lmdb:./folder, postgres://…, ws://…, wss://… or zmq://…"),
  );
}

/** Those of them that say nothing of which storage it is. */
export function withConfig(command: Command): Command {
  return command
    .option("--config <file>", "use this config file and look for no other")
    .option(
      "--timeout <time>",
      `give up when the storage cannot be reached for so long (default: ${TIMEOUT})`,
    );
}

/** Where the jobs are, and what else the config file says. */
export interface Place {
  readonly url: string;
  readonly config: Config;
}

/** Flag before environment before file. @throws InvalidOptionError */
export async function placeOf(options: StorageOptions, terminal: Terminal): Promise<Place> {
  const config = await loadConfig(terminal.cwd, options.config);
  const url = options.url ?? fromEnv(terminal, "JOBWRIGHT_URL") ?? config.url;
  if (url === undefined) {
    throw new InvalidOptionError(
      "--url",
      url,
      "Say where the jobs are: --url lmdb:./jobs, the variable JOBWRIGHT_URL, or `url` in jobwright.config.json.",
    );
  }
  return { url, config };
}

/** A variable that is empty is not set. */
export function fromEnv(terminal: Terminal, name: string): string | undefined {
  const value = terminal.env[name];
  return value === "" ? undefined : value;
}

/**
 * Do something with the jobs that are somewhere, and let go of them.
 *
 * @param makes whether a store that is not there yet is made
 * @throws StorageUnavailableError when they cannot be reached in time, and what `use` throws
 */
export async function withJobs<T>(
  options: StorageOptions,
  terminal: Terminal,
  use: (jobs: Jobs) => Promise<T>,
  makes = false,
): Promise<T> {
  const { url } = await placeOf(options, terminal);
  refusePrivate(url, makes);
  const jobs = await openJobs(url, options, silentLogger);
  try {
    return await use(jobs);
  } finally {
    await jobs.close();
  }
}

/** The jobs at a URL. @throws StorageUnavailableError when they cannot be reached in time */
export async function openJobs(url: string, options: StorageOptions, logger: Logger): Promise<Jobs> {
  // Not before there is something to connect to: help and mistakes are answered without it.
  const { connect, storageFor } = await import("../connect.ts");
  const storage = await storageFor(url, { logger });
  return inTime(storage, timeoutOf(options), () => connect(storage, { logger }));
}

/** Open a storage, and close it again when that takes too long or fails. */
export async function inTime<T>(storage: Storage, timeoutMs: number, open: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const remedy = "Check that it runs and that the address is right, or wait longer with --timeout.";
      reject(
        new StorageUnavailableError(`${storage.label} did not answer within ${timeoutMs} ms. ${remedy}`),
      );
    }, timeoutMs);
  });
  const opening = open();
  try {
    return await Promise.race([opening, late]);
  } catch (error) {
    // An attempt that goes on would keep the process alive; how it ends is of no interest any more.
    opening.catch(() => undefined);
    await storage.close().catch(() => undefined);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** @throws InvalidOptionError */
export function timeoutOf({ timeout = TIMEOUT }: StorageOptions): number {
  return toMs(timeout as Duration, "--timeout", { min: 1, max: 86_400_000 });
}

/**
 * A storage in memory ends with the command, and a store that is not there would be made, empty, by a look.
 *
 * @throws InvalidOptionError or StorageUnavailableError
 */
function refusePrivate(url: string, makes: boolean): void {
  if (url.startsWith("memory:")) {
    throw new InvalidOptionError(
      "--url",
      url,
      "A storage in memory ends with this command. Use lmdb:./folder, or a job server: jobwright serve memory:",
    );
  }
  const folder = /^lmdb:(?!~|[a-z]+:)(.+)$/s.exec(url)?.[1];
  if (!makes && folder !== undefined && !existsSync(join(folder, "store.mdb"))) {
    throw new StorageUnavailableError(
      `There is no store in ${JSON.stringify(folder)}. Check the path; the first job that is enqueued makes it.`,
    );
  }
}
