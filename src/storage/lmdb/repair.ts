import type { DurableTables, Environments } from "./environments.ts";
import { readJob } from "./job.ts";
import { HIGHEST_KEY, LOWEST_KEY, readWhole } from "./keys.ts";
import type { Lanes } from "./lanes.ts";
import { placeOf } from "./ledger.ts";
import type { Leases } from "./leases.ts";
import { decodeLease } from "./records.ts";

/**
 * Put the volatile data right after a process died between a durable write and the volatile one that
 * follows it. What that write was about can be told from the leases: those of the jobs it ended are there
 * still. Costs a look at every job that runs.
 */
export function repair(tables: DurableTables, lanes: Lanes, leases: Leases): void {
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
}

/** Forget all that is volatile, except who has the store open. No leases: everything in line is claimable. */
export function wipe({ volatile }: Environments): void {
  for (const table of [
    volatile.lease,
    volatile.line,
    volatile.again,
    volatile.process,
    volatile.held,
    volatile.ask,
    // Last, so that a wipe that was cut short is begun anew.
    volatile.meta,
  ]) {
    table.clear();
  }
}
