import {
  closeSync,
  type FSWatcher,
  mkdirSync,
  openSync,
  readlinkSync,
  rmSync,
  watch,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { locks } from "./locks.ts";
import { StorageRefusedError } from "../../errors.ts";
import type { VolatileTables } from "./environments.ts";
import { HIGHEST_KEY, LOWEST_KEY, readWhole, wholeKey } from "./keys.ts";
import type { InstanceRecord } from "./records.ts";
import { FORMAT } from "./refuse.ts";

/**
 * The processes that have the store open. Each has a file of its own: it keeps a kernel lock on it, so
 * that others can tell at any time whether it lives, and it watches it, so that others can wake it.
 *
 * Everything here must be called inside the gate, except `ring` and reading.
 */
export class Instances {
  readonly #folder: string;
  readonly #label: string;
  readonly #onRing: () => void;
  readonly #bells = new Map<number, number>();
  #own: { readonly number: number; readonly file: number } | undefined;
  #watcher: FSWatcher | undefined;

  constructor(folder: string, label: string, onRing: () => void) {
    this.#folder = folder;
    this.#label = label;
    this.#onRing = onRing;
  }

  /** This process's number in the store. */
  get number(): number {
    return this.#own?.number ?? 0;
  }

  /**
   * Come in, under a number that nobody had before.
   *
   * @throws StorageRefusedError when processes that this one cannot see have the store open
   */
  enter(tables: VolatileTables, write: (body: () => void) => void): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const namespace = pidNamespace();
    this.forgetDead(tables, write);
    for (const { record } of all(tables)) {
      if (record.namespace === namespace) continue;
      throw new StorageRefusedError(
        `${this.#label} is open in another PID namespace, another container most likely: LMDB cannot be ` +
          "shared across them. Let one container have the folder and run `jobwright serve` there for the others.",
      );
    }
    const number = 1 + Math.floor(Math.random() * 2 ** 48);
    const file = openSync(this.#path(number), "a+", 0o600);
    locks.tryLock(file);
    this.#own = { number, file };
    this.#save(tables, write, 0);
  }

  /** Say what this process wants to be woken for. */
  want(tables: VolatileTables, write: (body: () => void) => void, wants: number): void {
    if (wants !== 0) this.#listen();
    this.#save(tables, write, wants);
  }

  leave(tables: VolatileTables, write: (body: () => void) => void): void {
    const own = this.#own;
    if (own === undefined) return;
    write(() => {
      tables.instance.remove(wholeKey(own.number));
      for (const { key } of tables.awaited.rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER)) {
        if (readWhole(key, 8) === own.number) tables.awaited.remove(key);
      }
    });
  }

  /** Let go of all files; the lock goes with its file. */
  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    for (const file of this.#bells.values()) closeSync(file);
    this.#bells.clear();
    if (this.#own === undefined) return;
    rmSync(this.#path(this.#own.number), { force: true });
    closeSync(this.#own.file);
    this.#own = undefined;
  }

  /** PIDs of the processes that have the store open and do not write this format yet. */
  olderThan(tables: VolatileTables, format: number): number[] {
    return all(tables)
      .filter(({ number, record }) => (record.format ?? 1) < format && this.isAlive(number))
      .map(({ record }) => record.pid);
  }

  /** Whether the process that had this number is there still. */
  isAlive(number: number): boolean {
    if (number === this.#own?.number) return true;
    let file: number;
    try {
      file = openSync(this.#path(number), "r+");
    } catch {
      return false;
    }
    try {
      // The kernel took the lock back from whoever is gone.
      if (!locks.tryLock(file)) return true;
      locks.unlock(file);
      return false;
    } finally {
      closeSync(file);
    }
  }

  /** Take out what processes left behind that ended without closing. */
  forgetDead(tables: VolatileTables, write: (body: () => void) => void): void {
    const dead = all(tables).filter(({ number }) => !this.isAlive(number));
    if (dead.length === 0) return;
    const numbers = new Set(dead.map(({ number }) => number));
    write(() => {
      for (const number of numbers) tables.instance.remove(wholeKey(number));
      for (const { key } of tables.awaited.rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER)) {
        if (numbers.has(readWhole(key, 8))) tables.awaited.remove(key);
      }
    });
    for (const number of numbers) rmSync(this.#path(number), { force: true });
  }

  /** Wake the other processes that want to hear of one of these things. A hint: whatever fails is passed over. */
  ring(tables: VolatileTables, what: number): void {
    for (const { number, record } of all(tables)) {
      if (number === this.#own?.number || (record.wants & what) === 0) continue;
      try {
        let bell = this.#bells.get(number);
        if (bell === undefined) {
          if (this.#bells.size >= BELLS_MAX) this.#dropBells();
          bell = openSync(this.#path(number), "r+");
          this.#bells.set(number, bell);
        }
        writeSync(bell, "!", 0);
      } catch {
        // It polls.
      }
    }
  }

  #dropBells(): void {
    for (const file of this.#bells.values()) closeSync(file);
    this.#bells.clear();
  }

  #listen(): void {
    if (this.#watcher !== undefined || this.#own === undefined) return;
    try {
      this.#watcher = watch(this.#path(this.#own.number), { persistent: false }, this.#onRing);
      // Out of watches, or the file is gone: polling goes on.
      this.#watcher.on("error", () => this.#watcher?.close());
    } catch {
      // As above.
    }
  }

  #save(tables: VolatileTables, write: (body: () => void) => void, wants: number): void {
    const own = this.#own;
    if (own === undefined) return;
    const record: InstanceRecord = { pid: process.pid, namespace: pidNamespace(), wants, format: FORMAT };
    write(() => tables.instance.put(wholeKey(own.number), JSON.stringify(record)));
  }

  #path(number: number): string {
    return join(this.#folder, String(number));
  }
}

/** Files kept open to ring other processes; beyond it they are opened anew. */
const BELLS_MAX = 100;

function all(tables: VolatileTables): { readonly number: number; readonly record: InstanceRecord }[] {
  return tables.instance.rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER).map(({ key, value }) => ({
    number: readWhole(key),
    record: JSON.parse(value) as InstanceRecord,
  }));
}

function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
