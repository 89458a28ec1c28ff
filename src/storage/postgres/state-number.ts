import { JOB_STATES, type JobState } from "../../job/job.ts";

/** States as numbers, in `finished.state` and `tally`. Completed is the highest: its index entries append. */
export const STATE_NUMBERS = {
  none: 0,
  scheduled: 1,
  available: 2,
  blocked: 3,
  running: 4,
  cancelled: 5,
  dead: 6,
  completed: 7,
} as const;

const STATES = new Map<number, JobState>(JOB_STATES.map((state) => [STATE_NUMBERS[state], state]));

/** The state that a number of the tables stands for. */
export function stateOf(number: number): JobState {
  const state = STATES.get(number);
  if (state === undefined) throw new RangeError(`${number} is no state.`);
  return state;
}
