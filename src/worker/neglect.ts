import type { Logger } from "../logger.ts";
import type { LaneInfo, ProcessInfo, Storage } from "../storage/storage.ts";
import type { WorkerEmitter } from "./emitter.ts";
import { StuckReport } from "./stuck.ts";

/** Work that waits where nobody will take it. */
export type Neglect =
  | { readonly kind: "unhandled"; readonly queue: string; readonly name: string; readonly waiting: number }
  | { readonly kind: "unserved"; readonly queue: string; readonly waiting: number };

/** What the watch needs around it. */
export interface NeglectDeps {
  readonly storage: Storage;
  readonly logger: Logger;
  readonly emitter: WorkerEmitter;
  /** Jobs that wait for longer though they are available are told of. */
  readonly stuckAfterMs: number;
  /** Whether this worker claims from a queue, or jobs of one name from it. */
  serves(queue: string, name?: string): boolean;
}

/** Tells of jobs that nobody takes, once for each lane, and again when it was looked after in between. */
export class NeglectWatch {
  readonly #deps: NeglectDeps;
  readonly #stuck: StuckReport;
  #told = new Set<string>();

  constructor(deps: NeglectDeps) {
    this.#deps = deps;
    this.#stuck = new StuckReport(deps);
  }

  async look(): Promise<void> {
    const { storage } = this.#deps;
    const [{ lanes }, processes] = await Promise.all([storage.lanes(), storage.processes()]);
    const handled = handledIn(processes);
    this.#report(neglectIn(lanes, handled));
    await this.#stuck.look(lanes, handled);
  }

  #report(found: readonly Neglect[]): void {
    const now = new Set<string>();
    for (const neglect of found) {
      const key = JSON.stringify([neglect.queue, neglect.kind === "unhandled" ? neglect.name : null]);
      now.add(key);
      if (!this.#told.has(key)) this.#tell(neglect);
    }
    this.#told = now;
  }

  #tell(neglect: Neglect): void {
    const { emitter, logger, serves } = this.#deps;
    const { queue, waiting } = neglect;
    if (neglect.kind === "unserved") {
      emitter.emit("unserved", { queue, waiting });
      logger.warn(`${waiting} jobs wait in queue "${queue}", which no process serves`);
    } else if (serves(queue)) {
      // Only then is a missing handler this worker's business.
      const { name } = neglect;
      emitter.emit("unhandled", { queue, name, waiting });
      logger.warn(`${waiting} jobs named "${name}" wait in queue "${queue}", but no process handles them`);
    }
  }
}

/** The names that live processes claim, by queue. */
export type Handled = ReadonlyMap<string, ReadonlySet<string>>;

function handledIn(processes: readonly ProcessInfo[]): Handled {
  const served = new Map<string, Set<string>>();
  for (const process of processes) {
    if (process.lost) continue;
    for (const { queue, names } of process.queues) {
      const handled = served.get(queue) ?? new Set();
      for (const name of names) handled.add(name);
      served.set(queue, handled);
    }
  }
  return served;
}

/** Lanes with available jobs that no live process claims from, paused ones aside. */
function neglectIn(lanes: readonly LaneInfo[], handled: Handled): Neglect[] {
  const found: Neglect[] = [];
  const unserved = new Map<string, number>();
  for (const { queue, name, paused, counts } of lanes) {
    const waiting = counts.available;
    if (waiting === 0 || paused) continue;
    const names = handled.get(queue);
    if (names === undefined) unserved.set(queue, (unserved.get(queue) ?? 0) + waiting);
    else if (!names.has(name)) found.push({ kind: "unhandled", queue, name, waiting });
  }
  for (const [queue, waiting] of unserved) found.push({ kind: "unserved", queue, waiting });
  return found;
}
