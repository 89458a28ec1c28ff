import { JOB_STATES, type JobState } from "../../job/job.ts";
import { STATE_NUMBERS } from "./migration/first/tables.ts";

const STATES = new Map<number, JobState>(JOB_STATES.map((state) => [STATE_NUMBERS[state], state]));

/** The state that a number of the tables stands for. */
export function stateOf(number: number): JobState {
  const state = STATES.get(number);
  if (state === undefined) throw new RangeError(`${number} is no state.`);
  return state;
}
