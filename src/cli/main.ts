#!/usr/bin/env node
import { runCommand } from "./run-command.ts";

// Whoever reads may leave early (`| head`): then there is nobody left to tell.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);

process.exitCode = await runCommand(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  error: (line) => process.stderr.write(`jobwright: ${line}\n`),
});
