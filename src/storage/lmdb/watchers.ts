import type { JobId } from "../../job/job.ts";
import type { Interest, ProcessId, Unwatch } from "../storage.ts";
import type { News } from "./ledger.ts";
import { WANTS } from "./records.ts";

/** Who in this process waits for what. */
export class Watchers {
  readonly #all = new Set<Watcher>();
  readonly #awaited = new Map<JobId, number>();
  /** Told when what this process wants to hear of from others has changed. */
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  add(interest: Interest, wake: () => void): Unwatch {
    const watcher = new Watcher(interest, wake);
    this.#all.add(watcher);
    for (const id of watcher.finished) this.#awaited.set(id, (this.#awaited.get(id) ?? 0) + 1);
    this.#changed();
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      watcher.stop();
      this.#all.delete(watcher);
      for (const id of watcher.finished) {
        const left = (this.#awaited.get(id) as number) - 1;
        if (left > 0) this.#awaited.set(id, left);
        else this.#awaited.delete(id);
      }
      this.#changed();
    };
  }

  /** What another process should ring for: a sum of `WANTS`. */
  get wants(): number {
    let wants = 0;
    for (const { interest, finished } of this.#all) {
      if (interest.available !== undefined) wants |= WANTS.available;
      if (finished.size > 0) wants |= WANTS.finished;
      if (interest.asked !== undefined) wants |= WANTS.asked;
    }
    return wants;
  }

  isAwaited(id: JobId): boolean {
    return this.#awaited.has(id);
  }

  awaited(): ReadonlyMap<JobId, number> {
    return this.#awaited;
  }

  /** Something was written by this process. */
  tell(news: News): void {
    if (this.#all.size === 0) return;
    for (const watcher of this.#all) if (watcher.cares(news)) watcher.ring();
  }

  /** Something was written by another process; what, it did not say. */
  ringAll(): void {
    for (const watcher of this.#all) watcher.ring();
  }

  stopAll(): void {
    for (const watcher of this.#all) watcher.stop();
    this.#all.clear();
    this.#awaited.clear();
  }
}

class Watcher {
  readonly interest: Interest;
  readonly finished: ReadonlySet<JobId>;
  readonly #available: ReadonlyMap<string, ReadonlySet<string> | "all">;
  readonly #wake: () => void;
  #isRinging = false;
  #isStopped = false;

  constructor(interest: Interest, wake: () => void) {
    this.interest = interest;
    this.#wake = wake;
    this.finished = new Set(interest.finished);
    const available = new Map<string, Set<string> | "all">();
    for (const { queue, names } of interest.available ?? []) {
      const known = available.get(queue);
      if (names === undefined || known === "all") available.set(queue, "all");
      else available.set(queue, new Set([...(known ?? []), ...names]));
    }
    this.#available = available;
  }

  cares({ available, finished, asked }: News): boolean {
    if (this.interest.asked !== undefined && asked.has(this.interest.asked as ProcessId)) return true;
    if (this.finished.size > 0 && finished.some((id) => this.finished.has(id))) return true;
    if (this.#available.size === 0) return false;
    for (const { queue, name, isPaused } of available) {
      const names = this.#available.get(queue);
      if (!isPaused && (names === "all" || names?.has(name) === true)) return true;
    }
    return false;
  }

  /** Wakes after the call that changed something, never from within it, and once however much it changed. */
  ring(): void {
    if (this.#isRinging) return;
    this.#isRinging = true;
    queueMicrotask(() => {
      this.#isRinging = false;
      if (!this.#isStopped) this.#wake();
    });
  }

  stop(): void {
    this.#isStopped = true;
  }
}
