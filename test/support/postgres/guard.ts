import { spawn } from "node:child_process";
import type { Socket } from "node:net";

/**
 * A shell that waits for the end of our standing pipe, which the kernel closes however we die, then ends
 * our server and removes its folder. Exit handlers and signal handlers would miss `kill -9`, and tests
 * may not install them in a process that is vitest's. A server removes its file as its last act; whether
 * its process is still listed depends on who inherits it and may never fetch its exit code.
 */
const SCRIPT = `
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
  kill -QUIT "$pid"
  tries=0
  while kill -0 "$pid" && [ -e "$1/data/postmaster.pid" ] && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -KILL "$pid"
fi
rm -rf "$1"
`;

export interface Guard {
  /** The process that must not outlive us; `undefined` when there is none now. */
  watch(pid: number | undefined): void;
  /** Nothing is left to guard. */
  end(): void;
}

/** Have a folder removed, and the process in it ended, when this process dies in any way. */
export function guard(folder: string): Guard {
  const shell = spawn("/bin/sh", ["-c", SCRIPT, "jobwright-guard", folder], {
    // Out of reach of the terminal's Ctrl-C, and of the folder it removes.
    detached: true,
    cwd: "/",
    stdio: ["pipe", "ignore", "ignore"],
  });
  shell.on("error", () => undefined);
  shell.stdin.on("error", () => undefined);
  shell.unref();
  (shell.stdin as Socket).unref();
  return {
    watch: (pid) => void shell.stdin.write(`${pid ?? ""}\n`),
    end: () => void shell.stdin.end("\n"),
  };
}
