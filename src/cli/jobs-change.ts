import type { Command } from "commander";
import { InvalidOptionError } from "../errors.ts";
import type { JobState } from "../job/job.ts";
import type { Jobs } from "../jobs.ts";
import { toJobId } from "../view.ts";
import { type Bind, withJson } from "./command.ts";
import { changeMatching, countMatching } from "./change-matching.ts";
import { type FilterOptions, restOf, stateOf, withFilter } from "./job-filter.ts";
import { type StorageOptions, withJobs, withStorage } from "./storage-url.ts";
import { EXIT, type ExitCode, type Terminal } from "./terminal.ts";
import { jsonText } from "./visible.ts";

interface Options extends StorageOptions, FilterOptions {
  readonly all?: true;
  readonly yes?: true;
  readonly reason?: string;
  readonly json?: true;
}

/** What became of a job: the change was made, made no sense, or the job is not there. */
export type Changed = { readonly done: boolean; readonly result: string };

/** One way to change jobs. */
interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  /** As in "5 jobs ... retried". */
  readonly past: string;
  readonly states: readonly JobState[];
  change(jobs: Jobs, id: string, options: Options): Promise<Changed>;
}

const VERBS: readonly Verb[] = [
  {
    name: "retry",
    summary: "run jobs again",
    description: "Runs jobs again: finished ones with attempts anew, scheduled ones now.",
    past: "retried",
    states: ["scheduled", "dead", "cancelled", "completed"],
    change: async (jobs, id) => {
      if (await jobs.retry(id)) return { done: true, result: "retried" };
      return { done: false, result: await whyNot(jobs, id) };
    },
  },
  {
    name: "cancel",
    summary: "cancel jobs",
    description: "Cancels jobs: those that wait at once; those that run are asked to stop.",
    past: "cancelled",
    states: ["running", "available", "scheduled", "blocked"],
    change: async (jobs, id, { reason }) => {
      const result = await jobs.cancel(id, reason);
      return { done: result === "cancelled" || result === "asked", result };
    },
  },
  {
    name: "remove",
    summary: "take jobs out of the storage",
    description: "Takes jobs out of the storage, with their results: all but those that run.",
    past: "removed",
    states: ["available", "scheduled", "blocked", "dead", "cancelled", "completed"],
    change: async (jobs, id) => {
      if (await jobs.remove(id)) return { done: true, result: "removed" };
      return { done: false, result: await whyNot(jobs, id) };
    },
  },
];

export function changeCommands(parent: Command, bind: Bind): void {
  for (const verb of VERBS) {
    const command = parent
      .command(verb.name)
      .summary(verb.summary)
      .description(`${verb.description} Either by number, or all that a filter finds.`)
      .usage(`<id...> [options]\n       jobwright jobs ${verb.name} --all --state <state> [options]`)
      .argument("[id...]", "numbers of jobs")
      .option("--all", "all jobs that the filter finds; without --yes they are only counted")
      .option("--yes", "with --all: do it");
    withFilter(command);
    if (verb.name === "cancel") command.option("--reason <text>", "why, kept with the job");
    withJson(withStorage(command));
    bind<Options>(command, (ids, options, terminal) => perform(verb, ids, options, terminal));
  }
}

async function perform(
  verb: Verb,
  ids: readonly string[],
  options: Options,
  terminal: Terminal,
): Promise<ExitCode> {
  const filters = [options.state, options.queue, options.name, options.tag].filter(
    (one) => one !== undefined,
  );
  if (options.all) {
    if (ids.length > 0) throw new InvalidOptionError("--all", ids.length, "Give numbers or --all, not both.");
    return performAll(verb, options, terminal);
  }
  if (filters.length > 0) {
    throw new InvalidOptionError("--all", undefined, "Say --all to mean every job that the filter finds.");
  }
  if (ids.length === 0) {
    throw new InvalidOptionError("<id...>", undefined, "Give numbers of jobs, or a filter and --all.");
  }
  return performEach(verb, ids, options, terminal);
}

async function performEach(
  verb: Verb,
  ids: readonly string[],
  options: Options,
  terminal: Terminal,
): Promise<ExitCode> {
  // All numbers are checked before the first job is changed.
  for (const id of ids) toJobId(id);
  const results = await withJobs(options, terminal, (jobs) =>
    Promise.all(ids.map(async (id) => ({ id, ...(await verb.change(jobs, id, options)) }))),
  );
  if (options.json) {
    terminal.out(`${jsonText({ results: results.map(({ id, result }) => ({ id, result })) })}\n`);
  } else {
    for (const { id, done, result } of results) {
      if (done) terminal.out(`Job ${id}: ${result}.\n`);
      else terminal.error(`Job ${id} was not ${verb.past}: it is ${result}.`);
    }
  }
  if (results.some(({ result }) => result === "missing")) return EXIT.notFound;
  return results.every(({ done }) => done) ? EXIT.done : EXIT.failed;
}

async function performAll(verb: Verb, options: Options, terminal: Terminal): Promise<ExitCode> {
  // Of all states at once: more than anybody means.
  if (options.state === undefined) {
    throw new InvalidOptionError(
      "--state",
      undefined,
      `It goes with --all: one of ${verb.states.join(", ")}.`,
    );
  }
  const state = stateOf(options.state);
  if (!verb.states.includes(state)) {
    throw new InvalidOptionError(
      "--state",
      state,
      `Jobs that can be ${verb.past} are ${verb.states.join(", ")}.`,
    );
  }
  const filter = { ...restOf(options), state };
  return withJobs(options, terminal, async (jobs) => {
    if (!options.yes) {
      const { n, exact } = await countMatching(jobs, filter);
      if (options.json) terminal.out(`${jsonText({ matching: n, exact, changed: 0, unchanged: 0 })}\n`);
      else
        terminal.out(
          `${exact ? "" : "At least "}${n} jobs would be ${verb.past}. Repeat with --yes to do it.\n`,
        );
      return EXIT.done;
    }
    const { matching, changed } = await changeMatching(jobs, filter, (id) => verb.change(jobs, id, options));
    const unchanged = matching - changed;
    if (options.json) terminal.out(`${jsonText({ matching, exact: true, changed, unchanged })}\n`);
    else
      terminal.out(`${changed} jobs ${verb.past}${unchanged === 0 ? "" : `, ${unchanged} had moved on`}.\n`);
    return EXIT.done;
  });
}

/** What a job is that a change did not fit. */
async function whyNot(jobs: Jobs, id: string): Promise<string> {
  return (await jobs.get(id))?.state ?? "missing";
}
