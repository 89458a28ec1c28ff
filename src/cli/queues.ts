import type { Command } from "commander";
import { JOB_STATES } from "../job/job.ts";
import { checkName } from "../job/name.ts";
import type { Queue } from "../queues.ts";
import { type Bind, type CommandModule, withJson } from "./command.ts";
import { type StorageOptions, withJobs, withStorage } from "./storage-url.ts";
import { table } from "./table.ts";
import { EXIT } from "./terminal.ts";
import { jsonText, visible } from "./visible.ts";

interface Options extends StorageOptions {
  readonly name?: string;
  readonly json?: true;
}

/** Look at queues and steer them. */
export const queues: CommandModule = (command, bind) => {
  command.description("Lists, pauses or resumes queues.").usage("<command> [options]");
  listCommand(command, bind);
  pauseCommand(
    command,
    bind,
    "pause",
    "Claims nothing more from a queue, in the whole fleet. Running jobs go on.",
  );
  pauseCommand(command, bind, "resume", "Takes a pause back.");
};

function listCommand(parent: Command, bind: Bind): void {
  const command = parent
    .command("list")
    .summary("list the queues, and the job names in each")
    .description("Lists the queues with the number of jobs in each state, and who serves them.")
    .option("--name <name>", "only job names that are this one");
  withJson(withStorage(command));
  bind<Options>(command, async (_, options, terminal) => {
    const all = await withJobs(options, terminal, (jobs) => jobs.queues());
    const found =
      options.name === undefined ? all : all.flatMap((queue) => onlyName(queue, options.name) ?? []);
    if (options.json) terminal.out(`${jsonText({ queues: found.map(queueJson) })}\n`);
    else if (found.length > 0) terminal.out(table(HEAD, found.flatMap(rowsOf), terminal.columns));
    else terminal.error("There are no queues yet.");
    return EXIT.done;
  });
}

function pauseCommand(parent: Command, bind: Bind, verb: "pause" | "resume", description: string): void {
  const command = parent
    .command(verb)
    .summary(verb === "pause" ? "claim nothing more from a queue" : "take a pause back")
    .description(description)
    .usage("<queue> [options]")
    .argument("<queue>", "name of the queue")
    .option("--name <name>", "only jobs of this name");
  withJson(withStorage(command));
  bind<Options>(command, async ([given = ""], options, terminal) => {
    const queue = checkName(given, "queue");
    const target =
      options.name === undefined ? { queue } : { queue, name: checkName(options.name, "--name") };
    await withJobs(options, terminal, (jobs) =>
      verb === "pause" ? jobs.pause(target) : jobs.resume(target),
    );
    const paused = verb === "pause";
    if (options.json) terminal.out(`${jsonText({ queue, name: options.name ?? null, paused })}\n`);
    else {
      const what = options.name === undefined ? "" : `Jobs "${visible(options.name)}" of queue `;
      terminal.out(`${what === "" ? "Queue " : what}"${visible(queue)}" ${paused ? "paused" : "resumed"}.\n`);
    }
    return EXIT.done;
  });
}

function onlyName(queue: Queue, name: string | undefined): Queue | undefined {
  const names = queue.names.filter((one) => one.name === name);
  return names.length === 0 ? undefined : { ...queue, names };
}

/** The keys are documented in docs/cli.md. */
function queueJson({ queue, paused, servedBy, counts, names }: Queue): Readonly<Record<string, unknown>> {
  return { queue, paused, servedBy, counts, names };
}

const HEAD = ["QUEUE", "NAME", "SERVED", ...JOB_STATES.map((state) => state.toUpperCase()), "NOTE"];

function rowsOf(queue: Queue): string[][] {
  if (queue.names.length === 0) {
    return [[queue.queue, "", String(queue.servedBy), ...countsOf(queue), queue.paused ? "paused" : ""]];
  }
  return queue.names.map((one) => [
    queue.queue,
    one.name,
    String(one.servedBy),
    ...countsOf(one),
    one.paused ? "paused" : one.counts.available > 0 && one.servedBy === 0 ? "nobody serves it" : "",
  ]);
}

function countsOf({ counts }: Pick<Queue, "counts">): string[] {
  return JOB_STATES.map((state) => String(counts[state]));
}
