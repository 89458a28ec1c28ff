import { JobwrightError, OverloadedError, StorageClosedError, StorageUnavailableError } from "./errors.ts";
import { limits } from "./job/limits.ts";
import type { GroupResult, NewJob, Storage } from "./storage/storage.ts";

/** Jobs and payload bytes in one call to the storage; a larger group goes alone. */
const BATCH_JOBS = 500;
const BATCH_BYTES = 4_194_304;
/** How long a batch is repeated while the storage is unavailable. Real time. */
const DEADLINE_MS = 30_000;
const RETRY_MS_FIRST = 20;
const RETRY_MS_MAX = 1_000;

interface Pending {
  readonly jobs: readonly NewJob[];
  readonly bytes: number;
  readonly resolve: (result: GroupResult) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls that wait, and the batch before them. */
interface Line {
  waiting: Pending[];
  flushing: Promise<void> | undefined;
}

/**
 * Group commit: while one batch is on its way, calls gather for the next. A call alone goes at once, and
 * everything of one turn of the event loop goes together. Jobs with keys have a line of their own: on PostgreSQL they
 * wait as long as a transaction of somebody else holds their key, and nobody else should wait with them.
 */
export class Enqueuer {
  readonly #storage: Storage;
  readonly #random: () => number;
  readonly #plain: Line = { waiting: [], flushing: undefined };
  readonly #keyed: Line = { waiting: [], flushing: undefined };
  #jobs = 0;
  #bytes = 0;
  #closed = false;

  constructor(storage: Storage, random: () => number) {
    this.#storage = storage;
    this.#random = random;
  }

  /**
   * Store one group. Resolves when it is durable.
   *
   * @throws OverloadedError, StorageUnavailableError, StorageFullError, StorageClosedError
   */
  add(jobs: readonly NewJob[]): Promise<GroupResult> {
    if (this.#closed) return Promise.reject(new StorageClosedError(this.#storage.label));
    let bytes = 0;
    for (const { payload } of jobs) bytes += payload.length;
    if (this.#jobs + jobs.length > limits.pendingEnqueues && this.#jobs > 0) {
      return Promise.reject(new OverloadedError(`${this.#jobs} enqueues`));
    }
    if (this.#bytes + bytes > limits.pendingBytes && this.#bytes > 0) {
      return Promise.reject(new OverloadedError(`${this.#bytes} bytes of payloads`));
    }
    this.#jobs += jobs.length;
    this.#bytes += bytes;
    const line = jobs.some(hasKey) ? this.#keyed : this.#plain;
    return new Promise((resolve, reject) => {
      line.waiting.push({ jobs, bytes, resolve, reject });
      line.flushing ??= Promise.resolve().then(() => this.#flush(line));
    });
  }

  /** Refuse new enqueues and wait for those under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#plain.flushing, this.#keyed.flushing]);
  }

  async #flush(line: Line): Promise<void> {
    while (line.waiting.length > 0) {
      const batch = this.#take(line);
      try {
        const results = await this.#store(batch.map(({ jobs }) => jobs));
        batch.forEach(({ resolve }, i) => resolve(results[i] as GroupResult));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      for (const { jobs, bytes } of batch) {
        this.#jobs -= jobs.length;
        this.#bytes -= bytes;
      }
    }
    line.flushing = undefined;
  }

  #take({ waiting }: Line): Pending[] {
    let jobs = 0;
    let bytes = 0;
    let n = 0;
    for (const pending of waiting) {
      if (n > 0 && (jobs + pending.jobs.length > BATCH_JOBS || bytes + pending.bytes > BATCH_BYTES)) break;
      jobs += pending.jobs.length;
      bytes += pending.bytes;
      n += 1;
    }
    return waiting.splice(0, n);
  }

  /** Ids of batches lie side by side in a storage's index: random ones would touch a page of their own each. */
  readonly #name = crypto.randomUUID();
  #batches = 0;

  /** The batch id makes repeating safe: what was stored by a call whose answer was lost is not stored again. */
  async #store(groups: readonly (readonly NewJob[])[]): Promise<GroupResult[]> {
    const batchId = `${this.#name}-${(this.#batches++).toString(36).padStart(8, "0")}`;
    const deadline = performance.now() + DEADLINE_MS;
    for (let retryMs = RETRY_MS_FIRST; ; retryMs = Math.min(RETRY_MS_MAX, retryMs * 2)) {
      try {
        return await this.#storage.enqueue(groups, batchId);
      } catch (error) {
        if (!(error instanceof StorageUnavailableError) || performance.now() + retryMs > deadline) {
          throw error instanceof JobwrightError
            ? error
            : new StorageUnavailableError(textOf(error), { cause: error });
        }
        const waitMs = retryMs * (0.5 + 0.5 * this.#random());
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }
}

function hasKey({ givenId, unique }: NewJob): boolean {
  return givenId !== undefined || unique !== undefined;
}

function textOf(error: unknown): string {
  return `The storage failed: ${error instanceof Error ? error.message : String(error)}`;
}
