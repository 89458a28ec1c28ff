import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { StorageClosedError, StorageUnavailableError } from "../../errors.ts";
import { locks } from "./locks.ts";

export interface GateOptions {
  /** How long the first in line asks without pause before it begins to sleep, in ms. @default 5 */
  readonly spinMs?: number;
  /** After this long a waiter may pass those before it: one of them does not move. In ms. @default 25 */
  readonly patienceMs?: number;
  /** Without the gate for this long, a call fails. In ms. @default 30_000 */
  readonly timeoutMs?: number;
}

/**
 * The one door of a store: every open, write and close of its LMDB environments happens inside.
 *
 * The bundled LMDB loses what another process commits while an environment is being opened, so sharing the
 * files plainly is not safe. The gate is a kernel file lock: lock, work and unlock share one turn of the
 * event loop, so a process with a blocked loop never holds it, and the kernel opens it when a process dies.
 *
 * A queue of further locks ("stations") gives equal shares. A station is order, never safety: a waiter
 * passes a process that does not move. One file per lock, because on some systems a lock covers the whole
 * file; lock files are never deleted, because a lock belongs to an inode.
 */
export class Gate {
  readonly #folder: string;
  readonly #gate: number;
  readonly #stations: readonly number[];
  readonly #spinMs: number;
  readonly #patienceMs: number;
  readonly #timeoutMs: number;
  #tail: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  #isLocked = false;
  /** Someone before us did not move when we last looked, so we do not wait for them again. */
  #isLineStuck = false;

  /** @param folder an existing folder for the lock files */
  constructor(folder: string, options: GateOptions = {}) {
    this.#folder = folder;
    const opened: number[] = [];
    try {
      for (const name of ["gate.lock", ...STATION_NAMES]) {
        // Files are opened close-on-exec: a child process cannot inherit a lock and keep it.
        opened.push(openSync(join(folder, name), "a+", 0o600));
      }
    } catch (error) {
      opened.forEach(closeSync);
      throw error;
    }
    const [gate, ...stations] = opened;
    this.#gate = gate as number;
    this.#stations = stations;
    this.#spinMs = options.spinMs ?? 5;
    this.#patienceMs = options.patienceMs ?? 25;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    openGates.add(this);
    if (openGates.size === 1) process.on("exit", keepGatesAtExit);
  }

  /**
   * Run `work` holding the gate, in the turn in which the lock is had. One after the other in this process:
   * a second lock on one's own file would succeed.
   *
   * @throws StorageUnavailableError when the gate stays shut for too long
   */
  pass<T>(work: () => T): Promise<T> {
    const run = this.#tail.then(() => this.#wait(work));
    // Never lock again in the turn that unlocked: a busy process would starve its timers and its neighbours.
    this.#tail = run.then(turnOnce, turnOnce);
    return run;
  }

  /** Let those inside finish, then let go. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#tail;
    openGates.delete(this);
    if (openGates.size === 0) process.off("exit", keepGatesAtExit);
    closeSync(this.#gate);
    this.#stations.forEach(closeSync);
  }

  async #wait<T>(work: () => T): Promise<T> {
    if (this.#isClosed) throw new StorageClosedError(`The store "${this.#folder}"`);
    const stations = this.#stations;
    const start = performance.now();
    // The station held, counted from the gate; one beyond the last is the end of the line.
    let place = stations.length;
    let spinUntil = 0;
    try {
      for (;;) {
        const now = performance.now();
        const waited = now - start;
        while (place > 0 && locks.tryLock(stations[place - 1] as number)) {
          if (place < stations.length) locks.unlock(stations[place] as number);
          else this.#isLineStuck &&= waited > 2;
          place -= 1;
          if (place === 0) spinUntil = now + this.#spinMs;
        }
        const mayPass = place === 0 || waited > this.#patienceMs || (this.#isLineStuck && waited > 1);
        if (mayPass && locks.tryLock(this.#gate)) {
          if (place < stations.length) locks.unlock(stations[place] as number);
          this.#isLineStuck = place !== 0;
          place = stations.length;
          return this.#inside(work);
        }
        if (waited > this.#timeoutMs) throw this.#shut(waited);
        if (place === 0 ? now < spinUntil : waited < 0.2) await turn();
        else await sleep(waited > 500 ? 5 : 1);
      }
    } finally {
      if (place < stations.length) locks.unlock(stations[place] as number);
    }
  }

  #inside<T>(work: () => T): T {
    this.#isLocked = true;
    try {
      return work();
    } finally {
      this.#isLocked = false;
      locks.unlock(this.#gate);
    }
  }

  #shut(waitedMs: number): StorageUnavailableError {
    return new StorageUnavailableError(
      `The store "${this.#folder}" was in use by another process for ${Math.round(waitedMs)} ms. ` +
        "A process that was stopped in the middle of a write keeps it: look who has gate.lock open " +
        "(lsof, fuser), and let it go on or end it.",
    );
  }

  /** Take the gate and keep it until the process is gone, but do not wait for long. */
  keepAtExit(untilMs: number): void {
    // An exit from within: the lock is ours already, and the kernel takes it back when we are gone.
    if (this.#isLocked) return;
    while (!locks.tryLock(this.#gate)) {
      if (performance.now() >= untilMs) return;
      Atomics.wait(NOTHING, 0, 0, 1);
    }
  }
}

const STATION_NAMES = ["queue-1.lock", "queue-2.lock", "queue-3.lock", "queue-4.lock"];

/** An exit may wait this long for the gates of all stores together; beyond it, it goes on without them. */
const EXIT_WAIT_MS = 200;

const openGates = new Set<Gate>();

/**
 * A process that ends without `close` has its environments closed by the native module, after the last
 * turn of the event loop: that must happen inside the gate too.
 */
function keepGatesAtExit(): void {
  const until = performance.now() + EXIT_WAIT_MS;
  for (const gate of openGates) gate.keepAtExit(until);
}

const NOTHING = new Int32Array(new SharedArrayBuffer(4));

function turnOnce(): Promise<void> {
  return turn();
}
