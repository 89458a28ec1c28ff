import { stopOnSignals } from "../signals.ts";
import type { Terminal } from "./terminal.ts";

/** The terminal of this process. */
export function processTerminal(): Terminal {
  const { stdout, stderr, stdin } = process;
  // Whoever reads may leave early (`| head`): then there is nobody left to tell.
  for (const stream of [stdout, stderr]) stream.on("error", () => undefined);
  return {
    out: (text) => void stdout.write(text),
    error: (line) => void stderr.write(`jobwright: ${line}\n`),
    env: process.env,
    cwd: process.cwd(),
    // Some terminals do not know how wide they are, and say 0.
    columns: stdout.isTTY && stdout.columns > 0 ? stdout.columns : undefined,
    input: () => stdin,
    stopOnSignals,
    onStrayError: (listener) => {
      process.on("uncaughtException", listener);
      process.on("unhandledRejection", listener);
      return () => {
        process.off("uncaughtException", listener);
        process.off("unhandledRejection", listener);
      };
    },
  };
}
