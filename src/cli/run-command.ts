import { readFileSync } from "node:fs";
import { InvalidOptionError, JobwrightError } from "../errors.ts";
import { type Command, EXIT, type ExitCode, type Terminal } from "./terminal.ts";

/** One line and the module of each command; a module is loaded when its command is called. */
const COMMANDS: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  migrate: {
    summary: "bring a PostgreSQL database to this version's schema, or print the SQL for it",
    load: async () => (await import("./migrate.ts")).migrateCommand,
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
  try {
    const command = await entry.load();
    if (rest.includes("--help") || rest.includes("-h")) {
      terminal.out(command.help);
      return EXIT.done;
    }
    return await command.run(rest, terminal);
  } catch (error) {
    terminal.error(oneLine(error));
    return isMisuse(error) ? EXIT.usage : EXIT.failed;
  }
}

function help(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  return [
    "Usage: jobwright <command> [options]",
    "",
    ...Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "jobwright <command> --help says more; jobwright --version prints the version.",
    "",
  ].join("\n");
}

function version(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

function isMisuse(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return (
    error instanceof InvalidOptionError || (typeof code === "string" && code.startsWith("ERR_PARSE_ARGS_"))
  );
}

/** Errors of ours say what to do; of any other the stack would be needed, so its kind is named. */
function oneLine(error: unknown): string {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  const line = message.replaceAll(/[\p{Cc}\s]+/gu, " ").trim();
  return error instanceof JobwrightError || isMisuse(error) ? line : `${name}: ${line}`;
}
