import type { ServedQueue, Storage, Unwatch } from "../storage/storage.ts";

export interface HintsDeps {
  readonly storage: Storage;
  /** Something may have become available. */
  available(): void;
  /** A running job may have been asked to end. */
  asked(): void;
  failed(error: unknown): void;
}

/** What the storage is asked to wake this worker for. Two interests: an enqueue must not cost a question about runs. */
export class Hints {
  readonly #deps: HintsDeps;
  #unwatch: Unwatch | undefined;
  #unwatchAsks: Unwatch | undefined;

  constructor(deps: HintsDeps) {
    this.#deps = deps;
  }

  /** Listen, from now on for these queues and this process. */
  listen(served: readonly ServedQueue[], processId: string): void {
    const { storage, available, asked, failed } = this.#deps;
    const lanes = served.map(({ queue, names }) => ({ queue, names }));
    try {
      this.#unwatch?.();
      this.#unwatch = storage.watch({ available: lanes }, available);
      this.#unwatchAsks?.();
      this.#unwatchAsks = storage.watch({ asked: processId }, asked);
    } catch (error) {
      // Hints only make things quick.
      failed(error);
    }
  }

  /** New work is of no interest any more; who runs may still be asked to end. */
  forgetWork(): void {
    this.#unwatch?.();
  }

  stop(): void {
    this.#unwatch?.();
    this.#unwatchAsks?.();
  }
}
