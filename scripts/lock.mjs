import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Failure, root } from "./project.mjs";

/** A folder, because making one either succeeds or finds it there, on every system. */
const LOCK = join(root, ".setup-lock");
/** Held for the moment of removing a stale lock, so that nobody removes its successor. */
const BREAK = join(root, ".setup-lock-break");

const POLL_MS = 200;
/** The holder shows that it lives once in this time ... */
const BEAT_MS = 2_000;
/** ... and counts as dead after this silence, whatever its process id says: ids are used again. */
const SILENCE_MS = 60_000;

/**
 * Do `work` while no other process of this checkout does.
 *
 * @param work is handed `name(pid)`: while one of the named processes lives, the lock stands. A child
 *   that outlives us goes on writing.
 */
export async function withLock(work) {
  let told = false;
  while (!take()) {
    if (breakIfStale()) continue;
    if (!told) console.error("Another set-up is at work in this checkout; waiting for it.");
    told = true;
    await wait(POLL_MS);
  }
  const pids = [process.pid];
  const name = (pid) => {
    pids.push(pid);
    const next = join(LOCK, `holder.${process.pid}`);
    writeFileSync(next, JSON.stringify({ host: hostname(), pids }));
    renameSync(next, join(LOCK, "holder.json"));
  };
  const beat = setInterval(touch, BEAT_MS);
  beat.unref();
  try {
    return await work(name);
  } finally {
    clearInterval(beat);
    // After a long freeze the lock may be somebody else's.
    if (holder()?.pids[0] === process.pid) rmSync(LOCK, { recursive: true, force: true });
  }
}

function take() {
  if (!make(LOCK)) return false;
  writeFileSync(join(LOCK, "holder.json"), JSON.stringify({ host: hostname(), pids: [process.pid] }));
  return true;
}

function make(folder) {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw new Failure(`The set-up cannot write to ${root}: ${error.message}`);
  }
}

function touch() {
  try {
    utimesSync(LOCK, new Date(), new Date());
  } catch {
    // The lock was broken after a long freeze. The work can be repeated and is checked at its end.
  }
}

function breakIfStale() {
  if (!isStale()) return false;
  if (!make(BREAK)) {
    // Whoever holds this for longer than a moment has died with it.
    if (silenceMs(BREAK) > SILENCE_MS) rmSync(BREAK, { recursive: true, force: true });
    return false;
  }
  try {
    if (isStale()) rmSync(LOCK, { recursive: true, force: true });
  } finally {
    rmSync(BREAK, { recursive: true, force: true });
  }
  return true;
}

function isStale() {
  if (silenceMs(LOCK) > SILENCE_MS) return true;
  const { host, pids } = holder() ?? {};
  // On another machine, or before the holder has written its name, only silence tells.
  return host === hostname() && !pids.some(lives);
}

function holder() {
  try {
    return JSON.parse(readFileSync(join(LOCK, "holder.json"), "utf8"));
  } catch {
    return undefined;
  }
}

function lives(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function silenceMs(folder) {
  try {
    return Date.now() - statSync(folder).mtimeMs;
  } catch {
    return 0;
  }
}
