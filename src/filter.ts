import { InvalidOptionError } from "./errors.ts";
import { JOB_STATES, type JobState } from "./job/job.ts";

/** Which jobs to list or count. */
export interface JobFilter {
  readonly state: JobState;
  readonly queue?: string;
  readonly name?: string;
  readonly tag?: string;
}

/** An unknown key would not filter, and the answer would be taken for what it is not. */
export function checkFilter(filter: object, known: readonly string[]): void {
  if (typeof filter !== "object" || filter === null) {
    throw new InvalidOptionError("filter", filter, `Use an object with ${known.join(", ")}.`);
  }
  for (const [key, value] of Object.entries(filter)) {
    if (!known.includes(key)) {
      throw new InvalidOptionError("filter", key, `Known keys: ${known.join(", ")}.`);
    }
    if (value !== undefined && typeof value !== "string") {
      throw new InvalidOptionError(key, value, "Use a string.");
    }
  }
}

export function checkState(state: JobState): void {
  if (!JOB_STATES.includes(state)) {
    throw new InvalidOptionError("state", state, `Use one of ${JOB_STATES.join(", ")}.`);
  }
}
