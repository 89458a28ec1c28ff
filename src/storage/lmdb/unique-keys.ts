import { InvalidOptionError } from "../../errors.ts";
import type { JobId, JobState } from "../../job/job.ts";
import { isHeld, isHeldByTime, type KeyRow, keyRow, type UniqueKey } from "../../job/key.ts";
import { limits } from "../../job/limits.ts";
import { checkKeyQuery } from "../page.ts";
import type { HeldKey, KeyPage, KeyQuery } from "../storage.ts";
import type { DurableTables } from "./environments.ts";
import { stateOf } from "./job.ts";
import { LOWEST_KEY, readTimed, textGroup, timedKey, uniqueKey } from "./keys.ts";
import type { Store } from "./store.ts";

/** Unique keys as one durable write sees and changes them: a row for each, with the job that took it last. */
export class UniqueKeys {
  readonly #tables: DurableTables;
  readonly #now: number;
  /** `undefined` when the job is not kept (any more). */
  readonly #stateOf: (id: JobId) => JobState | undefined;

  constructor(tables: DurableTables, now: number, stateOfJob: (id: JobId) => JobState | undefined) {
    this.#tables = tables;
    this.#now = now;
    this.#stateOf = stateOfJob;
  }

  /** Who took the key last. */
  row({ scope, key }: UniqueKey): KeyRow | undefined {
    const text = this.#tables.key.get(uniqueKey(scope, key));
    return text === undefined ? undefined : decodeKey(text).row;
  }

  /** Who holds the key now. */
  heldBy(unique: UniqueKey): KeyRow | undefined {
    const row = this.row(unique);
    return row !== undefined && isHeld(row, this.#stateOf(row.id), this.#now) ? row : undefined;
  }

  take(id: JobId, unique: UniqueKey): void {
    this.#put(unique, keyRow(id, unique, this.#now));
  }

  /**
   * A finished job is to run again: it holds its key as before.
   *
   * @returns false when another job holds it
   */
  takeBack(id: JobId, unique: UniqueKey): boolean {
    const row = this.row(unique);
    if (row?.id === id) return true;
    if (row !== undefined && isHeld(row, this.#stateOf(row.id), this.#now)) return false;
    this.#put(unique, { id, while: unique.while });
    return true;
  }

  #put({ scope, key: name }: UniqueKey, row: KeyRow): void {
    const key = uniqueKey(scope, name);
    this.#forgetEnd(key);
    this.#tables.key.put(key, encodeKey(name, row));
    if (typeof row.until === "number") this.#tables.keyEnd.put(timedKey(row.until, key), "");
  }

  /** Its job has ended: the key is free, unless time or an heir holds it. */
  ended(id: JobId, unique: UniqueKey | undefined): void {
    if (unique === undefined || unique.inherit === true) return;
    const row = this.row(unique);
    if (row?.id === id && !isHeldByTime(row, this.#now)) this.#drop(unique);
  }

  /** Its job is gone. @param byHand whether somebody took it out, which frees the key in any case */
  gone(id: JobId, unique: UniqueKey | undefined, byHand: boolean): void {
    if (unique === undefined) return;
    const row = this.row(unique);
    if (row?.id === id && (byHand || !isHeldByTime(row, this.#now))) this.#drop(unique);
  }

  #drop({ scope, key: name }: UniqueKey): void {
    const key = uniqueKey(scope, name);
    this.#forgetEnd(key);
    this.#tables.key.remove(key);
  }

  #forgetEnd(key: Uint8Array): void {
    const text = this.#tables.key.get(key);
    const until = text === undefined ? undefined : decodeKey(text).row.until;
    if (typeof until === "number") this.#tables.keyEnd.remove(timedKey(until, key));
  }

  /** Rows that only time held. One of a job that is kept goes with it at the latest. */
  forgetOld(limit: number): void {
    for (const { key: timed } of endedKeys(this.#tables, this.#now, limit)) {
      this.#tables.keyEnd.remove(timed);
      const { key } = readTimed(timed);
      const text = this.#tables.key.get(key);
      if (text !== undefined && this.#stateOf(decodeKey(text).row.id) === undefined)
        this.#tables.key.remove(key);
    }
  }
}

/** Keys that time does not hold any more. */
export function endedKeys(
  { keyEnd }: DurableTables,
  now: number,
  limit: number,
): { readonly key: Uint8Array }[] {
  return keyEnd.rows(LOWEST_KEY, timedKey(now, KEY_END), limit);
}

/** Stands behind every digest of a scope. */
const KEY_END = new Uint8Array(40).fill(255);

// ── Looking ──────────────────────────────────────────────────────────────────

/**
 * The keys of a scope that are held now, one page. Within `Store.read`.
 *
 * @throws InvalidOptionError for a limit out of range or a cursor that is none
 */
export function heldKeys(store: Store, query: KeyQuery, now: number): KeyPage {
  checkKeyQuery(query);
  const { scope, key, limit, after } = query;
  const { durable } = store;
  if (key !== undefined) {
    const text = durable.key.get(uniqueKey(scope, key));
    const held = text === undefined ? undefined : heldKey(store, text, now);
    return { keys: held === undefined ? [] : [held] };
  }
  const group = textGroup(scope);
  const start = after === undefined ? group : Buffer.concat([group, readCursor(after), Uint8Array.of(0)]);
  // One more than are looked at tells whether there is a next page.
  const rows = durable.key.rows(start, Buffer.concat([group, KEY_END]), limits.listScan + 1);
  const keys: HeldKey[] = [];
  let last: Uint8Array | undefined;
  for (const [i, row] of rows.entries()) {
    const held = heldKey(store, row.value, now);
    const isFull = keys.length === limit && held !== undefined;
    if (last !== undefined && (isFull || i === limits.listScan))
      return { keys, next: Buffer.from(last.subarray(group.length)).toString("base64url") };
    if (held !== undefined) keys.push(held);
    last = row.key;
  }
  return { keys };
}

function heldKey({ durable, volatile, lanes }: Store, text: string, now: number): HeldKey | undefined {
  const { name, row } = decodeKey(text);
  const { id, until } = row;
  if (!isHeld(row, stateOf(durable, volatile, lanes, id), now)) return undefined;
  return { key: name, id, ...(until === undefined ? {} : { until }) };
}

function readCursor(after: string): Uint8Array {
  const bytes = Buffer.from(after, "base64url");
  if (bytes.length === 0 || bytes.length > CURSOR_BYTES || bytes.toString("base64url") !== after)
    throw new InvalidOptionError("after", after, "Use the `next` of a page of keys.");
  return bytes;
}

/** The longest text key. */
const CURSOR_BYTES = 500;

// ── As text ──────────────────────────────────────────────────────────────────

/** With the key itself, because its row's key may be a digest. */
function encodeKey(name: string, { id, while: held, until }: KeyRow): string {
  return JSON.stringify(until === undefined ? [id, held, name] : [id, held, name, until]);
}

function decodeKey(text: string): { readonly name: string; readonly row: KeyRow } {
  const [id, held, name, until] = JSON.parse(text) as [JobId, KeyRow["while"], string, (number | null)?];
  return { name, row: until === undefined ? { id, while: held } : { id, while: held, until } };
}
