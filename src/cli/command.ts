import { Command, CommanderError, Option } from "commander";
import {
  DuplicateJobError,
  InvalidOptionError,
  InvalidPayloadError,
  JobwrightError,
  MissingHandlerError,
  PayloadTooLargeError,
  StorageUnavailableError,
} from "../errors.ts";
import { EXIT, type ExitCode, type Terminal } from "./terminal.ts";
import { visible } from "./visible.ts";

/** Does what a command says once its arguments are read. */
export type Action<Options> = (
  args: readonly string[],
  options: Options,
  terminal: Terminal,
) => Promise<ExitCode>;

/** Describes a command, its options and what it does. */
export type CommandModule = (command: Command, bind: Bind) => void;

/** Ties an action to a command. */
export type Bind = <Options extends object>(command: Command, action: Action<Options>) => void;

/** Places in a line of help: the same everywhere, so that it can be quoted. */
const HELP_WIDTH = 100;

/** Read a command's arguments and do it. Never throws. */
export async function perform(
  name: string,
  module: CommandModule,
  args: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> {
  let code: ExitCode = EXIT.done;
  const command = styled(new Command(`jobwright ${name}`), terminal);
  const bind: Bind = (bound, action) => {
    bound.action(async () => {
      code = await action(bound.args, bound.opts(), terminal);
    });
  };
  module(command, bind);
  try {
    await command.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return misread(error, command, terminal);
    terminal.error(lineOf(error));
    return exitCodeOf(error);
  }
}

/** The option that every command which prints has. */
export function withJson(command: Command): Command {
  return command.option("--json", "print one JSON document");
}

/** An option that may be given several times; the values gather in a list. */
export function repeatable(flags: string, description: string): Option {
  return new Option(flags, description).argParser((value: string, before: readonly string[] | undefined) => [
    ...(before ?? []),
    value,
  ]);
}

/** How a command ends that failed with this. */
export function exitCodeOf(error: unknown): ExitCode {
  if (MISUSES.some((misuse) => error instanceof misuse)) return EXIT.usage;
  return error instanceof StorageUnavailableError ? EXIT.unreachable : EXIT.failed;
}

/** Errors of ours say what to do; of any other the stack would be needed, so its kind is named. */
export function lineOf(error: unknown): string {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  const line = visible(message.replaceAll(/\s+/g, " ").trim());
  return error instanceof JobwrightError ? line : `${name}: ${line}`;
}

const MISUSES = [
  InvalidOptionError,
  InvalidPayloadError,
  PayloadTooLargeError,
  DuplicateJobError,
  MissingHandlerError,
];

function styled(command: Command, terminal: Terminal): Command {
  return command
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      // Failures are told in one line; see `misread`.
      writeErr: () => undefined,
      getOutHelpWidth: () => HELP_WIDTH,
      getErrHelpWidth: () => HELP_WIDTH,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .configureHelp({ helpWidth: HELP_WIDTH })
    .helpOption("-h, --help", "print this")
    .helpCommand(false)
    .showSuggestionAfterError(false)
    .allowExcessArguments(false);
}

/** Arguments that make no sense. Nothing of them is quoted that may be a URL or a token. */
function misread(error: CommanderError, command: Command, terminal: Terminal): ExitCode {
  if (error.code === "commander.helpDisplayed") return EXIT.done;
  const see = `\`${command.name()} --help\` says more.`;
  const commands = command.commands.map((one) => one.name()).join(", ");
  switch (error.code) {
    case "commander.help":
    case "commander.unknownCommand":
      terminal.error(`Say what to do: ${command.name()} with one of ${commands}. ${see}`);
      break;
    case "commander.unknownOption": {
      const flag = /'(--?[a-z][a-z-]*)(?:'|=)/.exec(error.message)?.[1];
      terminal.error(`There is no such option here${flag === undefined ? "" : `: ${flag}`}. ${see}`);
      break;
    }
    default: {
      const text = visible(error.message.replace(/^error: /, ""));
      terminal.error(`${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}. ${see}`);
    }
  }
  return EXIT.usage;
}
