import { lineLogger, type Logger } from "../logger.ts";
import type { Terminal } from "./terminal.ts";

/** The default logger's lines as a command's own, which name the program already. */
export function terminalLogger(terminal: Pick<Terminal, "error">): Logger {
  return lineLogger((line) => terminal.error(line.replace(/^jobwright |\n$/g, "")));
}
