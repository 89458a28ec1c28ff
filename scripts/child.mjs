import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { Failure, root } from "./project.mjs";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];

/** Signals of one kind within this time are one signal: npm passes on what the terminal already sent to all. */
const SAME_SIGNAL_MS = 500;

/** Run a program with Node, on our own stdin, stdout and stderr. Answers how it ended. */
export async function run(program, env = {}) {
  const child = spawn(process.execPath, program, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: "inherit",
  });
  return ended(child);
}

/**
 * Run a command and keep its output for the case that it fails.
 *
 * @param onPid told the child's process id, so that it can be named in the lock
 * @throws Failure with everything it printed
 */
export async function runQuietly(what, [command, ...args], { onPid, advice = "", shell = false } = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], shell });
  if (child.pid !== undefined) onPid?.(child.pid);
  const output = [];
  child.stdout.on("data", (chunk) => output.push(chunk));
  child.stderr.on("data", (chunk) => output.push(chunk));
  const { exitCode, interrupted } = await ended(child);
  if (interrupted) throw new Failure(`${what} was interrupted.`, exitCode);
  if (exitCode !== 0) {
    const text = Buffer.concat(output).toString("utf8").trim();
    throw new Failure(
      [text, `${what} failed with exit code ${exitCode}.`, advice].filter(Boolean).join("\n"),
    );
  }
}

/** Wait for a child, passing our signals on to it; we never end before it. */
function ended(child) {
  return new Promise((resolve, reject) => {
    let interrupted = false;
    const lastAt = new Map();
    const pass = (signal) => {
      interrupted = true;
      const now = performance.now();
      const isRepeated = now - (lastAt.get(signal) ?? -Infinity) < SAME_SIGNAL_MS;
      lastAt.set(signal, now);
      if (isRepeated || (isFromTerminal(signal) && inForeground())) return;
      child.kill(signal);
    };
    for (const signal of SIGNALS) process.on(signal, pass);
    const settle = (answer, value) => {
      for (const signal of SIGNALS) process.off(signal, pass);
      answer(value);
    };
    child.once("error", (error) =>
      settle(reject, new Failure(`${child.spawnfile} cannot be run: ${error.message}`)),
    );
    child.once("close", (code, signal) =>
      settle(resolve, { exitCode: code ?? 128 + (constants.signals[signal] ?? 1), interrupted }),
    );
  });
}

function isFromTerminal(signal) {
  return signal === "SIGINT" || signal === "SIGQUIT";
}

/**
 * Whether a terminal sends its Ctrl-C to us, and then to the child as well: passing it on would make
 * two of one, and a second Ctrl-C often means "at once".
 */
function inForeground() {
  try {
    // After the name in parentheses: state, ppid, pgrp, session, tty_nr, tpgid (man 5 proc).
    const stat = readFileSync("/proc/self/stat", "utf8");
    const [, , pgrp, , , tpgid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return pgrp === tpgid;
  } catch {
    return Boolean(process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY);
  }
}
