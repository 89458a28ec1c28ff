import type { JobId } from "../job/job.ts";
import type { Interest, Unwatch } from "./storage.ts";

/** Wakes somebody after the call that changed something, never from within it, and once however much it changed. */
export class Bell {
  readonly #wake: () => void;
  #isRinging = false;
  #isStopped = false;

  constructor(wake: () => void) {
    this.#wake = wake;
  }

  ring(): void {
    if (this.#isRinging) return;
    this.#isRinging = true;
    queueMicrotask(() => {
      this.#isRinging = false;
      if (!this.#isStopped) this.#wake();
    });
  }

  /** Nothing is heard of it any more, also not of what has just happened. */
  stop(): void {
    this.#isStopped = true;
  }
}

/** A bell with what it is rung for. */
export class Watcher extends Bell {
  readonly interest: Interest;
  readonly finished: ReadonlySet<JobId>;
  readonly #lanes = new Map<string, Set<string> | "all">();

  constructor(interest: Interest, wake: () => void) {
    super(wake);
    this.interest = interest;
    this.finished = new Set(interest.finished);
    for (const { queue, names } of interest.available ?? []) {
      const known = this.#lanes.get(queue);
      if (names === undefined || known === "all") this.#lanes.set(queue, "all");
      else this.#lanes.set(queue, new Set([...(known ?? []), ...names]));
    }
  }

  get hasLanes(): boolean {
    return this.#lanes.size > 0;
  }

  hasLane(queue: string, name: string): boolean {
    const names = this.#lanes.get(queue);
    return names === "all" || names?.has(name) === true;
  }

  hasFinished(ids: readonly JobId[]): boolean {
    return this.finished.size > 0 && ids.some((id) => this.finished.has(id));
  }
}

/** Who in this process waits for what. */
export class WatcherList {
  readonly #all = new Set<Watcher>();
  readonly #awaited = new Map<JobId, number>();
  readonly #changed: (watcher: Watcher) => void;

  /** @param changed called when one has come or gone */
  constructor(changed: (watcher: Watcher) => void) {
    this.#changed = changed;
  }

  /** Jobs whose end is waited for, and by how many. */
  get awaited(): ReadonlyMap<JobId, number> {
    return this.#awaited;
  }

  protected get all(): ReadonlySet<Watcher> {
    return this.#all;
  }

  add(interest: Interest, wake: () => void): Unwatch {
    const watcher = new Watcher(interest, wake);
    this.#all.add(watcher);
    for (const id of watcher.finished) this.#awaited.set(id, (this.#awaited.get(id) ?? 0) + 1);
    this.#changed(watcher);
    return () => {
      if (!this.#all.delete(watcher)) return;
      watcher.stop();
      for (const id of watcher.finished) {
        const left = (this.#awaited.get(id) as number) - 1;
        if (left > 0) this.#awaited.set(id, left);
        else this.#awaited.delete(id);
      }
      this.#changed(watcher);
    };
  }

  stopAll(): void {
    for (const watcher of this.#all) watcher.stop();
    this.#all.clear();
    this.#awaited.clear();
  }
}
