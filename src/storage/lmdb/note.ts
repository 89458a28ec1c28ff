import { InvalidValueError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import type { Lease, Note } from "../storage.ts";
import { type KeptJob, readCheckpoint } from "./job.ts";
import { wholeTextKey } from "./keys.ts";
import type { Ledger } from "./ledger.ts";
import { standing } from "./leases.ts";
import { encodeEntry } from "./records.ts";
import type { Store } from "./store.ts";

/** Save something of a running job. */
export async function note(
  store: Store,
  lease: Lease,
  what: Note,
  now: () => number,
): Promise<"saved" | "stale"> {
  return store.hold(() => {
    if (standing(store.volatile, lease) === undefined) return "stale";
    store.writeDurable(now(), (ledger) => {
      const job = ledger.job(lease.id);
      if (job === undefined) return;
      const { checkpoint, result } = what;
      const checkpointBytes =
        checkpoint === undefined ? job.record.checkpointBytes : saveEntries(ledger, job, checkpoint);
      const head = result === undefined ? job.record.head : { ...job.record.head, result };
      ledger.amend(job, { ...job.record, head, checkpointBytes });
    });
    return "saved";
  });
}

/**
 * Set and remove checkpoint entries: all of them, or none.
 *
 * @returns the bytes of all entries now
 * @throws InvalidValueError when the entries together would grow beyond `limits.checkpointBytes`
 */
function saveEntries({ tables }: Ledger, job: KeptJob, entries: NonNullable<Note["checkpoint"]>): number {
  const kept = job.record.checkpointBytes === 0 ? new Map<string, string>() : readCheckpoint(tables, job.id);
  let bytes = job.record.checkpointBytes;
  for (const [name, value] of Object.entries(entries)) {
    const old = kept.get(name);
    if (old !== undefined) bytes -= entryBytes(name, old);
    if (value !== null) bytes += entryBytes(name, value);
  }
  if (bytes > limits.checkpointBytes) {
    throw new InvalidValueError(
      `The checkpoint of job ${job.id}`,
      `Its entries together would be ${bytes} bytes; the limit is ${limits.checkpointBytes}. ` +
        "Store the data elsewhere and keep a reference to it.",
    );
  }
  for (const [name, value] of Object.entries(entries)) {
    const key = wholeTextKey(job.id, name);
    if (value === null) tables.checkpoint.remove(key);
    else tables.checkpoint.put(key, encodeEntry(name, value));
  }
  return bytes;
}

function entryBytes(name: string, value: string): number {
  return Buffer.byteLength(name) + Buffer.byteLength(value);
}
