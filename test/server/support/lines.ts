import type { Logger } from "../../../src/logger.ts";

/** A logger that keeps what it was told, level first. */
export function keepingLogger(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const log =
    (level: string) =>
    (message: string, details?: Readonly<Record<string, unknown>>): void =>
      void lines.push(`${level} ${message}${details === undefined ? "" : ` ${JSON.stringify(details)}`}`);
  return {
    logger: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
    lines,
  };
}
