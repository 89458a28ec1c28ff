import { InvalidOptionError, ResultTimeoutError, StorageClosedError } from "./errors.ts";
import { isFinal, type JobId } from "./job/job.ts";
import type { Storage, StoredJob, Unwatch } from "./storage/storage.ts";

/** Between two looks when no hint comes: short at first, for quick jobs, then longer. Real time. */
const LOOK_MS_FIRST = 25;
const LOOK_MS_MAX = 1_000;
/** Jobs in one look. */
const LOOK_JOBS = 500;
/** Jobs of which hints are asked for, half of what a job server lets one connection watch. Looks find the others. */
const WATCHES_MAX = 5_000;

interface Waiting {
  readonly asking: Set<(job: StoredJob | undefined) => void>;
  /** Absent beyond {@link WATCHES_MAX}. */
  readonly unwatch: Unwatch | undefined;
}

/** Waits for jobs to finish: hints make it quick, looks make it sure. One look serves all who wait. */
export class Waiter {
  readonly #storage: Storage;
  readonly #waiting = new Map<JobId, Waiting>();
  #watches = 0;
  #timer: NodeJS.Timeout | undefined;
  #lookMs = LOOK_MS_FIRST;
  #isLooking = false;
  /** Jobs to look at next: new ones, and those of which a hint came. */
  readonly #news = new Set<JobId>();
  readonly #failures = new Set<(error: unknown) => void>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /**
   * The job when it has finished, or `undefined` when the storage does not know it (any more).
   *
   * @throws ResultTimeoutError, StorageClosedError, or the signal's reason
   */
  async finished(id: JobId, timeoutMs: number, signal?: AbortSignal): Promise<StoredJob | undefined> {
    const [job] = await this.allFinished([id], timeoutMs, signal);
    return job;
  }

  /** As {@link finished}, for many at once: with one timer and one listener for all of them. */
  allFinished(
    ids: readonly JobId[],
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<(StoredJob | undefined)[]> {
    if (signal !== undefined && typeof signal?.addEventListener !== "function") {
      return Promise.reject(new InvalidOptionError("signal", signal, "Use an AbortSignal."));
    }
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (ids.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const jobs: (StoredJob | undefined)[] = Array.from(ids, () => undefined);
      const waits = new Map<number, () => void>();
      const cleanUp = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        this.#failures.delete(fail);
        for (const forget of waits.values()) forget();
      };
      const done = (index: number, job: StoredJob | undefined): void => {
        jobs[index] = job;
        waits.get(index)?.();
        waits.delete(index);
        if (waits.size > 0) return;
        cleanUp();
        resolve(jobs);
      };
      const fail = (error: unknown): void => {
        cleanUp();
        reject(error as Error);
      };
      const abort = (): void => fail(signal?.reason);
      const late = (): void => {
        const [index = 0] = waits.keys();
        fail(new ResultTimeoutError(String(ids[index]), timeoutMs));
      };
      // A waiter keeps the process alive: an `await` that ends with the process would be silence.
      const timer = setTimeout(late, timeoutMs);
      signal?.addEventListener("abort", abort, { once: true });
      this.#failures.add(fail);
      try {
        for (const [index, id] of ids.entries())
          waits.set(
            index,
            this.#add(id, (job) => done(index, job)),
          );
      } catch (error) {
        fail(error);
      }
    });
  }

  /** Nobody can be answered any more. */
  close(): void {
    for (const fail of [...this.#failures]) fail(new StorageClosedError(this.#storage.label));
  }

  /** Answers how to wait no longer. Nobody is answered before this has returned. */
  #add(id: JobId, done: (job: StoredJob | undefined) => void): () => void {
    let waiting = this.#waiting.get(id);
    if (waiting === undefined) {
      const isWatched = this.#watches < WATCHES_MAX;
      const unwatch = isWatched
        ? this.#storage.watch({ finished: [id] }, () => this.#lookSoon(id))
        : undefined;
      if (isWatched) this.#watches += 1;
      waiting = { asking: new Set(), unwatch };
      this.#waiting.set(id, waiting);
    }
    waiting.asking.add(done);
    this.#lookMs = LOOK_MS_FIRST;
    this.#lookSoon(id);
    return () => this.#forget(id, done);
  }

  #forget(id: JobId, done: (job: StoredJob | undefined) => void): void {
    const waiting = this.#waiting.get(id);
    if (waiting?.asking.delete(done) !== true || waiting.asking.size > 0) return;
    this.#waiting.delete(id);
    if (waiting.unwatch !== undefined) this.#watches -= 1;
    waiting.unwatch?.();
    if (this.#waiting.size === 0) this.#rest();
  }

  /** Only jobs of which there is news are looked at; all of them when the timer says so. */
  #lookSoon(id: JobId): void {
    this.#news.add(id);
    // Those of one turn of the event loop go together.
    if (this.#isLooking) return;
    this.#isLooking = true;
    queueMicrotask(() => void this.#look());
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    while (this.#news.size > 0) {
      const ids = [...this.#news].slice(0, LOOK_JOBS);
      for (const id of ids) this.#news.delete(id);
      try {
        await this.#lookAt(ids.filter((id) => this.#waiting.has(id)));
      } catch (error) {
        if (error instanceof StorageClosedError) this.close();
        // Anything else: the next look, or the caller's timeout, will tell.
      }
    }
    this.#isLooking = false;
    if (this.#waiting.size === 0) return this.#rest();
    this.#timer ??= setTimeout(() => this.#lookAtAll(), this.#lookMs);
  }

  #lookAtAll(): void {
    this.#timer = undefined;
    this.#lookMs = Math.min(LOOK_MS_MAX, this.#lookMs * 2);
    for (const id of this.#waiting.keys()) this.#lookSoon(id);
  }

  async #lookAt(ids: readonly JobId[]): Promise<void> {
    if (ids.length === 0) return;
    const jobs = await this.#storage.get(ids);
    jobs.forEach((job, i) => {
      if (job !== undefined && !isFinal(job.state)) return;
      const waiting = this.#waiting.get(ids[i] as JobId);
      for (const done of [...(waiting?.asking ?? [])]) done(job);
    });
  }
}
