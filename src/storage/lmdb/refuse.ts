import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { StorageRefusedError, StorageVersionError } from "../../errors.ts";
import type { DurableTables } from "./environments.ts";
import { typedError } from "./failures.ts";

/**
 * The newest format of the durable data that this code reads, and the one it writes. A store of an older format is
 * raised when it is opened: the tables of the newer one are only added. What reads the older one alone must not
 * write to it any more, since it would let unique keys and limit keys be taken for ever.
 */
export const FORMAT = 2;

/** Kind of the file system under a path, as `statfs` numbers it. */
export type FileSystemType = (path: string) => number;

/**
 * Make the folder, or see that it is one of ours and can be used.
 *
 * @returns its real path
 * @throws StorageRefusedError
 */
export function prepareFolder(path: string, label: string, typeOf: FileSystemType = fileSystemType): string {
  try {
    makeFolder(resolve(path));
  } catch (error) {
    throw asRefusal(error, label, path);
  }
  if (!statSync(path).isDirectory()) throw notAFolder(label, path);
  const real = realpathSync(path);
  const network = NETWORK.get(typeOf(real));
  if (network !== undefined) {
    throw new StorageRefusedError(
      `${label} is on a network file system (${network}), where locks and memory maps of several machines do not ` +
        "agree. Use a local disk, and `jobwright serve` for other machines.",
    );
  }
  const marker = join(real, MARKER);
  try {
    accessSync(real, constants.R_OK | constants.W_OK | constants.X_OK);
    const entries = readdirSync(real);
    if (entries.length > 0 && !entries.includes(MARKER)) {
      throw new StorageRefusedError(
        `${label} is a folder with other things in it (${entries.slice(0, 3).join(", ")}). Name an empty or a new one.`,
      );
    }
    // Before anything else, so that a folder that was begun is known as ours.
    if (!entries.includes(MARKER)) writeFileSync(marker, MARKER_TEXT, { mode: 0o600 });
    else accessSync(marker, constants.W_OK);
    for (const folder of ["locks", "instances"])
      mkdirSync(join(real, folder), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw asRefusal(error, label, path);
  }
  return real;
}

/**
 * See that this code can read what is stored; note the format of a new store, and raise that of an older one when
 * nobody else uses it. Inside the gate.
 *
 * @param older PIDs of processes that have the store open and know older formats only
 * @throws StorageVersionError
 * @throws StorageRefusedError when the store would be raised under the feet of such processes
 */
export function checkFormat(
  tables: DurableTables,
  label: string,
  older: () => readonly number[],
  write: (body: () => void) => void,
): void {
  const stored = tables.meta.get(FORMAT_KEY);
  if (stored === String(FORMAT)) return;
  if (stored !== undefined && !(Number(stored) <= FORMAT))
    throw new StorageVersionError(label, Number(stored), FORMAT);
  const pids = stored === undefined ? [] : older();
  if (pids.length > 0) {
    throw new StorageRefusedError(
      `${label} is open in processes of an older version of jobwright (PID ${pids.slice(0, PIDS_SHOWN).join(", ")}), ` +
        `and this one writes format ${FORMAT}, which they cannot read. Stop them first, then start this one.`,
    );
  }
  write(() => tables.meta.put(FORMAT_KEY, String(FORMAT)));
}

const PIDS_SHOWN = 5;

const FORMAT_KEY = Buffer.from("format");
const MARKER = "jobwright-store";
const MARKER_TEXT =
  "The jobs of jobwright (https://www.npmjs.com/package/jobwright). Do not delete single files.\n";

const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x01021997, "9p"],
  [0x0bd00bd0, "Lustre"],
  [0x5346414f, "AFS"],
  [0x00c36400, "CEPH"],
  [0x6b414653, "kAFS"],
  [0x7461636f, "OCFS2"],
  [0x01161970, "GFS2"],
]);

function fileSystemType(path: string): number {
  // The numbers of other systems mean other things.
  return process.platform === "linux" ? Number(statfsSync(path).type) >>> 0 : 0;
}

/** Folder by folder: Node's own recursion does not come to an end where a file system refuses with ENOENT. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have been quicker.
    if ((error as { code?: unknown }).code !== "EEXIST") throw error;
  }
}

function asRefusal(error: unknown, label: string, path: string): unknown {
  const { code } = error as { code?: unknown };
  if (code === "EEXIST" || code === "ENOTDIR") return notAFolder(label, path);
  if (code === "ENOENT") {
    return new StorageRefusedError(`${label} cannot be made: ${(error as Error).message}.`, { cause: error });
  }
  return typedError(error, label);
}

function notAFolder(label: string, path: string): StorageRefusedError {
  return new StorageRefusedError(
    `${label} is not a folder: ${path}. Name a folder; it is made if it is missing.`,
  );
}
