import type { AttemptEntry, JobId } from "../../job/job.ts";
import type { LogEntry, LogLine, ProcessInfo, ServedQueue, StoredJob } from "../storage.ts";
import type { Row } from "./database.ts";
import { readJob, storedJob } from "./record.ts";
import { stateOf } from "./state-number.ts";
import type { Store } from "./store.ts";
import { decodeText } from "./text.ts";

export { count, lanes } from "./count.ts";
export { list } from "./listing.ts";

/** Jobs looked up in one statement. */
const GET_STEP = 1_000;

/** Each as it is at one instant: where it waits, who holds it and its row are read in one snapshot. */
export async function get(store: Store, ids: readonly JobId[]): Promise<(StoredJob | undefined)[]> {
  const found = new Map<JobId, StoredJob>();
  // Numbers that are no ids are of no job.
  const wanted = [...new Set(ids)].filter((id) => Number.isSafeInteger(id) && id > 0);
  for (let start = 0; start < wanted.length; start += GET_STEP) {
    const rows = await store.database.query(
      store.statement("look_get", "select * from $s.look_jobs($1::text::bigint[])"),
      [`{${wanted.slice(start, start + GET_STEP).join()}}`],
    );
    for (const row of rows) {
      const job = readFound(row);
      found.set(job.id, job);
    }
  }
  return ids.map((id) => found.get(id));
}

/** A row of `look_jobs`: the place among the ids, state and holder while it is not finished, the job. */
function readFound(row: Row): StoredJob {
  const record = readJob(row, 3);
  const [, number, holder] = row;
  const state = typeof number === "string" ? stateOf(Number(number)) : record.head.state;
  return storedJob(record, state, typeof holder === "string" ? decodeText(holder) : undefined);
}

/** Entries of their own while the job may go on, and folded into its row when it is finished. */
export async function attempts(store: Store, id: JobId): Promise<AttemptEntry[]> {
  if (!Number.isSafeInteger(id)) return [];
  const rows = await store.database.query(
    store.statement("look_attempts", "select * from $s.job_attempts($1::text::bigint)"),
    [id],
  );
  return rows.flatMap(([entry, entries]) =>
    typeof entry === "string"
      ? [JSON.parse(entry) as AttemptEntry]
      : (JSON.parse(entries as string) as AttemptEntry[]),
  );
}

/** As {@link attempts}. An entry is `[number, attempt, line]`. */
export async function logs(store: Store, id: JobId): Promise<LogEntry[]> {
  if (!Number.isSafeInteger(id)) return [];
  const rows = await store.database.query(
    store.statement("look_log", "select * from $s.job_log($1::text::bigint)"),
    [id],
  );
  return rows
    .flatMap(([entry, entries]) =>
      typeof entry === "string" ? [JSON.parse(entry) as LogRow] : (JSON.parse(entries as string) as LogRow[]),
    )
    .map(([number, attempt, line]) => ({ number, attempt, ...line }));
}

type LogRow = readonly [number: number, attempt: number, line: LogLine];

export async function processes(store: Store): Promise<ProcessInfo[]> {
  const rows = await store.database.query(
    store.statement("see_processes", "select * from $s.see_processes($1::text::float8)"),
    [store.alive()],
  );
  return rows.map((row) => {
    const [id, name, host, pid, queues, lostAfterMs, registeredAt, silentMs, lost, running, declares] =
      row as ProcessRow;
    return {
      id: decodeText(id),
      ...(name === null ? {} : { name: decodeText(name) }),
      host: decodeText(host),
      pid: Number(pid),
      queues: (JSON.parse(queues) as ServedQueue[]).map((served) => ({
        queue: decodeText(served.queue),
        names: served.names.map(decodeText),
        concurrency: served.concurrency,
      })),
      lostAfterMs: Number(lostAfterMs),
      registeredAt: Number(registeredAt),
      silentMs: Number(silentMs),
      lost: lost === "t",
      running: Number(running),
      ...(declares === null ? {} : { declares: JSON.parse(declares) as string[] }),
    };
  });
}

/** A row of `see_processes`. */
type ProcessRow = [
  id: string,
  name: string | null,
  host: string,
  pid: string,
  queues: string,
  lostAfterMs: string,
  registeredAt: string,
  silentMs: string,
  lost: string,
  running: string,
  declares: string | null,
];
