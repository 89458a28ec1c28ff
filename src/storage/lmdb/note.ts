import { InvalidValueError } from "../../errors.ts";
import type { JobHead, JobId } from "../../job/job.ts";
import { limits } from "../../job/limits.ts";
import type { Lease, LogEntry, LogLine, Note } from "../storage.ts";
import { groupEnd, type KeptJob, readCheckpoint } from "./job.ts";
import { pairKey, wholeKey, wholeTextKey } from "./keys.ts";
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
      const job = ledger.runningJob(lease.id, lease.generation);
      if (job === undefined) return;
      const { checkpoint, result, progress, log } = what;
      const checkpointBytes =
        checkpoint === undefined ? job.record.checkpointBytes : saveEntries(ledger, job, checkpoint);
      const head: JobHead = {
        ...job.record.head,
        ...(result === undefined ? {} : { result }),
        ...(progress === undefined ? {} : { progress }),
      };
      const lines = log === undefined ? job.record.logs : addLines(ledger, job, log);
      ledger.amend(job, { ...job.record, head, checkpointBytes, logs: lines });
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

/**
 * Lines at the end of a job's log; the oldest go.
 *
 * @returns the number of the last line
 */
function addLines({ tables }: Ledger, { id, record }: KeptJob, lines: readonly LogLine[]): number {
  const before = record.logs;
  const last = before + lines.length;
  const attempt = record.head.attempt + 1;
  const oldest = last - limits.logLines + 1;
  for (
    let number = Math.max(1, before - limits.logLines + 1);
    number < Math.min(oldest, before + 1);
    number++
  )
    tables.log.remove(pairKey(id, number));
  for (const [i, { at, level, text }] of lines.entries()) {
    const number = before + 1 + i;
    if (number >= oldest)
      tables.log.put(pairKey(id, number), JSON.stringify({ number, attempt, at, level, text }));
  }
  return last;
}

/** Within `Store.read`. */
export function logs({ durable }: Store, id: JobId): LogEntry[] {
  return durable.log
    .rows(wholeKey(id), groupEnd(id), limits.logLines)
    .map(({ value }) => JSON.parse(value) as LogEntry);
}
