import type { Command } from "commander";
import { InvalidOptionError } from "../errors.ts";
import type { JobFilter } from "../filter.ts";
import { JOB_STATES, type JobState } from "../job/job.ts";
import { limits } from "../job/limits.ts";
import type { Job } from "../view.ts";
import type { Jobs } from "../jobs.ts";

/** Which jobs a command is about. */
export interface FilterOptions {
  readonly state?: string;
  readonly queue?: string;
  readonly name?: string;
  readonly tag?: string;
}

/** In the order in which one asks: what happens, what comes, what went wrong, what is over. */
export const LISTED_STATES: readonly JobState[] = [
  "running",
  "available",
  "scheduled",
  "blocked",
  "dead",
  "cancelled",
  "completed",
];

/** Pages looked at for one listing: with a filter that fits nothing, each may be empty. */
const PAGES_MAX = 100;

export function withFilter(command: Command): Command {
  return command
    .option("--state <state>", JOB_STATES.join(", "))
    .option("--queue <name>", "only jobs of this queue")
    .option("--name <name>", "only jobs of this name")
    .option("--tag <tag>", "only jobs with this tag");
}

/** @throws InvalidOptionError */
export function stateOf(text: string): JobState {
  const state = JOB_STATES.find((one) => one === text);
  if (state !== undefined) return state;
  throw new InvalidOptionError("--state", text, `Use one of ${JOB_STATES.join(", ")}.`);
}

/** All of a filter but the state. */
export function restOf({ queue, name, tag }: FilterOptions): Omit<JobFilter, "state"> {
  return {
    ...(queue === undefined ? {} : { queue }),
    ...(name === undefined ? {} : { name }),
    ...(tag === undefined ? {} : { tag }),
  };
}

/**
 * Jobs of some states, one state after the other.
 *
 * @param after `next` of the page before, `state:cursor`
 */
export async function listStates(
  jobs: Jobs,
  query: {
    readonly states: readonly JobState[];
    readonly filter: Omit<JobFilter, "state">;
    readonly limit: number;
    readonly after: string | undefined;
  },
): Promise<{ readonly jobs: Job[]; readonly next?: string }> {
  const { states, filter, limit } = query;
  const found: Job[] = [];
  let text = 0;
  let { index, cursor } = placeIn(states, query.after);
  for (let page = 0; index < states.length; page += 1) {
    const state = states[index] as JobState;
    // When the page is full, one job more tells whether there is anything to go on for.
    const room = limit - found.length;
    const here = `${state}:${cursor ?? ""}`;
    if (page >= PAGES_MAX || text >= limits.listText) return { jobs: found, next: here };
    const answer = await jobs.list({
      ...filter,
      state,
      limit: Math.max(1, room),
      ...(cursor === undefined ? {} : { after: cursor }),
    });
    if (room === 0 && answer.jobs.length > 0) return { jobs: found, next: here };
    found.push(...answer.jobs);
    text += answer.jobs.reduce((sum, job) => sum + textOf(job), 0);
    cursor = answer.next;
    if (cursor === undefined) index += 1;
  }
  return { jobs: found };
}

/** What a job brings along, in characters. */
function textOf({ payload, result }: Job): number {
  return JSON.stringify(payload).length + (result === undefined ? 0 : JSON.stringify(result).length);
}

function placeIn(
  states: readonly JobState[],
  after: string | undefined,
): { index: number; cursor: string | undefined } {
  if (after === undefined) return { index: 0, cursor: undefined };
  const [, state = "", cursor = ""] = /^([a-z]+):(.*)$/s.exec(after) ?? [];
  const index = states.findIndex((one) => one === state);
  if (index >= 0) return { index, cursor: cursor === "" ? undefined : cursor };
  throw new InvalidOptionError("--after", after, "Use `next` of the page before, with the same --state.");
}
