import type { JobId } from "../../../src/job/job.ts";
import type {
  ClaimRequest,
  Lease,
  NewJob,
  ProcessBeat,
  Settlement,
  Storage,
} from "../../../src/storage/storage.ts";

// Short words for tests that talk to a storage themselves, as a worker would.

export function job(n: number): NewJob {
  return {
    name: "work",
    queue: "default",
    payload: JSON.stringify({ n }),
    priority: 0,
    maxRetries: 3,
    backoff: { kind: "fixed", delayMs: 0 },
    timeoutMs: null,
    tags: [],
    retention: { completedMs: null, deadMs: null, cancelledMs: null },
  };
}

/** Store one group. Answers the ids. */
export async function enqueue(storage: Storage, ...jobs: NewJob[]): Promise<JobId[]> {
  const [group] = await storage.enqueue([jobs]);
  if (group?.ok !== true) throw new Error("The group was refused.");
  return group.jobs.map(({ id }) => id);
}

export function beat(id: string, first: boolean): ProcessBeat {
  const about = { host: "here", pid: 1, lostAfterMs: 60_000, queues: [], holds: [], starts: [] };
  return { id, ...about, ...(first ? { first } : {}) };
}

export function request(processId: string, nth: number, room: number): ClaimRequest {
  const queues = [{ queue: "default", names: ["work"], room, readAhead: 0 }];
  return { processId, token: `${processId}.${nth}`, queues, starts: [] };
}

export function completed(lease: Lease): Settlement {
  return { lease, outcome: { state: "completed", result: JSON.stringify(lease.token) }, startedAt: 0 };
}

export function dead(lease: Lease): Settlement {
  return { lease, outcome: { state: "dead", error: { name: "Error", message: "late" } }, startedAt: 0 };
}
