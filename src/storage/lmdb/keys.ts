import { createHash } from "node:crypto";

/**
 * Keys as bytes. Each function is injective, and the bytes of its keys stand in the order of their parts,
 * which is what makes the indexes work.
 */

/** Lines of claimable jobs: plain ones, and those that are claimed alone because they were lost once. */
export const PLAIN = 0;
export const MARKED = 1;
export type Kind = typeof PLAIN | typeof MARKED;

/** A place in a line, as far as it orders. */
export interface Place {
  readonly kind: Kind;
  readonly lane: number;
  readonly priority: number;
  readonly seq: number;
}

/** A job id, or any other whole number from 0 to 2^53 − 1. */
export function wholeKey(value: number): Uint8Array {
  const key = blank(8);
  putWhole(key, 0, value);
  return key;
}

export function readWhole(key: Uint8Array, at: number = 0): number {
  return readU32(key, at) * TWO_32 + readU32(key, at + 4);
}

/** `ready` and `again`: kind, lane, priority, seq. */
export function placeKey(kind: Kind, lane: number, priority: number, seq: number): Uint8Array {
  const key = blank(15);
  key[0] = kind;
  putU32(key, 1, lane);
  putU16(key, 5, priority + PRIORITY_BIAS);
  putWhole(key, 7, seq);
  return key;
}

export function readPlace(key: Uint8Array): Place {
  return {
    kind: key[0] as Kind,
    lane: readU32(key, 1),
    priority: (((key[5] as number) << 8) | (key[6] as number)) - PRIORITY_BIAS,
    seq: readWhole(key, 7),
  };
}

export function laneKey(lane: number): Uint8Array {
  const key = blank(4);
  putU32(key, 0, lane);
  return key;
}

export function readLane(key: Uint8Array): number {
  return readU32(key, 0);
}

/** An instant and a whole number: `scheduled` by (runAt, id), `batchAge` by (instant, number). */
export function instantKey(instant: number, whole: number): Uint8Array {
  const key = blank(16);
  putInstant(key, 0, instant);
  putWhole(key, 8, whole);
  return key;
}

export function readInstantKey(key: Uint8Array): { readonly instant: number; readonly whole: number } {
  return { instant: readInstant(key, 0), whole: readWhole(key, 8) };
}

/** `ended`: final state, end, number of the chunk. */
export function endedKey(state: number, endedAt: number, chunk: number): Uint8Array {
  const key = blank(17);
  key[0] = state;
  putInstant(key, 1, endedAt);
  putWhole(key, 9, chunk);
  return key;
}

export function readEndedKey(key: Uint8Array): {
  readonly state: number;
  readonly endedAt: number;
  readonly chunk: number;
} {
  return { state: key[0] as number, endedAt: readInstant(key, 1), chunk: readWhole(key, 9) };
}

/** Two whole numbers: `attempt` by (id, number), `awaited` by (id, instance). */
export function pairKey(first: number, second: number): Uint8Array {
  const key = blank(16);
  putWhole(key, 0, first);
  putWhole(key, 8, second);
  return key;
}

/**
 * Any text, and its parts stay apart. Injective up to a collision of SHA-256, which stands in for text
 * that is longer than a key may be. No order.
 */
export function textKey(...parts: readonly string[]): Uint8Array {
  // As JSON, because it keeps apart what UTF-8 alone would merge: lone surrogates.
  const text = Buffer.from(JSON.stringify(parts));
  return text.length <= TEXT_KEY_BYTES ? text : createHash("sha256").update(text).digest();
}

/** A whole number before a text: `checkpoint` by (id, key), in groups by the number. */
export function wholeTextKey(whole: number, text: string): Uint8Array {
  return Buffer.concat([wholeKey(whole), textKey(text)]);
}

/** A text before a whole number: `ask` by (process, id), in groups by the text. */
export function textWholeKey(text: string, whole: number): Uint8Array {
  return Buffer.concat([textGroup(text), wholeKey(whole)]);
}

/** What all keys of {@link textWholeKey} with this text begin with: of fixed length, so no text is within another's group. */
export function textGroup(text: string): Uint8Array {
  return createHash("sha256").update(JSON.stringify(text)).digest();
}

/** A short text of a fixed length for a limit key, up to a collision of SHA-256. */
export function limitDigest(scope: string, key: string): string {
  return createHash("sha256")
    .update(JSON.stringify([scope, key]))
    .digest("base64");
}

/** `limit` by digest. */
export function digestKey(digest: string): Uint8Array {
  return Buffer.from(digest, "base64");
}

/** `inLine`: limit key, lane. */
export function digestLaneKey(digest: string, lane: number): Uint8Array {
  return Buffer.concat([digestKey(digest), laneKey(lane)]);
}

/** `blocked`: limit key, lane, priority, seq. */
export function blockedKey(digest: string, lane: number, priority: number, seq: number): Uint8Array {
  // The kind says nothing here; without it, the rest is a place.
  return Buffer.concat([digestKey(digest), placeKey(PLAIN, lane, priority, seq).subarray(1)]);
}

export function readBlocked(key: Uint8Array): {
  readonly digest: string;
  readonly lane: number;
} {
  return {
    digest: Buffer.from(key.subarray(0, DIGEST_BYTES)).toString("base64"),
    lane: readU32(key, DIGEST_BYTES),
  };
}

/** The end of the keys that begin with a digest. */
export function digestEnd(digest: string): Uint8Array {
  return Buffer.concat([digestKey(digest), KEY_END]);
}

/** Stands behind everything that follows a digest of one of its keys. */
const KEY_END = new Uint8Array(20).fill(255);
const DIGEST_BYTES = 32;

/** `key`: scope, unique key; in groups by the scope. */
export function uniqueKey(scope: string, key: string): Uint8Array {
  return Buffer.concat([textGroup(scope), textKey(key)]);
}

/** `keyEnd` and `scheduleAt`: an instant before another key. */
export function timedKey(instant: number, key: Uint8Array): Uint8Array {
  const timed = Buffer.alloc(8 + key.length);
  putInstant(timed, 0, instant);
  timed.set(key, 8);
  return timed;
}

export function readTimed(key: Uint8Array): { readonly instant: number; readonly key: Uint8Array } {
  return { instant: readInstant(key, 0), key: key.subarray(8) };
}

/** A text whose keys stand in the order of JavaScript's comparison, as far as they are not very long. */
export function orderedTextKey(text: string): Uint8Array {
  const units = Buffer.from(text.slice(0, ORDERED_UNITS), "utf16le").swap16();
  return text.length <= ORDERED_UNITS ? units : Buffer.concat([units, textGroup(text)]);
}

/** Twice the longest name, which may have two units a character. */
const ORDERED_UNITS = 400;

/** `flow`: lane, width of the bucket, number of the bucket. */
export function flowKey(lane: number, width: number, bucket: number): Uint8Array {
  const key = blank(13);
  putU32(key, 0, lane);
  key[4] = width;
  putInstant(key, 5, bucket);
  return key;
}

export function readFlow(key: Uint8Array): { readonly width: number; readonly bucket: number } {
  return { width: key[4] as number, bucket: readInstant(key, 5) };
}

/** Stands before every key. */
export const LOWEST_KEY: Uint8Array = Uint8Array.of(0);
/** Stands after every key of numbers, instants and texts. */
export const HIGHEST_KEY: Uint8Array = new Uint8Array(32).fill(255);

const TWO_32 = 2 ** 32;
const PRIORITY_BIAS = 0x8000;
/** The longest key of the store's page size is 1,978 bytes. */
const TEXT_KEY_BYTES = 500;

/** From a pool, which is several times faster than an array of its own; every byte is written at once. */
function blank(bytes: number): Uint8Array {
  return Buffer.allocUnsafe(bytes);
}

function putU16(key: Uint8Array, at: number, value: number): void {
  key[at] = value >>> 8;
  key[at + 1] = value;
}

function putU32(key: Uint8Array, at: number, value: number): void {
  key[at] = value >>> 24;
  key[at + 1] = value >>> 16;
  key[at + 2] = value >>> 8;
  key[at + 3] = value;
}

function readU32(key: Uint8Array, at: number): number {
  return (
    (key[at] as number) * 0x1_00_00_00 +
    (((key[at + 1] as number) << 16) | ((key[at + 2] as number) << 8) | (key[at + 3] as number))
  );
}

function putWhole(key: Uint8Array, at: number, value: number): void {
  putU32(key, at, Math.floor(value / TWO_32));
  putU32(key, at + 4, value >>> 0);
}

const scratch = new DataView(new ArrayBuffer(8));

/** Numbers as IEEE 754 stand in order of their bits once the sign is turned, and all bits of negative ones. */
function putInstant(key: Uint8Array, at: number, instant: number): void {
  // Adding 0 makes one zero of the two.
  scratch.setFloat64(0, instant + 0);
  const high = scratch.getUint32(0);
  const low = scratch.getUint32(4);
  const isNegative = high >>> 31 === 1;
  putU32(key, at, isNegative ? ~high : high ^ 0x8000_0000);
  putU32(key, at + 4, isNegative ? ~low : low);
}

function readInstant(key: Uint8Array, at: number): number {
  const high = readU32(key, at);
  const low = readU32(key, at + 4);
  const wasNegative = high >>> 31 === 0;
  scratch.setUint32(0, wasNegative ? ~high : high ^ 0x8000_0000);
  scratch.setUint32(4, wasNegative ? ~low : low);
  return scratch.getFloat64(0);
}
