import { writeSync } from "node:fs";
import { InvalidOptionError } from "./errors.ts";

/** Anything shaped like `console`: pino, consola and `console` itself fit. */
export interface Logger {
  debug(message: string, details?: Readonly<Record<string, unknown>>): void;
  info(message: string, details?: Readonly<Record<string, unknown>>): void;
  warn(message: string, details?: Readonly<Record<string, unknown>>): void;
  error(message: string, details?: Readonly<Record<string, unknown>>): void;
}

/** Lines a second of the default logger: a storm of failures must not become a storm of output. */
const LINES_PER_SECOND = 10;

/** Which job a handler's own words are about; no other details, which may hold anything. */
function about(message: string, details: Readonly<Record<string, unknown>> | undefined): string {
  const { job, name } = details ?? {};
  if (typeof job !== "string" || message.startsWith(`job ${job} `)) return "";
  return `job ${job} ${JSON.stringify(name)}: `;
}

/** Control characters, which a job's name or error could use to forge lines or to steer a terminal. */
// oxlint-disable-next-line no-control-regex -- these are what it is about
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g;

/**
 * The default: warnings and errors as lines on standard error, at most ten a second, then a count of
 * what was left out. Payloads are never logged.
 */
export function lineLogger(write: (line: string) => void = writeToStderr): Logger {
  let second = 0;
  let lines = 0;
  let leftOut = 0;
  const log = (level: string, message: string, details?: Readonly<Record<string, unknown>>): void => {
    const now = Math.floor(Date.now() / 1_000);
    if (now !== second) {
      if (leftOut > 0) write(`jobwright warn (${leftOut} more lines left out)\n`);
      second = now;
      lines = 0;
      leftOut = 0;
    }
    lines += 1;
    if (lines > LINES_PER_SECOND) leftOut += 1;
    else write(`jobwright ${level} ${`${about(message, details)}${message}`.replace(CONTROL, " ")}\n`);
  };
  return {
    debug: () => undefined,
    info: () => undefined,
    warn: (message, details) => log("warn", message, details),
    error: (message, details) => log("error", message, details),
  };
}

/** Not through the stream: one whose reader has gone would end the process. */
function writeToStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // Nobody reads it, or cannot read that fast.
  }
}

/**
 * A logger handed in, made harmless: what it throws is nobody's business, least of all a job's.
 *
 * @throws InvalidOptionError when it has not all four methods
 */
export function safeLogger(logger: Logger): Logger {
  const levels = ["debug", "info", "warn", "error"] as const;
  const safe = (level: (typeof levels)[number]) => {
    if (typeof logger?.[level] !== "function") {
      throw new InvalidOptionError("logger", logger, `Use an object with the methods ${levels.join(", ")}.`);
    }
    return (message: string, details?: Readonly<Record<string, unknown>>): void => {
      try {
        logger[level](message, details);
      } catch {
        // A logger that fails cannot be told of through itself.
      }
    };
  };
  return { debug: safe("debug"), info: safe("info"), warn: safe("warn"), error: safe("error") };
}

/** Says nothing. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
