import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import type { Duration } from "../duration.ts";
import { InvalidOptionError, PayloadTooLargeError } from "../errors.ts";
import { defineJob } from "../job/definition.ts";
import { limits } from "../job/limits.ts";
import type { EnqueueOptions } from "../job/options.ts";
import { type CommandModule, repeatable, withJson } from "./command.ts";
import { type StorageOptions, withJobs, withStorage } from "./storage-url.ts";
import { EXIT, type Terminal } from "./terminal.ts";
import { wholeNumber } from "./values.ts";
import { jsonText, visible } from "./visible.ts";

interface Options extends StorageOptions {
  readonly payload?: string;
  readonly queue?: string;
  readonly in?: string;
  readonly at?: string;
  readonly priority?: string;
  readonly id?: string;
  readonly maxRetries?: string;
  readonly tag?: readonly string[];
  readonly json?: true;
}

/** Store one job, by its name alone: what its definition says of options and payload is not known here. */
export const enqueue: CommandModule = (command, bind) => {
  withStorage(
    command
      .description(
        "Stores one job and prints its id. Its definition is not asked: what is not said here is built in (queue " +
          '"default", 5 retries), and the payload is checked before its first run.',
      )
      .usage("<name> [options]")
      .argument("<name>", "name of the job, as in its definition")
      .option(
        "--payload <json>",
        "JSON text; `@file` reads it from a file, `-` from standard input (default: null)",
      )
      .option("--queue <name>", "the queue it waits in")
      .option("--in <time>", "start this much later: 30s, 5m, 2h, 1d")
      .option("--at <instant>", "start at this instant, as in 2030-01-31T08:00:00Z")
      .option("--priority <number>", `${limits.priorityMin} to ${limits.priorityMax}; lower runs first`)
      .option("--id <id>", "an id of your own: a second job with it is not stored")
      .option("--max-retries <number>", 'retries after the first attempt, or "infinity"')
      .addOption(repeatable("--tag <tag>", "a word to find it by; may be repeated")),
  );
  withJson(command);
  bind<Options>(command, async ([name = ""], options, terminal) => {
    const definition = defineJob({ name });
    const chosen = optionsOf(options);
    const payload = await payloadOf(options.payload, terminal);
    const { id, created } = await withJobs(
      options,
      terminal,
      (jobs) => jobs.enqueue(definition, payload, chosen),
      true,
    );
    if (options.json) terminal.out(`${jsonText({ id, created })}\n`);
    else if (created) terminal.out(`Job ${id} is stored.\n`);
    else terminal.out(`Job ${id} has the id "${visible(options.id ?? "")}" already: nothing was stored.\n`);
    return EXIT.done;
  });
};

function optionsOf({ queue, in: delay, at, priority, id, maxRetries, tag }: Options): EnqueueOptions {
  return {
    ...(queue === undefined ? {} : { queue }),
    ...(delay === undefined ? {} : { in: delay as Duration }),
    ...(at === undefined ? {} : { at: instantOf(at) }),
    ...(priority === undefined ? {} : { priority: wholeNumber(priority, "--priority") }),
    ...(id === undefined ? {} : { id }),
    ...(maxRetries === undefined ? {} : { maxRetries: retriesOf(maxRetries) }),
    ...(tag === undefined ? {} : { tags: tag }),
  };
}

function retriesOf(text: string): number {
  return text.toLowerCase() === "infinity" ? Number.POSITIVE_INFINITY : wholeNumber(text, "--max-retries");
}

/** Only what means the same everywhere: a date alone or without a zone would be read differently here and there. */
function instantOf(text: string): Date {
  const isWhole = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/.test(text);
  const date = new Date(isWhole ? text : Number.NaN);
  if (!Number.isNaN(date.getTime())) return date;
  throw new InvalidOptionError("--at", text, "Use a date, a time and a zone: 2030-01-31T08:00:00Z.");
}

async function payloadOf(given: string | undefined, terminal: Terminal): Promise<unknown> {
  if (given === undefined) return null;
  const text = await textOf(given, terminal);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // Its words are not repeated: they quote the payload.
    const at = /at position (\d+)/.exec(String(error))?.[1];
    const where = at === undefined ? "" : ` It goes wrong at character ${Number(at) + 1}.`;
    throw new InvalidOptionError(
      "--payload",
      `a text of ${text.length} characters`,
      `It is not JSON.${where} A text needs its quotes: --payload '"text"'.`,
    );
  }
}

async function textOf(given: string, terminal: Terminal): Promise<string> {
  if (given === "-") return readAll(terminal.input());
  if (!given.startsWith("@")) return given;
  try {
    return await readAll(createReadStream(resolve(terminal.cwd, given.slice(1))));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof PayloadTooLargeError) throw error;
    throw new InvalidOptionError("--payload", given, `The file cannot be read (${code ?? "unknown"}).`);
  }
}

/** No more than could be stored. JSON may be written with twice the room that it needs. */
async function readAll(input: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of input) {
    bytes += part.length;
    if (bytes > INPUT_BYTES_MAX) throw new PayloadTooLargeError("The payload", bytes, limits.payloadBytes);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

const INPUT_BYTES_MAX = 2 * limits.payloadBytes;
