import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  mkdtempSync,
  chownSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statfsSync,
  statSync,
} from "node:fs";
import { freemem, homedir, tmpdir } from "node:os";
import { dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { isLong } from "../size.ts";
import { endPostmasterOf, isRunning } from "./processes.ts";

/** PostgreSQL refuses to run as root; then it runs as `nobody`, who is there everywhere. */
export const serverUser: { uid?: number; gid?: number } =
  process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/**
 * A folder of this process for servers: neither in the repository nor in a home, which `nobody` often
 * cannot enter. Its name tells who made it, so that others can remove it once that process is gone.
 */
export function makePrivateFolder(): string {
  return makeIn(place());
}

/**
 * The same for the data of a server or of an LMDB store: in memory where there is plenty, since a database or a store
 * is many new files, and a file system on disk takes longer for them than most tests do. Nothing can be run from there.
 */
export function makeDataFolder(): string {
  return makeIn(hasMemory() ? IN_MEMORY : place());
}

function makeIn(where: string): string {
  const folder = mkdtempSync(join(where, `${prefix()}${process.pid}-`));
  chmodSync(folder, 0o755);
  return folder;
}

/** A folder inside a private one that belongs to the server. */
export function makeServerFolder(path: string): string {
  mkdirSync(path, { mode: 0o700 });
  const { uid, gid } = serverUser;
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
  return path;
}

/** End the servers and remove the folders of processes that died without doing it. */
export async function removeLeftovers(): Promise<void> {
  const start = prefix();
  for (const where of [place(), ...(isFolder(IN_MEMORY) ? [IN_MEMORY] : [])]) {
    for (const name of readdirSync(where)) {
      if (!name.startsWith(start)) continue;
      const maker = Number(name.slice(start.length).split("-")[0]);
      const folder = join(where, name);
      if (isRunning(maker) || !isOurs(folder)) continue;
      await endPostmasterOf(join(folder, "data"));
      removeFolder(folder);
    }
  }
}

/** Remove a folder with all in it. Two runs may be at the same leftovers, so it tries again. */
export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
}

/** Whether the user that the server runs as can get to a file. */
export function isOpenToServer(path: string): boolean {
  if (serverUser.uid === undefined) return true;
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** Process ids mean something within their namespace only: containers may share a temporary folder. */
function prefix(): string {
  let namespace = "0";
  try {
    namespace = /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    // Only Linux has such namespaces.
  }
  return `jobwright-pg-${namespace}-`;
}

function place(): string {
  const repository = fileURLToPath(new URL("../../../", import.meta.url));
  const suits = (folder: string): boolean =>
    isOpenToServer(join(folder, "x")) && !isWithin(folder, repository) && !isWithin(folder, homedir());
  const choices = [tmpdir(), "/tmp", "/var/tmp"];
  return choices.find((folder) => isFolder(folder) && suits(folder)) ?? tmpdir();
}

/** Where Linux keeps files in memory. */
const IN_MEMORY = "/dev/shm";
/** Several times what all servers of a run keep at one time. */
const MEMORY_MIN_BYTES = 6 * 2 ** 30;

/** The long run measures, and a place that somebody has named is where things go. */
function hasMemory(): boolean {
  if (process.platform !== "linux" || isLong || isAsked()) return false;
  try {
    accessSync(IN_MEMORY, constants.W_OK);
    const { type, bavail, bsize } = statfsSync(IN_MEMORY);
    const limit = process.constrainedMemory() || Number.POSITIVE_INFINITY;
    return type === TMPFS && Math.min(bavail * bsize, freemem(), limit) > MEMORY_MIN_BYTES;
  } catch {
    return false;
  }
}

/** The number by which the kernel knows a file system in memory. */
const TMPFS = 0x01021994;

function isAsked(): boolean {
  return Boolean(process.env["TMPDIR"]);
}

/** A temporary folder is everybody's, and only one's own things can be removed from it. */
function isOurs(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.uid === process.getuid?.();
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function isWithin(path: string, folder: string): boolean {
  return `${resolve(path)}${sep}`.startsWith(`${resolve(folder)}${sep}`);
}
