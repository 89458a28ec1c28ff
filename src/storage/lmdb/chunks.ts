import type { FinalState, JobId } from "../../job/job.ts";
import { JOB_STATES } from "../../job/job.ts";
import type { DurableTables } from "./environments.ts";
import { endedKey, instantKey } from "./keys.ts";
import type { HeadRecord } from "./records.ts";

/** Stands in a chunk for a job that has left it. No job has this id. */
export const GONE: JobId = 0;

/** The finished jobs that a durable write adds and takes out: one row for many ends. */
export class Chunks {
  readonly #tables: DurableTables;
  readonly #now: number;
  readonly #nextNumber: () => number;
  /** The chunk of finished jobs that grows, for each final state. */
  readonly #growing = new Map<number, Chunk>();
  /** Older chunks that jobs were taken out of. */
  readonly #edited = new Map<number, Chunk>();

  constructor(tables: DurableTables, now: number, nextNumber: () => number) {
    this.#tables = tables;
    this.#now = now;
    this.#nextNumber = nextNumber;
  }

  /** @returns the number of the chunk */
  add(id: JobId, of: FinalState, expiresAt: number | undefined): number {
    const state = JOB_STATES.indexOf(of);
    let chunk = this.#growing.get(state);
    if (chunk === undefined || chunk.expiresAt !== expiresAt || chunk.ids.length >= CHUNK_JOBS) {
      if (chunk !== undefined) this.#save(chunk);
      chunk = { state, endedAt: this.#now, expiresAt, number: this.#nextNumber(), ids: [] };
      this.#growing.set(state, chunk);
    }
    chunk.ids.push(id);
    return chunk.number;
  }

  leave(id: JobId, { head, chunk: number }: HeadRecord): void {
    const state = JOB_STATES.indexOf(head.state);
    const chunk = this.#find(state, head.endedAt as number, number, head.expiresAt);
    const index = chunk.ids.indexOf(id);
    // A gap stays, so that cursors of listings keep their meaning.
    if (index !== -1) chunk.ids[index] = GONE;
  }

  #find(state: number, endedAt: number, number: number, expiresAt: number | undefined): Chunk {
    const growing = this.#growing.get(state);
    if (growing?.number === number) return growing;
    let chunk = this.#edited.get(number);
    if (chunk === undefined) {
      const text = this.#tables.ended.get(endedKey(state, endedAt, number));
      const ids = text === undefined ? [] : (JSON.parse(text) as JobId[]);
      chunk = { state, endedAt, expiresAt, number, ids };
      this.#edited.set(number, chunk);
    }
    return chunk;
  }

  #save({ state, endedAt, expiresAt, number, ids }: Chunk): void {
    const key = endedKey(state, endedAt, number);
    if (ids.some((id) => id !== GONE)) {
      this.#tables.ended.put(key, `[${ids.join()}]`);
      if (expiresAt !== undefined)
        this.#tables.expiry.put(instantKey(expiresAt, number), `[${state},${endedAt}]`);
    } else {
      this.#tables.ended.remove(key);
      if (expiresAt !== undefined) this.#tables.expiry.remove(instantKey(expiresAt, number));
    }
  }

  save(): void {
    for (const chunk of this.#growing.values()) this.#save(chunk);
    for (const chunk of this.#edited.values()) this.#save(chunk);
  }
}

interface Chunk {
  readonly state: number;
  readonly endedAt: number;
  readonly expiresAt: number | undefined;
  readonly number: number;
  readonly ids: JobId[];
}

/** More ids than this in one row would make the removal of one of them dear. */
const CHUNK_JOBS = 500;
