import { hostname } from "node:os";
import type {
  BeatResult,
  Lease,
  ProcessBeat,
  ProcessId,
  ProcessInfo,
  RescuedJob,
  RescueRequest,
} from "../storage.ts";
import { recordStarts } from "./claim.ts";
import type { VolatileTables } from "./environments.ts";
import { claimedJob, readJob } from "./job.ts";
import { HIGHEST_KEY, LOWEST_KEY, readWhole, textKey, wholeKey } from "./keys.ts";
import { type Leases, readAsks, readHeld, standing } from "./leases.ts";
import { decodeLease, type LeaseRecord, type ProcessRecord } from "./records.ts";
import type { Store } from "./store.ts";

export function readProcess(tables: VolatileTables, id: ProcessId): ProcessRecord | undefined {
  const text = tables.process.get(textKey(id));
  return text === undefined ? undefined : (JSON.parse(text) as ProcessRecord);
}

/** The process, if it is registered and not silent for too long. */
export function living(tables: VolatileTables, id: ProcessId, alive: number): ProcessRecord | undefined {
  const process = readProcess(tables, id);
  return process === undefined || isSilent(process, alive) ? undefined : process;
}

function isSilent({ leaving, lastBeat, beat }: ProcessRecord, alive: number): boolean {
  return leaving || alive - lastBeat > beat.lostAfterMs;
}

/** Lost is also who registered itself here and does not exist any more. */
function isLost(store: Store, process: ProcessRecord, alive: number): boolean {
  if (isSilent(process, alive)) return true;
  return process.instance !== undefined && !store.instances.isAlive(process.instance);
}

// ── Beats ────────────────────────────────────────────────────────────────────

export async function beat(store: Store, message: ProcessBeat, now: () => number, alive: () => number): Promise<BeatResult> {
  return store.hold(() => {
    const known = readProcess(store.volatile, message.id);
    // Who was lost may not come back to life: others may have decided about its jobs by now.
    const isKnown = known === undefined ? message.first === true : !isSilent(known, alive());
    const at = now();
    store.writeVolatile((leases) => {
      recordStarts(leases, message.starts, at);
      if (!isKnown) return;
      const key = textKey(message.id);
      const leaving = message.leaving === true;
      // With nothing in its hands it is forgotten at once.
      if (leaving && leases.held(message.id) === 0) return leases.tables.process.remove(key);
      const record = recordOf(store, message, known?.registeredAt ?? at, alive(), leaving);
      leases.tables.process.put(key, JSON.stringify(record));
    });
    return {
      known: isKnown,
      lost: message.holds.filter((lease: Lease) => standing(store.volatile, lease) === undefined),
      asks: isKnown ? readAsks(store.volatile, message.id) : [],
    };
  });
}

function recordOf(
  store: Store,
  message: ProcessBeat,
  registeredAt: number,
  lastBeat: number,
  leaving: boolean,
): ProcessRecord {
  const { holds: _holds, starts: _starts, first: _first, leaving: _leaving, ...facts } = message;
  // A job server beats for processes elsewhere: they do not die with it.
  const isOwn = message.pid === process.pid && message.host === hostname();
  return { beat: facts, registeredAt, lastBeat, leaving, ...(isOwn ? { instance: store.instances.number } : {}) };
}

export function processInfos(store: Store, alive: number): ProcessInfo[] {
  return all(store.volatile).map((process) => ({
    ...process.beat,
    registeredAt: process.registeredAt,
    silentMs: Math.max(0, alive - process.lastBeat),
    lost: isLost(store, process, alive),
    running: readHeld(store.volatile, process.beat.id),
  }));
}

function all(tables: VolatileTables): ProcessRecord[] {
  return tables.process
    .rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER)
    .map(({ value }) => JSON.parse(value) as ProcessRecord);
}

// ── Rescue ───────────────────────────────────────────────────────────────────

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
  const lost = all(volatile).filter((process) => isLost(store, process, alive));
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
    rescued.push({ ...claimedJob(durable, job, request.token), lostProcessId: claimedBy, started, startedAt });
  }
  return rows.length === SCAN_STEP && rescued.length < request.limit ? next : undefined;
}

function forgetIfEmpty(leases: Leases, { beat: { id } }: ProcessRecord): void {
  if (leases.held(id) === 0) leases.tables.process.remove(textKey(id));
}
