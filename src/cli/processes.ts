import type { ProcessInfo } from "../storage/storage.ts";
import { type CommandModule, withJson } from "./command.ts";
import { type StorageOptions, withJobs, withStorage } from "./storage-url.ts";
import { table } from "./table.ts";
import { EXIT } from "./terminal.ts";
import { jsonText } from "./visible.ts";

interface Options extends StorageOptions {
  readonly json?: true;
}

/** Who works. */
export const processes: CommandModule = (command, bind) => {
  command.description(
    "Lists the processes that work, what they serve, and those that were lost and still hold jobs.",
  );
  withJson(withStorage(command));
  bind<Options>(command, async (_, options, terminal) => {
    const found = await withJobs(options, terminal, (jobs) => jobs.processes());
    if (options.json) terminal.out(`${jsonText({ processes: found.map(processJson) })}\n`);
    else if (found.length > 0) terminal.out(table(HEAD, found.map(rowOf), terminal.columns));
    else terminal.error("No process works here.");
    return EXIT.done;
  });
};

/** The keys are documented in docs/cli.md. */
function processJson(process: ProcessInfo): Readonly<Record<string, unknown>> {
  const { id, name, host, pid, running, lost, silentMs, lostAfterMs, registeredAt, queues } = process;
  return {
    id,
    name: name ?? null,
    host,
    pid,
    running,
    lost,
    silentMs,
    lostAfterMs,
    registeredAt: new Date(registeredAt),
    queues: queues.map(({ queue, names, concurrency }) => ({ queue, names, concurrency })),
  };
}

const HEAD = ["PROCESS", "NAME", "HOST", "PID", "RUNNING", "SILENT", "QUEUES"];

function rowOf({ id, name, host, pid, running, silentMs, lost, queues }: ProcessInfo): string[] {
  return [
    id,
    name ?? "",
    host,
    String(pid),
    String(running),
    lost ? "lost" : `${(silentMs / 1_000).toFixed(1)} s`,
    queues.map(({ queue, concurrency }) => `${queue}=${concurrency}`).join(","),
  ];
}
