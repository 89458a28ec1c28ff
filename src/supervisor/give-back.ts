import { hostname } from "node:os";
import { StorageClosedError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";

/** Between two attempts to tell a storage that does not answer. */
const AGAIN_MS = 1_000;

/**
 * Tells the storage, in the name of children that are dead, that they leave: whatever they held counts as lost at
 * once, and the next worker that looks takes it over, long before their silence would show it.
 */
export class GiveBack {
  readonly #storage: Storage;
  readonly #lostAfterMs: number;
  readonly #underWay = new Set<Promise<void>>();

  constructor(storage: Storage, lostAfterMs: number) {
    this.#storage = storage;
    this.#lostAfterMs = lostAfterMs;
  }

  leave(pid: number, processIds: Iterable<string>): void {
    for (const id of processIds) {
      const telling = this.#tell(pid, id).finally(() => this.#underWay.delete(telling));
      this.#underWay.add(telling);
    }
  }

  /** Until all that was begun is told, or given up. */
  async told(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #tell(pid: number, id: string): Promise<void> {
    const lostAfterMs = this.#lostAfterMs;
    const until = performance.now() + lostAfterMs;
    const beat = { id, pid, lostAfterMs, host: hostname(), queues: [], holds: [], starts: [], leaving: true };
    // Later its silence tells everybody.
    while (performance.now() < until) {
      try {
        await this.#storage.beat(beat);
        return;
      } catch (error) {
        if (error instanceof StorageClosedError) return;
        await new Promise<void>((resolve) => {
          setTimeout(resolve, AGAIN_MS).unref();
        });
      }
    }
  }
}
