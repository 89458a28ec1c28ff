import type { Command } from "commander";
import { InvalidOptionError } from "../errors.ts";
import { limits } from "../job/limits.ts";
import type { Job } from "../view.ts";
import { type Bind, withJson } from "./command.ts";
import { type FilterOptions, LISTED_STATES, listStates, restOf, stateOf, withFilter } from "./job-filter.ts";
import { jobJson } from "./job-json.ts";
import { type StorageOptions, withJobs, withStorage } from "./storage-url.ts";
import { table } from "./table.ts";
import { EXIT } from "./terminal.ts";
import { wholeNumber } from "./values.ts";
import { jsonText, visible } from "./visible.ts";

interface Options extends StorageOptions, FilterOptions {
  readonly limit?: string;
  readonly after?: string;
  readonly json?: true;
}

const LIMIT = 50;

export function listCommand(parent: Command, bind: Bind): void {
  const command = parent
    .command("list")
    .summary("list jobs, by state and filter")
    .description(
      "Lists jobs: those that run first, then those that wait, then those that are over, newest first.",
    );
  withFilter(command)
    .option("--limit <number>", `most jobs to list, 1 to ${limits.listPage} (default: ${LIMIT})`)
    .option("--after <next>", "go on where a listing ended");
  withJson(withStorage(command));
  bind<Options>(command, async (_, options, terminal) => {
    const states = options.state === undefined ? LISTED_STATES : [stateOf(options.state)];
    const limit = options.limit === undefined ? LIMIT : wholeNumber(options.limit, "--limit");
    if (limit < 1 || limit > limits.listPage) {
      throw new InvalidOptionError("--limit", limit, `Use a whole number from 1 to ${limits.listPage}.`);
    }
    const { jobs, next } = await withJobs(options, terminal, (all) =>
      listStates(all, { states, filter: restOf(options), limit, after: options.after }),
    );
    if (options.json) {
      terminal.out(`${jsonText({ jobs: jobs.map(jobJson), next: next ?? null })}\n`);
      return EXIT.done;
    }
    if (jobs.length > 0) terminal.out(table(HEAD, jobs.map(rowOf), terminal.columns));
    else terminal.error("There are no such jobs.");
    if (next !== undefined) terminal.error(`There are more: repeat with --after ${visible(next)}`);
    return EXIT.done;
  });
}

const HEAD = ["ID", "STATE", "NAME", "QUEUE", "ATTEMPT", "AT", "NOTE"];

function rowOf(job: Job): string[] {
  return [
    job.id,
    job.state,
    job.name,
    job.queue,
    attemptsOf(job),
    instantText(job.endedAt ?? job.runAt),
    noteOf(job),
  ];
}

/** Attempts spent, of how many. */
export function attemptsOf({ attempt, maxRetries }: Job): string {
  return `${attempt}/${Number.isFinite(maxRetries) ? maxRetries + 1 : "∞"}`;
}

/** An instant to the second, in the same zone everywhere. */
export function instantText(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}

function noteOf({ error, reason, cancelAsked }: Job): string {
  if (cancelAsked !== undefined) return `cancel asked: ${cancelAsked}`;
  return reason ?? (error === undefined ? "" : `${error.name}: ${error.message}`);
}
