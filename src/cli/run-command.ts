import { readFileSync } from "node:fs";
import type { CommandModule } from "./command.ts";
import { EXIT, type ExitCode, type Terminal } from "./terminal.ts";

/** One line and the module of each command; a module is loaded when its command is called. */
const COMMANDS: Readonly<Record<string, { summary: string; load: () => Promise<CommandModule> }>> = {
  serve: {
    summary: "offer a storage to programs on other machines: a job server",
    load: async () => (await import("./serve.ts")).serve,
  },
  work: {
    summary: "run the jobs that your modules define",
    load: async () => (await import("./work.ts")).work,
  },
  enqueue: {
    summary: "store one job",
    load: async () => (await import("./enqueue.ts")).enqueue,
  },
  jobs: {
    summary: "list, show, retry, cancel or remove jobs",
    load: async () => (await import("./jobs.ts")).jobs,
  },
  queues: {
    summary: "list, pause or resume queues",
    load: async () => (await import("./queues.ts")).queues,
  },
  schedules: {
    summary: "list, pause, resume, trigger or remove schedules",
    load: async () => (await import("./schedules.ts")).schedules,
  },
  processes: {
    summary: "list the processes that work",
    load: async () => (await import("./processes.ts")).processes,
  },
  stats: {
    summary: "count the jobs by state",
    load: async () => (await import("./stats.ts")).stats,
  },
  migrate: {
    summary: "bring a PostgreSQL database to this version's schema, or print the SQL for it",
    load: async () => (await import("./migrate.ts")).migrate,
  },
  demo: {
    summary: "find duplicate files with three processes, of which one is killed",
    load: async () => (await import("./demo.ts")).demo,
  },
};

/** Do what a command line says. Never throws: a failure is one line and an exit code. */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [name = "--help", ...rest] = args;
  if (name === "--help" || name === "-h" || name === "help") {
    terminal.out(help());
    return args.length === 0 ? EXIT.usage : EXIT.done;
  }
  if (name === "--version" || name === "-v") {
    terminal.out(`${version()}\n`);
    return EXIT.done;
  }
  // A name is data: "constructor" is no command.
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) {
    // Unquoted: what stands in a command's place may be a URL with its password.
    terminal.error(
      `There is no such command. Use one of: ${Object.keys(COMMANDS).join(", ")}. \`jobwright --help\` says more.`,
    );
    return EXIT.usage;
  }
  const [{ perform }, module] = await Promise.all([import("./command.ts"), entry.load()]);
  return perform(name, module, rest, terminal);
}

function help(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  return [
    "Usage: jobwright <command> [options]",
    "",
    ...Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "The storage is --url <url>, else the environment variable JOBWRIGHT_URL, else `url` in the file",
    "jobwright.config.{ts,mts,js,mjs,json} of this folder or the nearest one above it.",
    "",
    "Exit codes: 0 done, 1 failed, 2 wrong use, 3 the storage cannot be reached, 4 not found.",
    "",
    "jobwright <command> --help says more; jobwright --version prints the version.",
    "",
  ].join("\n");
}

function version(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}
