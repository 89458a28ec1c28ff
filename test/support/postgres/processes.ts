import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** Whether a process exists and is more than an entry that nobody has fetched the exit code of. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return !/^[ZX]/.test(stateAndParent(pid)?.state ?? "");
}

/** The direct children of a process. */
export function childrenOf(parent: number): number[] {
  const processes = onLinux() ? readdirSync("/proc").map(Number).filter(Boolean) : listed();
  return processes.filter((pid) => stateAndParent(pid)?.parent === parent);
}

/** Wait until a process is gone. @throws after `withinMs` */
export async function untilGone(pid: number, withinMs = 30_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (isRunning(pid)) {
    if (performance.now() > end) throw new Error(`Process ${pid} is still there after ${withinMs} ms.`);
    await pause(5);
  }
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** End the server that works in a data folder, whoever started it. */
export async function endPostmasterOf(data: string): Promise<void> {
  const pid = Number(postmasterFile(data)[0]);
  // After a crash the file names a process that may be anybody's by now.
  if (!(pid > 0) || !isRunning(pid) || !commandOf(pid).includes(data)) return;
  signal(pid, "SIGQUIT");
  await untilGone(pid).catch(() => signal(pid, "SIGKILL"));
}

/** The lines of a server's `postmaster.pid`; none when there is no such file. */
export function postmasterFile(data: string): string[] {
  try {
    return readFileSync(join(data, "postmaster.pid"), "utf8").split("\n");
  } catch {
    return [];
  }
}

/** The command line of a process. */
export function commandOf(pid: number): string {
  try {
    if (onLinux()) return readFileSync(`/proc/${pid}/cmdline`, "utf8");
    return execFileSync("ps", ["-o", "command=", "-p", `${pid}`], { encoding: "utf8" });
  } catch {
    return "";
  }
}

function stateAndParent(pid: number): { state: string; parent: number } | undefined {
  try {
    const text = onLinux()
      ? readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "")
      : execFileSync("ps", ["-o", "stat=,ppid=", "-p", `${pid}`], { encoding: "utf8" }).trim();
    const [state = "", parent = ""] = text.split(/\s+/);
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

function listed(): number[] {
  return execFileSync("ps", ["-A", "-o", "pid="], { encoding: "utf8" })
    .split("\n")
    .map(Number)
    .filter(Boolean);
}

function onLinux(): boolean {
  return process.platform === "linux";
}
