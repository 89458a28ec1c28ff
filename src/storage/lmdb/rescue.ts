import type { RescuedJob, RescueRequest } from "../storage.ts";
import { claimedJob, readJob } from "./job.ts";
import { HIGHEST_KEY, readWhole, textKey, wholeKey } from "./keys.ts";
import { type Leases, readHeld } from "./leases.ts";
import { allProcesses, isLost, living } from "./processes.ts";
import { decodeLease, type LeaseRecord, type ProcessRecord } from "./records.ts";
import type { Store } from "./store.ts";

/** Leases looked at in one hold. */
const SCAN_STEP = 5_000;

/** Move leases of lost processes to the one that asks. */
export async function rescue(
  store: Store,
  request: RescueRequest,
  alive: () => number,
): Promise<RescuedJob[]> {
  const rescued: RescuedJob[] = [];
  let from: number | undefined = 1;
  while (from !== undefined) {
    const start: number = from;
    try {
      from = await store.hold(() => rescueStep(store, request, alive(), start, rescued));
    } catch (error) {
      // What was taken over is the caller's now: it must hear of it.
      if (rescued.length === 0) throw error;
      break;
    }
  }
  return rescued;
}

/** Answers the job id to go on from. */
function rescueStep(
  store: Store,
  request: RescueRequest,
  alive: number,
  start: number,
  rescued: RescuedJob[],
): number | undefined {
  const { volatile, durable, lanes } = store;
  // Who is lost itself could not be trusted to decide about the jobs.
  if (living(volatile, request.processId, alive) === undefined) return undefined;
  const lost = allProcesses(volatile).filter((process) => isLost(store, process, alive));
  if (lost.length === 0) return undefined;
  const holding = new Set(lost.map(({ beat: { id } }) => id).filter((id) => readHeld(volatile, id) > 0));
  const rows = holding.size === 0 ? [] : volatile.lease.rows(wholeKey(start), HIGHEST_KEY, SCAN_STEP);
  const moved: { readonly id: number; readonly before: LeaseRecord; readonly after: LeaseRecord }[] = [];
  let next: number | undefined;
  for (const { key, value } of rows) {
    if (rescued.length + moved.length >= request.limit) break;
    const id = readWhole(key);
    next = id + 1;
    const before = decodeLease(value);
    if (!holding.has(before.holder)) continue;
    moved.push({ id, before, after: { ...before, holder: request.processId, token: request.token } });
  }
  store.writeVolatile((leases) => {
    for (const { id, before, after } of moved) leases.replace(id, before, after);
    for (const process of lost) forgetIfEmpty(leases, process);
  });
  for (const { id, before } of moved) {
    const job = readJob(durable, lanes, id);
    if (job === undefined) continue;
    const { claimedBy, started, startedAt } = before;
    rescued.push({
      ...claimedJob(durable, job, request.token),
      lostProcessId: claimedBy,
      started,
      startedAt,
    });
  }
  return rows.length === SCAN_STEP && rescued.length < request.limit ? next : undefined;
}

function forgetIfEmpty(leases: Leases, { beat: { id } }: ProcessRecord): void {
  if (leases.held(id) === 0) leases.tables.process.remove(textKey(id));
}
