import { InvalidValueError } from "../../errors.ts";
import { limits } from "../../job/limits.ts";
import type { Lease, Note } from "../storage.ts";
import type { Store } from "./store.ts";
import { encodeText } from "./text.ts";

/**
 * Save something of a running job: all of it, or nothing.
 *
 * @throws InvalidValueError when the checkpoint would grow beyond `limits.checkpointBytes`
 */
export async function note(
  store: Store,
  lease: Lease,
  { checkpoint, result, progress, log = [] }: Note,
): Promise<"saved" | "stale"> {
  const statement = store.statement(
    "save_note",
    "select $s.save_note($1::text::bigint, $2::text::int, $3, $4::text::int, $5::text::json, $6, $7, $8::text::json)",
  );
  const [row] = await store.database.query(statement, [
    lease.id,
    lease.generation,
    encodeText(lease.token),
    store.leases.positionOf(lease),
    checkpoint === undefined ? null : JSON.stringify(Object.entries(checkpoint).map(toEntry)),
    result === undefined ? null : encodeText(result),
    progress === undefined ? null : encodeText(progress),
    log.length === 0 ? null : JSON.stringify(log.map(({ at, level, text }) => ({ at, level, text }))),
  ]);
  const answer = row?.[0];
  if (answer === "saved" || answer === "stale") return answer;
  throw new InvalidValueError(
    `The checkpoint of job ${lease.id}`,
    `Its entries together would be ${answer} bytes; the limit is ${limits.checkpointBytes}. ` +
      "Store the data elsewhere and keep a reference to it.",
  );
}

/** The key as JSON, because any text can be one; the bytes as every engine counts them. */
function toEntry([key, value]: [string, string | null]): { k: string; v: string | null; b: number } {
  const bytes = Buffer.byteLength(key) + Buffer.byteLength(value ?? "");
  return { k: JSON.stringify(key), v: value === null ? null : encodeText(value), b: bytes };
}
