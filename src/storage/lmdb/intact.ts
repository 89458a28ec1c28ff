import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { StorageCorruptedError } from "../../errors.ts";

/** Given at the creation of every environment, and found again in its file. */
export const PAGE_BYTES = 4_096;

/**
 * See that a file can be an environment of LMDB, before LMDB maps it: what is no such file, or was cut
 * short, would end the process with a signal instead of an error.
 *
 * @returns whether the file exists
 * @throws StorageCorruptedError
 */
export function checkIntact(path: string): boolean {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return false;
    throw error;
  }
  try {
    const { size } = fstatSync(file);
    if (size === 0) return true;
    const head = Buffer.alloc(2 * PAGE_BYTES);
    if (readSync(file, head, 0, head.length, 0) < head.length) throw damaged(path, "it is too short");
    const newest = [readMeta(head, 0), readMeta(head, PAGE_BYTES)].sort((a, b) =>
      Number(b.transaction - a.transaction),
    )[0];
    if (newest?.isOurs !== true) throw damaged(path, "it does not begin as a store does");
    // Pages at the end that a transaction took and gave back were perhaps never written.
    const missing = Number(newest.lastPage) + 1 - size / PAGE_BYTES;
    if (missing > UNWRITTEN_PAGES) throw damaged(path, `${missing} of its pages are missing`);
    return true;
  } finally {
    closeSync(file);
  }
}

/** The layout of the LMDB that comes with the package; a test notices when an update changes it. */
function readMeta(
  head: Buffer,
  at: number,
): { readonly isOurs: boolean; readonly lastPage: bigint; readonly transaction: bigint } {
  return {
    isOurs: head.readUInt32LE(at + 24) === 0xbeef_c0de && head.readUInt32LE(at + 48) === PAGE_BYTES,
    lastPage: head.readBigUInt64LE(at + 144),
    transaction: head.readBigUInt64LE(at + 152),
  };
}

const UNWRITTEN_PAGES = 1_024;

function damaged(path: string, how: string): StorageCorruptedError {
  return new StorageCorruptedError(`${path} is damaged: ${how}. Restore the folder from a backup.`);
}
