import type { JobId } from "./job/job.ts";
import type { Change, ChangeResult } from "./job/change.ts";
import type { Storage } from "./storage/storage.ts";

/** Jobs in one call to the storage. */
const BATCH_JOBS = 500;

interface Pending {
  readonly id: JobId;
  readonly change: Change;
  /** Changes that say the same can go together. */
  readonly key: string;
  readonly resolve: (result: ChangeResult) => void;
  readonly reject: (error: unknown) => void;
}

/** Group commit for what operators do: while one call is on its way, others gather for the next. */
export class Changer {
  readonly #storage: Storage;
  #waiting: Pending[] = [];
  #flushing: Promise<void> | undefined;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  change(id: JobId, change: Change): Promise<ChangeResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ id, change, key: JSON.stringify(change), resolve, reject });
      this.#flushing ??= Promise.resolve().then(() => this.#flush());
    });
  }

  /** Wait for those under way. */
  async close(): Promise<void> {
    await this.#flushing;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      try {
        const results = await this.#storage.change(
          batch.map(({ id }) => id),
          (batch[0] as Pending).change,
        );
        batch.forEach(({ resolve }, i) => resolve(results[i] as ChangeResult));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#flushing = undefined;
  }

  /** The first ones that ask for the same, in order: two changes of one job never overtake each other. */
  #take(): Pending[] {
    const key = this.#waiting[0]?.key;
    let n = 1;
    while (n < BATCH_JOBS && this.#waiting[n]?.key === key) n += 1;
    return this.#waiting.splice(0, n);
  }
}
