import type { JobId } from "../../job/job.ts";
import type { Interest, ProcessId, Unwatch } from "../storage.ts";
import { Bell } from "../watcher.ts";
import type { Lane, Lanes } from "./lane.ts";

/** Who waits for what. Asking costs next to nothing while nobody does. */
export class Watchers {
  readonly #lanes: Lanes;
  readonly #finished = new Map<JobId, Set<Bell>>();
  readonly #all = new Set<Bell>();
  readonly #asked = new Map<ProcessId, Set<Bell>>();

  constructor(lanes: Lanes) {
    this.#lanes = lanes;
  }

  add(interest: Interest, wake: () => void): Unwatch {
    // One watcher for all of an interest: whatever happens in one call is one wake-up.
    const watcher = new Bell(wake);
    this.#all.add(watcher);
    const undo: (() => void)[] = [];
    for (const { queue: queueName, names } of interest.available ?? []) {
      const { watchers } = this.#lanes.queueFor(queueName);
      const watch: LaneWatch = { watcher, names: names === undefined ? undefined : new Set(names) };
      watchers.add(watch);
      undo.push(() => watchers.delete(watch));
    }
    for (const id of interest.finished ?? []) undo.push(addTo(this.#finished, id, watcher));
    if (interest.asked !== undefined) undo.push(addTo(this.#asked, interest.asked, watcher));
    return () => {
      watcher.stop();
      this.#all.delete(watcher);
      for (const step of undo.splice(0)) step();
    };
  }

  /** Something became available in a lane. */
  available(lane: Lane): void {
    const { queue } = lane;
    if (queue.watchers.size === 0 || queue.paused || lane.paused) return;
    for (const { watcher, names } of queue.watchers) {
      if (names === undefined || names.has(lane.name)) watcher.ring();
    }
  }

  /** A job finished, or went. */
  finished(id: JobId): void {
    if (this.#finished.size === 0) return;
    for (const watcher of this.#finished.get(id) ?? []) watcher.ring();
  }

  isAwaited(id: JobId): boolean {
    return this.#finished.size > 0 && this.#finished.has(id);
  }

  asked(processId: ProcessId): void {
    for (const watcher of this.#asked.get(processId) ?? []) watcher.ring();
  }

  /** Nobody is woken any more, also not by what has just happened. */
  stopAll(): void {
    for (const watcher of this.#all) watcher.stop();
  }
}

/** An interest in lanes: all names of the queue it stands with when it has none. */
export interface LaneWatch {
  readonly watcher: Bell;
  readonly names: ReadonlySet<string> | undefined;
}

function addTo<K>(map: Map<K, Set<Bell>>, key: K, watcher: Bell): () => void {
  let watchers = map.get(key);
  if (watchers === undefined) {
    watchers = new Set();
    map.set(key, watchers);
  }
  const those = watchers;
  those.add(watcher);
  return () => {
    those.delete(watcher);
    if (those.size === 0 && map.get(key) === those) map.delete(key);
  };
}
