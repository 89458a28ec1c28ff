import { resolve } from "node:path";
import type { Command } from "commander";
import { InvalidOptionError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { WorkerSettings } from "../worker/options.ts";
import { type CommandModule, withJson } from "./command.ts";
import type { Config } from "./config-file.ts";
import { fromEnv, placeOf, type StorageOptions, withStorage } from "./storage-url.ts";
import type { Terminal } from "./terminal.ts";
import { terminalLogger } from "./terminal-logger.ts";
import { queuesFrom, wholeNumberIf } from "./values.ts";
import { workHere } from "./work-here.ts";
import { workSupervised } from "./work-supervised.ts";

interface Options extends StorageOptions {
  readonly queues?: string;
  readonly concurrency?: string;
  readonly processes?: string;
  readonly threads?: string;
  readonly name?: string;
  readonly json?: true;
}

/** What is to be worked on, by what. */
export interface WorkPlan {
  readonly url: string;
  /** How messages call the storage. */
  readonly label: string;
  /** Paths. */
  readonly modules: readonly string[];
  readonly settings: WorkerSettings;
  readonly storage: StorageOptions;
  readonly logger: Logger;
  readonly json: boolean;
}

/** Run jobs until a signal comes. */
export const work: CommandModule = (command, bind) => {
  describe(command);
  bind<Options>(command, async (modules, options, terminal) => {
    const { url, config } = await placeOf(options, terminal);
    if (url.startsWith("memory:")) {
      const remedy =
        "Nobody else reaches a storage in memory. Offer it with `jobwright serve memory:`, and use its URL.";
      throw new InvalidOptionError("--url", url, remedy);
    }
    const logger = terminalLogger(terminal);
    const { storageFor } = await import("../connect.ts");
    const plan: WorkPlan = {
      url,
      label: (await storageFor(url, { logger })).label,
      modules: modulesOf(modules, config, terminal),
      settings: settingsOf(options, config, terminal),
      storage: options,
      logger,
      json: options.json === true,
    };
    const processes = wholeNumberIf(options.processes, "--processes");
    const threads = wholeNumberIf(options.threads, "--threads");
    if (processes !== undefined && threads !== undefined) {
      throw new InvalidOptionError("--threads", threads, "Use either --processes or --threads.");
    }
    const isChosen = processes !== undefined || threads !== undefined;
    const children = isChosen
      ? { processes, threads }
      : { processes: config.processes, threads: config.threads };
    return children.processes === undefined && children.threads === undefined
      ? workHere(plan, terminal)
      : workSupervised(plan, children, terminal);
  });
};

function describe(command: Command): void {
  withStorage(
    command
      .description(
        "Runs the jobs that modules define: every job with a handler that they export, and worker options exported as " +
          "`worker`. TypeScript is read as it is. SIGTERM or SIGINT ends it: nothing more is claimed, running jobs may " +
          "end, the rest is given back, and it ends with 0. A second signal ends it at once.",
      )
      .usage("<module...> [options]")
      .argument("[module...]", "files that export jobs (default: `modules` of the config file)")
      .option(
        "--queues <list>",
        "queues to serve, with their slots: mail,images=5, or * for all (default: those of the jobs)",
      )
      .option("--concurrency <number>", "jobs of each queue that run at once (default: 10)")
      .option("--processes <number>", "run so many processes, and start those again that die")
      .option("--threads <number>", "run so many threads instead")
      .option("--name <name>", "how `jobwright processes` calls it"),
  );
  withJson(command);
}

function modulesOf(given: readonly string[], config: Config, terminal: Terminal): string[] {
  const modules = given.length > 0 ? given : config.modules;
  if (modules === undefined || modules.length === 0) {
    throw new InvalidOptionError(
      "<module...>",
      undefined,
      "Name a module that exports jobs: jobwright work ./jobs.ts",
    );
  }
  return modules.map((module) => resolve(terminal.cwd, module));
}

/** Flag before environment before file; what none of them says, a module may say. */
function settingsOf(options: Options, config: Config, terminal: Terminal): WorkerSettings {
  const concurrency =
    wholeNumberIf(options.concurrency ?? fromEnv(terminal, "JOBWRIGHT_CONCURRENCY"), "--concurrency") ??
    config.concurrency;
  const list = options.queues ?? fromEnv(terminal, "JOBWRIGHT_QUEUES");
  const queues = list === undefined ? config.queues : queuesFrom(list, concurrency);
  const name = options.name ?? config.name;
  return {
    ...(queues === undefined ? {} : { queues }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(name === undefined ? {} : { name }),
  };
}
