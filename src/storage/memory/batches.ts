import { limits } from "../../job/limits.ts";
import type { GroupResult } from "../storage.ts";

/** The answers to batches of late, so that a repeated one is answered as the first time. */
export class Batches {
  readonly #batches = new Map<string, Batch>();
  #jobs = 0;

  answerOf(batchId: string): GroupResult[] | undefined {
    return this.#batches.get(batchId)?.answer;
  }

  remember(batchId: string, answer: GroupResult[], now: number): void {
    let jobs = 1;
    for (const group of answer) jobs += group.ok ? group.jobs.length : 1;
    this.#batches.set(batchId, { answer, jobs, at: now });
    this.#jobs += jobs;
    this.#forgetWhile(() => this.#jobs > REMEMBERED_JOBS && this.#batches.size > 1);
  }

  /** Oldest first: the map keeps its keys in the order of their coming. */
  forgetOld(now: number): void {
    this.#forgetWhile((batch) => batch.at + limits.batchMemoryMs <= now);
  }

  #forgetWhile(isTooOld: (batch: Batch) => boolean): void {
    for (const [batchId, batch] of this.#batches) {
      if (!isTooOld(batch)) return;
      this.#batches.delete(batchId);
      this.#jobs -= batch.jobs;
    }
  }
}

interface Batch {
  readonly answer: GroupResult[];
  readonly jobs: number;
  readonly at: number;
}

/**
 * Answers for this many jobs are remembered, even if that is less than `limits.batchMemoryMs`: at a
 * million jobs a second the time alone would be no bound. A repetition comes within seconds.
 */
const REMEMBERED_JOBS = 500_000;
