import type { AttemptEntry, JobHead, JobId, JobSpec, JobState } from "../../src/job/job.ts";
import type { Lease, LogEntry, ProcessBeat } from "../../src/storage/storage.ts";

/** A job as the model keeps it. */
export interface ModelJob {
  readonly id: JobId;
  /** Another one only when a job with its unique key replaces it. */
  spec: JobSpec;
  readonly createdAt: number;
  head: JobHead;
  /** Its place in the line: the order of becoming available. */
  seq: number;
  /** Present while it runs. */
  held?: Held;
  /** The lease that ended its last run. */
  endedBy?: Lease;
  checkpoint: Record<string, string>;
  /** It handed its checkpoint on: whether it still has it itself is nobody's business. */
  handedOn?: true;
  logs: LogEntry[];
  attempts: AttemptEntry[];
}

export interface Held {
  readonly token: string;
  readonly processId: string;
  readonly claimedAt: number;
  /** Who ran it. Another holds it now if it was rescued and is not decided yet. */
  readonly claimedBy: string;
  readonly started: boolean;
}

export interface ModelProcess {
  beat: ProcessBeat;
  registeredAt: number;
  beatenAt: number;
  left: boolean;
}

export function stateOf({ head, held }: ModelJob): JobState {
  return held === undefined ? head.state : "running";
}
