import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ChildHandle, ChildHandleEvents } from "./child-handle.ts";
import { type Assignment, isOurs, type ToParent } from "./message.ts";

/** Start a process that runs worker modules. What it connects to may hold a password: it is told, not an argument. */
export function startProcess(assignment: Assignment, events: ChildHandleEvents): ChildHandle {
  const child = fork(fileURLToPath(new URL("./child.js", import.meta.url)), {
    serialization: "advanced",
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    execArgv: childArguments(process.execArgv),
  });
  let isOver = false;
  const over = (code: number | null, signal: string | null, error?: Error): void => {
    if (isOver) return;
    isOver = true;
    events.exited(code, signal, error);
  };
  child.on("message", (message) => {
    if (isOurs<ToParent>(message)) events.message(message);
  });
  child.on("exit", (code, signal) => over(code, signal));
  child.on("error", (error) => {
    // Later ones are messages that did not arrive: its end says more.
    if (child.pid === undefined) over(null, null, error);
  });
  const tell: ChildHandle["tell"] = (message) => {
    if (!isOver && child.connected) child.send(message, () => undefined);
  };
  tell({ jobwright: "start", assignment });
  return { id: child.pid ?? 0, tell, kill: () => void child.kill("SIGKILL") };
}

/**
 * How this process was started, loaders included, less what belongs to it alone: a script given as text would be
 * run by every child, and two cannot listen for one debugger.
 */
export function childArguments(own: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < own.length; index += 1) {
    const argument = own[index] as string;
    if (/^(?:-e|-p|-pe|--eval|--print)$/.test(argument)) index += 1;
    else if (!/^--(?:inspect|watch|test|eval=|print=|input-type)/.test(argument)) kept.push(argument);
  }
  return kept;
}
