import { hostname } from "node:os";
import type { BeatResult, Lease, ProcessBeat, ProcessId, ProcessInfo } from "../storage.ts";
import type { VolatileTables } from "./environments.ts";
import { HIGHEST_KEY, LOWEST_KEY, textKey } from "./keys.ts";
import { readAsks, readHeld, recordStarts, standing } from "./leases.ts";
import type { ProcessRecord } from "./records.ts";
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

function isSilent(process: ProcessRecord, alive: number): boolean {
  return process.leaving || alive - process.lastBeat > process.beat.lostAfterMs;
}

/** Lost is also who registered itself here and does not exist any more. */
export function isLost(store: Store, process: ProcessRecord, alive: number): boolean {
  if (isSilent(process, alive)) return true;
  return process.instance !== undefined && !store.instances.isAlive(process.instance);
}

// ── Beats ────────────────────────────────────────────────────────────────────

export async function beat(
  store: Store,
  message: ProcessBeat,
  now: () => number,
  alive: () => number,
): Promise<BeatResult> {
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
  return {
    beat: facts,
    registeredAt,
    lastBeat,
    leaving,
    ...(isOwn ? { instance: store.instances.number } : {}),
  };
}

export function processInfos(store: Store, alive: number): ProcessInfo[] {
  return allProcesses(store.volatile).map((process) => ({
    ...process.beat,
    registeredAt: process.registeredAt,
    silentMs: Math.max(0, alive - process.lastBeat),
    lost: isLost(store, process, alive),
    running: readHeld(store.volatile, process.beat.id),
  }));
}

export function allProcesses(tables: VolatileTables): ProcessRecord[] {
  return tables.process
    .rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER)
    .map(({ value }) => JSON.parse(value) as ProcessRecord);
}
