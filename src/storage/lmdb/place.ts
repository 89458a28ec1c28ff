import type { JobHead, JobId } from "../../job/job.ts";
import { MARKED, PLAIN, type Place } from "./keys.ts";
import type { Lane } from "./lanes.ts";

export function placeOf(lane: Lane, head: JobHead, seq: number): Place {
  return { kind: head.marked ? MARKED : PLAIN, lane: lane.id, priority: head.priority, seq };
}

/** What a row of `ready` says of its job: empty for a fresh job, else its id, and that it has a head record. */
export function readyValue(id: JobId, seq: number): string {
  return id === seq ? "h" : String(id);
}

/** The job of a row of `ready`. */
export function readyId(value: string, seq: number): JobId {
  return value === "" || value === "h" ? seq : Number(value);
}
