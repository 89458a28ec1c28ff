import { statfsSync } from "node:fs";
import {
  JobwrightError,
  StorageCorruptedError,
  StorageFullError,
  StorageRefusedError,
  StorageUnavailableError,
} from "../../errors.ts";

/** Whether the environment has to be opened anew; nothing of the failed transaction was stored. */
export function isBroken(error: unknown): boolean {
  return !(error instanceof JobwrightError) && BROKEN.test(textOf(error));
}

/**
 * A failure of LMDB or of the file system as an error of ours; what is ours, or a mistake, stays as it is.
 *
 * @param folder where the data are, once that is known
 */
export function typedError(error: unknown, label: string, folder?: string): unknown {
  if (error instanceof JobwrightError) return error;
  const text = textOf(error);
  if (FULL.test(text) || (INPUT_OUTPUT.test(text) && isDiskFull(folder))) {
    return new StorageFullError(
      `${label} has no room: ${text}. Free space on its disk, then repeat; nothing acknowledged is lost.`,
      { cause: error },
    );
  }
  if (CORRUPTED.test(text)) {
    return new StorageCorruptedError(`${label} is damaged: ${text}. Restore it from a backup.`, {
      cause: error,
    });
  }
  if (REFUSED.test(text)) {
    return new StorageRefusedError(`${label} cannot be used: ${text}.`, { cause: error });
  }
  if (NO_MEMORY.test(text)) {
    return new StorageRefusedError(
      `${label} cannot be mapped: ${text}. Set mapBytes to less than the address space this process may use.`,
      { cause: error },
    );
  }
  if (BROKEN.test(text) || INPUT_OUTPUT.test(text)) {
    return new StorageUnavailableError(`${label} did not answer: ${text}`, { cause: error });
  }
  return error;
}

const BROKEN =
  /MDB_PANIC|MDB_PROBLEM|MDB_BAD_TXN|MDB_READERS_FULL|MDB_MAP_RESIZED|MDB_BAD_RSLOT|closed database|has been closed/;
const FULL = /MDB_MAP_FULL|MDB_DBS_FULL|ENOSPC|EDQUOT|EFBIG|File too large|No space left|Disk quota exceeded/;
const CORRUPTED =
  /MDB_CORRUPTED|MDB_PAGE_NOTFOUND|MDB_INVALID|MDB_VERSION_MISMATCH|MDB_PAGE_FULL|MDB_CURSOR_FULL/;
const REFUSED =
  /EACCES|EPERM|EROFS|ENOTDIR|ELOOP|Permission denied|Read-only file system|Operation not permitted/;
const NO_MEMORY = /ENOMEM|Cannot allocate memory/;
const INPUT_OUTPUT = /EIO|Input\/output error|EMFILE|ENFILE|Too many open files|MDB_/;

/** A write that the disk could take only in part is reported as a failure of the device. */
function isDiskFull(folder: string | undefined): boolean {
  if (folder === undefined) return false;
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < FULL_BYTES;
  } catch {
    return false;
  }
}

/** With less than this left, a transaction of the usual size does not fit. */
const FULL_BYTES = 1_048_576;

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? `${error.message} (${code})` : error.message;
}
