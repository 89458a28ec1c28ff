import type { Command } from "commander";
import { checkName } from "../job/name.ts";
import type { Jobs } from "../jobs.ts";
import type { Schedule } from "../schedule/schedules.ts";
import { type Bind, type CommandModule, withJson } from "./command.ts";
import { type StorageOptions, withJobs, withStorage } from "./storage-url.ts";
import { table } from "./table.ts";
import { EXIT } from "./terminal.ts";
import { jsonText, visible } from "./visible.ts";

interface Options extends StorageOptions {
  readonly json?: true;
}

/** Look at schedules and steer them. */
export const schedules: CommandModule = (command, bind) => {
  command.description("Lists, pauses, resumes, triggers or removes schedules.").usage("<command> [options]");
  listCommand(command, bind);
  for (const verb of VERBS) steerCommand(command, bind, verb);
};

function listCommand(parent: Command, bind: Bind): void {
  const command = parent
    .command("list")
    .summary("list the schedules, and when they come next")
    .description("Lists what makes jobs again and again, and when it comes next.");
  withJson(withStorage(command));
  bind<Options>(command, async (_, options, terminal) => {
    const found = await withJobs(options, terminal, (jobs) => jobs.schedules.list());
    if (options.json) terminal.out(`${jsonText({ schedules: found.map(scheduleJson) })}\n`);
    else if (found.length > 0) terminal.out(table(HEAD, found.map(rowOf), terminal.columns));
    else terminal.error("There are no schedules.");
    return EXIT.done;
  });
}

interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  /** What became of it, as a word; `undefined` when there is nothing to be done. */
  do(jobs: Jobs, key: string): Promise<{ readonly result: string; readonly jobId?: string } | undefined>;
  /** For when there is something by that key, and nothing was done. */
  readonly otherwise: string;
}

const VERBS: readonly Verb[] = [
  {
    name: "pause",
    summary: "no more ticks until it is resumed",
    description: "Makes no more jobs of a schedule until it is resumed, in the whole fleet.",
    do: async (jobs, key) => ((await jobs.schedules.pause(key)) ? { result: "paused" } : undefined),
    otherwise: "is paused already",
  },
  {
    name: "resume",
    summary: "take a pause back",
    description: "Takes a pause back. Ticks that passed meanwhile are not made up for.",
    do: async (jobs, key) => ((await jobs.schedules.resume(key)) ? { result: "resumed" } : undefined),
    otherwise: "is not paused",
  },
  {
    name: "trigger",
    summary: "make its job now",
    description: "Makes the job of a schedule now, also while it is paused. Its ticks stay as they are.",
    do: async (jobs, key) => {
      const handle = await jobs.schedules.trigger(key);
      return handle === undefined ? undefined : { result: "triggered", jobId: handle.id };
    },
    otherwise: "made no job: another one holds its unique key",
  },
  {
    name: "remove",
    summary: "take a schedule out",
    description: "Takes a schedule out. One that code declares comes back with the next start of that code.",
    do: async (jobs, key) => ((await jobs.schedules.remove(key)) ? { result: "removed" } : undefined),
    otherwise: "was removed by somebody else",
  },
];

function steerCommand(parent: Command, bind: Bind, verb: Verb): void {
  const command = parent
    .command(verb.name)
    .summary(verb.summary)
    .description(verb.description)
    .usage("<key> [options]")
    .argument("<key>", "key of the schedule");
  withJson(withStorage(command));
  bind<Options>(command, async ([given = ""], options, terminal) => {
    const key = checkName(given, "key");
    const { done, isThere } = await withJobs(options, terminal, async (jobs) => {
      const before = await jobs.schedules.get(key);
      return before === undefined
        ? { done: undefined, isThere: false }
        : { done: await verb.do(jobs, key), isThere: true };
    });
    const { result = isThere ? "unchanged" : "missing", jobId } = done ?? {};
    if (options.json) terminal.out(`${jsonText({ key, result, jobId: jobId ?? null })}\n`);
    if (!isThere) {
      if (!options.json) terminal.error(`There is no schedule "${visible(key)}".`);
      return EXIT.notFound;
    }
    if (done === undefined) {
      if (!options.json) terminal.error(`Schedule "${visible(key)}" ${verb.otherwise}.`);
      return EXIT.failed;
    }
    if (!options.json) {
      terminal.out(`Schedule "${visible(key)}" ${result}${jobId === undefined ? "" : `: job ${jobId}`}.\n`);
    }
    return EXIT.done;
  });
}

/** The keys are documented in docs/cli.md. */
function scheduleJson(schedule: Schedule): Readonly<Record<string, unknown>> {
  const { key, name, queue, timing, missed, overlap, declared, paused, next, payload } = schedule;
  const { lastTickAt, lastJobId, until } = schedule;
  return {
    ...{ key, name, queue, timing, missed, overlap, declared, paused, next, payload },
    lastTickAt: lastTickAt ?? null,
    lastJobId: lastJobId ?? null,
    until: until ?? null,
  };
}

const HEAD = ["KEY", "NAME", "QUEUE", "WHEN", "NEXT", "LAST", "JOB", "NOTE"];

function rowOf({ key, name, queue, timing, next, lastTickAt, lastJobId, paused }: Schedule): string[] {
  return [
    key,
    name,
    queue,
    timing.kind === "every" ? `every ${timing.everyMs / 1_000} s` : `${timing.expression} ${timing.zone}`,
    next[0]?.toISOString() ?? "",
    lastTickAt?.toISOString() ?? "",
    lastJobId ?? "",
    paused ? "paused" : next.length === 0 ? "over" : "",
  ];
}
