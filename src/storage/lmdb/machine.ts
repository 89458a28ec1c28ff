import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { uptime } from "node:os";

/** Tells one run of the machine from the next. */
export function bootId(): string {
  if (process.platform === "linux") return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  if (process.platform === "darwin") {
    return execFileSync("/usr/sbin/sysctl", ["-n", "kern.bootsessionuuid"], { encoding: "utf8" }).trim();
  }
  // The moment of the start, coarse enough that a corrected clock does not move it by much. If it is
  // taken for another boot while the store is in use, the system refuses to delete the open files.
  return `started ${Math.round((Date.now() / 1_000 - uptime()) / 600)}`;
}

/** The address space this process may use, in bytes; `Infinity` when it is not limited. */
export function addressSpaceBytes(limitsText: string = readLimits()): number {
  const [, soft] = /^Max address space\s+(\d+|unlimited)/m.exec(limitsText) ?? [];
  return soft === undefined || soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}

function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
