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

/** A failure of LMDB or of the file system as an error of ours; what is ours, or a mistake, stays as it is. */
export function typedError(error: unknown, label: string): unknown {
  if (error instanceof JobwrightError) return error;
  const text = textOf(error);
  if (FULL.test(text)) {
    return new StorageFullError(
      `${label} has no room: ${text}. Free space on its disk (or raise mapBytes), then repeat; nothing acknowledged is lost.`,
      { cause: error },
    );
  }
  if (CORRUPTED.test(text)) {
    return new StorageCorruptedError(`${label} is damaged: ${text}. Restore it from a backup.`, { cause: error });
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
const FULL = /MDB_MAP_FULL|MDB_DBS_FULL|ENOSPC|EDQUOT|No space left|Disk quota exceeded/;
const CORRUPTED = /MDB_CORRUPTED|MDB_PAGE_NOTFOUND|MDB_INVALID|MDB_VERSION_MISMATCH|MDB_PAGE_FULL|MDB_CURSOR_FULL/;
const REFUSED = /EACCES|EPERM|EROFS|ENOTDIR|ELOOP|Permission denied|Read-only file system|Operation not permitted/;
const NO_MEMORY = /ENOMEM|Cannot allocate memory/;
const INPUT_OUTPUT = /EIO|Input\/output error|EMFILE|ENFILE|Too many open files|MDB_/;

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? `${error.message} (${code})` : error.message;
}
