import type { DurableTables, Environments } from "./environments.ts";
import { readJob } from "./job.ts";
import { HIGHEST_KEY, LOWEST_KEY, type Place, placeKey, readWhole } from "./keys.ts";
import type { Lanes } from "./lanes.ts";
import type { Leases } from "./leases.ts";
import { placeOf } from "./place.ts";
import { decodeLease } from "./records.ts";

/**
 * Put the volatile data right after a process died between a durable write and the volatile one that
 * follows it. What that write was about can be told from the leases: those of the jobs it ended are there
 * still. Only of blocked jobs that it let into line no lease tells; they stand in a journal. Costs a look at
 * every job that runs.
 *
 * @param change the number of that write
 */
export function repair(tables: DurableTables, lanes: Lanes, leases: Leases, change: number): void {
  for (const { key, value } of leases.tables.lease.rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER)) {
    const id = readWhole(key);
    const lease = decodeLease(value);
    const job = readJob(tables, lanes, id);
    const head = job?.record.head;
    const stands = head?.state === "available" && head.generation === lease.generation;
    if (stands) {
      if (head.cancelAsked !== undefined) leases.ask(id, lease, head.generation, head.cancelAsked);
      continue;
    }
    leases.drop(id, lease);
    if (job !== undefined && head?.state === "available") {
      leases.giveBack(placeOf(job.lane, head, job.record.seq));
    }
  }
  for (const place of readFreed(tables, change)) {
    const { kind, lane, priority, seq } = place;
    if (tables.ready.get(placeKey(kind, lane, priority, seq)) !== undefined) leases.giveBack(place);
  }
}

/** Note the places of blocked jobs that a write lets into line. Inside its transaction. */
export function writeFreed(tables: DurableTables, change: number, freed: readonly Place[]): void {
  const flat = freed.flatMap(({ kind, lane, priority, seq }) => [kind, lane, priority, seq]);
  tables.meta.put(FREED, JSON.stringify([change, ...flat]));
}

function readFreed(tables: DurableTables, change: number): Place[] {
  const [of, ...flat] = JSON.parse(tables.meta.get(FREED) ?? "[0]") as number[];
  const places: Place[] = [];
  if (of !== change) return places;
  for (let i = 0; i < flat.length; i += 4) {
    const [kind, lane, priority, seq] = flat.slice(i, i + 4) as [Place["kind"], number, number, number];
    places.push({ kind, lane, priority, seq });
  }
  return places;
}

const FREED = Buffer.from("freed");

/** Forget all that is volatile, except who has the store open. No leases: everything in line is claimable. */
export function wipe({ volatile }: Environments): void {
  for (const table of [
    volatile.lease,
    volatile.line,
    volatile.again,
    volatile.process,
    volatile.limit,
    volatile.held,
    volatile.ask,
    // Last, so that a wipe that was cut short is begun anew.
    volatile.meta,
  ]) {
    table.clear();
  }
}
