import type { KeptJob } from "./kept-job.ts";

/**
 * Jobs in an order, in chunks of a bounded size: appending, looking at the first and taking it off cost
 * a few nanoseconds however many are kept, anything in the middle a binary search and a short move.
 * A page can start anywhere.
 *
 * A job's key must not change while it is in the list.
 */
export class OrderedJobs {
  readonly #before: Before;
  readonly #chunks: (KeptJob | undefined)[][] = [];
  /** Slots at the front of the first chunk whose jobs were taken off. */
  #skip = 0;
  #size = 0;

  constructor(before: Before) {
    this.#before = before;
  }

  get size(): number {
    return this.#size;
  }

  first(): KeptJob | undefined {
    return this.#size === 0 ? undefined : (this.#chunks[0] as KeptJob[])[this.#skip];
  }

  /** Take the first one off. */
  shift(): KeptJob | undefined {
    if (this.#size === 0) return undefined;
    const chunk = this.#chunks[0] as (KeptJob | undefined)[];
    const job = chunk[this.#skip];
    // The slot lets go of the job at once: a chunk may stay for long.
    chunk[this.#skip++] = undefined;
    this.#size--;
    if (this.#skip === chunk.length) this.#dropChunk(0);
    return job;
  }

  insert(job: KeptJob): void {
    const chunks = this.#chunks;
    const last = chunks[chunks.length - 1];
    this.#size++;
    if (last === undefined) {
      chunks.push([job]);
      return;
    }
    if (this.#before(last[last.length - 1] as KeptJob, job)) {
      if (last.length < CHUNK_LENGTH) last.push(job);
      else chunks.push([job]);
      return;
    }
    const index = this.#chunkOf(job);
    const chunk = chunks[index] as KeptJob[];
    const slot = this.#slotOf(index, job);
    if (index === 0 && slot === this.#skip && slot > 0) {
      chunk[--this.#skip] = job;
      return;
    }
    chunk.splice(slot, 0, job);
    if (chunk.length > CHUNK_LENGTH) this.#split(index);
  }

  /** @returns whether it was there */
  delete(job: KeptJob): boolean {
    const index = this.#chunkOf(job);
    const chunk = this.#chunks[index];
    if (chunk === undefined) return false;
    const slot = this.#slotOf(index, job);
    if (chunk[slot] !== job) return false;
    if (index === 0 && slot === this.#skip) {
      this.shift();
      return true;
    }
    this.#size--;
    chunk.splice(slot, 1);
    if (chunk.length === (index === 0 ? this.#skip : 0)) this.#dropChunk(index);
    return true;
  }

  /** Those behind a place, in order; all without one. */
  *upwards(after?: Place): Generator<KeptJob> {
    for (let index = after === undefined ? 0 : this.#chunkBehind(after); ; index++) {
      const chunk = this.#chunks[index] as KeptJob[] | undefined;
      if (chunk === undefined) return;
      for (let slot = index === 0 ? this.#skip : 0; slot < chunk.length; slot++) {
        const job = chunk[slot] as KeptJob;
        if (after === undefined || isBehind(job, after)) yield job;
      }
    }
  }

  /** Those before a place, in reverse order; all without one. */
  *downwards(before?: Place): Generator<KeptJob> {
    const last = this.#chunks.length - 1;
    for (
      let index = before === undefined ? last : Math.min(last, this.#chunkBehind(before));
      index >= 0;
      index--
    ) {
      const chunk = this.#chunks[index] as KeptJob[];
      for (let slot = chunk.length - 1; slot >= (index === 0 ? this.#skip : 0); slot--) {
        const job = chunk[slot] as KeptJob;
        if (before === undefined || isAhead(job, before)) yield job;
      }
    }
  }

  /** The first chunk whose last job is not before this one: where it is, or belongs. */
  #chunkOf(job: KeptJob): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const chunk = this.#chunks[middle] as KeptJob[];
      if (this.#before(chunk[chunk.length - 1] as KeptJob, job)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #slotOf(index: number, job: KeptJob): number {
    const chunk = this.#chunks[index] as KeptJob[];
    let low = index === 0 ? this.#skip : 0;
    let high = chunk.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#before(chunk[middle] as KeptJob, job)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The first chunk that reaches beyond a place. */
  #chunkBehind(place: Place): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const chunk = this.#chunks[middle] as KeptJob[];
      if (isBehind(chunk[chunk.length - 1] as KeptJob, place)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #split(index: number): void {
    const chunk = this.#chunks[index] as KeptJob[];
    const half = chunk.splice(chunk.length >>> 1);
    this.#chunks.splice(index + 1, 0, half);
    // The skipped slots may fill the whole first half.
    if (index === 0 && this.#skip >= chunk.length) {
      half.splice(0, this.#skip - chunk.length);
      this.#dropChunk(0);
    }
  }

  #dropChunk(index: number): void {
    if (index === 0) {
      this.#chunks.shift();
      this.#skip = 0;
    } else {
      this.#chunks.splice(index, 1);
    }
  }
}

/** Short enough that a move within a chunk is a fraction of a microsecond. */
const CHUNK_LENGTH = 256;

/** A strict total order over the jobs of one list. */
export type Before = (a: KeptJob, b: KeptJob) => boolean;

/** A job's place in the list of its state: see `KeptJob.at`. */
export interface Place {
  readonly at: number;
  readonly place: number;
}

/** The order of every list of one state. */
export function byPlace(a: KeptJob, b: KeptJob): boolean {
  return a.at < b.at || (a.at === b.at && a.place < b.place);
}

function isBehind(job: KeptJob, place: Place): boolean {
  return job.at > place.at || (job.at === place.at && job.place > place.place);
}

function isAhead(job: KeptJob, place: Place): boolean {
  return job.at < place.at || (job.at === place.at && job.place < place.place);
}
