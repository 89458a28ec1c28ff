import type { Logger } from "../logger.ts";
import type { Storage } from "../storage/storage.ts";
import type { WorkerEvents } from "./events.ts";

/** Work that waits where nobody will take it. */
export type Neglect =
  | { readonly kind: "unhandled"; readonly queue: string; readonly name: string; readonly waiting: number }
  | { readonly kind: "unserved"; readonly queue: string; readonly waiting: number };

/** Lanes with available jobs that no live process claims from, paused ones aside. */
export async function findNeglect(storage: Storage): Promise<Neglect[]> {
  const [{ lanes }, processes] = await Promise.all([storage.lanes(), storage.processes()]);
  const served = new Map<string, Set<string>>();
  for (const process of processes) {
    if (process.lost) continue;
    for (const { queue, names } of process.queues) {
      const handled = served.get(queue) ?? new Set();
      for (const name of names) handled.add(name);
      served.set(queue, handled);
    }
  }
  const found: Neglect[] = [];
  const unserved = new Map<string, number>();
  for (const { queue, name, paused, counts } of lanes) {
    const waiting = counts.available;
    if (waiting === 0 || paused) continue;
    const handled = served.get(queue);
    if (handled === undefined) unserved.set(queue, (unserved.get(queue) ?? 0) + waiting);
    else if (!handled.has(name)) found.push({ kind: "unhandled", queue, name, waiting });
  }
  for (const [queue, waiting] of unserved) found.push({ kind: "unserved", queue, waiting });
  return found;
}

export interface NeglectReportDeps {
  readonly logger: Logger;
  unhandled(about: WorkerEvents["unhandled"][0]): void;
  unserved(about: WorkerEvents["unserved"][0]): void;
}

/** Tells of each neglected lane once, and again when it was looked after in between. */
export class NeglectReport {
  readonly #deps: NeglectReportDeps;
  #told = new Set<string>();

  constructor(deps: NeglectReportDeps) {
    this.#deps = deps;
  }

  /** @param serves whether this worker claims from a queue: only then is a missing handler its business */
  report(found: readonly Neglect[], serves: (queue: string) => boolean): void {
    const now = new Set<string>();
    for (const neglect of found) {
      const key = JSON.stringify([neglect.queue, neglect.kind === "unhandled" ? neglect.name : null]);
      now.add(key);
      if (!this.#told.has(key)) this.#report(neglect, serves);
    }
    this.#told = now;
  }

  #report(neglect: Neglect, serves: (queue: string) => boolean): void {
    const { queue, waiting } = neglect;
    if (neglect.kind === "unserved") {
      this.#deps.unserved({ queue, waiting });
      this.#deps.logger.warn(`${waiting} jobs wait in queue "${queue}", which no process serves`);
    } else if (serves(queue)) {
      const { name } = neglect;
      this.#deps.unhandled({ queue, name, waiting });
      this.#deps.logger.warn(
        `${waiting} jobs named "${name}" wait in queue "${queue}", but no process handles them`,
      );
    }
  }
}
