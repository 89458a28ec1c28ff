import { limits } from "../job/limits.ts";
import type { ClaimedJob, QueueRequest } from "../storage/storage.ts";
import type { QueueLines } from "./queue-lines.ts";
import type { SharedSlots } from "./shared-slots.ts";

/** Span over which finished runs are counted to size the read-ahead. */
const RATE_WINDOW_MS = 100;

/** A job that was read ahead goes back to its place when it was not started within this time. */
export const READ_AHEAD_MS_MAX = 1_000;

/** What is special about a line; nothing of it for most. */
export interface LineKind {
  /** What it shares with other lines, besides the slots of its queue: the worker's threads, the runs of a definition. */
  readonly shared?: readonly SharedSlots[];
  /** Jobs that share a slot, at most. @default 1 */
  readonly maxBatch?: number;
  /** How long they wait for each other. @default 0 */
  readonly maxWaitMs?: number;
  /** Whether jobs may wait here for a slot. @default true */
  readonly readsAhead?: boolean;
}

/**
 * Some names of one queue as a worker serves them: their slots, and the jobs read ahead for them. Most queues have one
 * line. What has a bound of its own (threads, a definition's concurrency) or runs in batches has a line of its own:
 * while it can take no more, the others must go on to be claimed.
 */
export class Line {
  readonly queue: string;
  readonly concurrency: number;
  readonly maxBatch: number;
  readonly #maxWaitMs: number;
  readonly #readsAhead: boolean;
  /** Slots it shares with lines of other queues. */
  readonly shared: readonly SharedSlots[];
  #siblings: QueueLines | undefined;
  #names: readonly string[];
  /** Slots taken: a batch takes one. */
  running = 0;
  /** How long the storage took for its last answer. */
  roundTripMs = 0;
  /** The last claim gave less than was asked: nothing more to expect before a wake-up or a poll. */
  drained = false;

  /** Jobs read ahead, oldest first, from `#head` on: shifting an array of hundreds per job would copy it. */
  #ahead: ClaimedJob[] = [];
  #head = 0;
  /** When the oldest of them was claimed, as far as is known. */
  #aheadSince = 0;
  /** Since when they wait for others to join their batch. */
  #waitingSince = 0;

  /** The largest payload met lately, in characters: what is read ahead must fit into memory. */
  #largest = 1;

  #windowStart = 0;
  #windowFinished = 0;
  #lastFinished = 0;

  constructor(
    queue: string,
    names: readonly string[],
    concurrency: number,
    { shared = [], maxBatch = 1, maxWaitMs = 0, readsAhead = true }: LineKind = {},
  ) {
    this.queue = queue;
    this.#names = names;
    this.concurrency = concurrency;
    this.maxBatch = maxBatch;
    this.#maxWaitMs = maxWaitMs;
    this.#readsAhead = readsAhead;
    this.shared = shared;
    for (const slots of shared) slots.lines.push(this);
  }

  /** It is not alone in its queue (any more). */
  join(siblings: QueueLines): void {
    this.#siblings = siblings;
  }

  get names(): readonly string[] {
    return this.#names;
  }

  /** From now on it serves this name, too. */
  serve(name: string): void {
    this.#names = [...this.#names, name];
    this.drained = false;
  }

  get ahead(): number {
    return this.#ahead.length - this.#head;
  }

  /** The slots that the jobs read ahead will take. */
  get aheadSlots(): number {
    return this.maxBatch === 1 ? this.ahead : Math.ceil(this.ahead / this.maxBatch);
  }

  /** Slots that its own bounds leave, whatever the other lines of its queue take. */
  get own(): number {
    let own = this.concurrency - this.running;
    for (const slots of this.shared) own = Math.min(own, slots.free);
    return own;
  }

  get free(): number {
    return this.#siblings === undefined ? this.own : Math.min(this.own, this.#siblings.free);
  }

  /** Slots that another claimed job could take. */
  get spare(): number {
    const spare = this.#ownSpare;
    return this.#siblings === undefined ? spare : Math.min(spare, this.#siblings.spareFor(this));
  }

  get #ownSpare(): number {
    let spare = this.concurrency - this.running - this.aheadSlots;
    for (const slots of this.shared) spare = Math.min(spare, slots.spare);
    return spare;
  }

  /** It has nothing, could take something, and nobody has said that there is nothing. */
  get isHungry(): boolean {
    return !this.drained && this.ahead === 0 && this.#ownSpare > 0;
  }

  /** A run of this line takes a slot. */
  take(): void {
    this.running += 1;
    for (const slots of this.shared) slots.running += 1;
    this.#siblings?.took(this);
  }

  /** And gives it back. */
  giveBack(): void {
    this.running -= 1;
    for (const slots of this.shared) slots.running -= 1;
    this.#siblings?.gaveBack();
  }

  add(job: ClaimedJob, monotonic: number): void {
    if (this.ahead === 0) {
      this.#aheadSince = monotonic;
      this.#waitingSince = monotonic;
    }
    this.#largest = Math.max(this.#largest, job.payload.length);
    this.#ahead.push(job);
  }

  /** The next job to start, when there is one and a slot for it. */
  next(): ClaimedJob | undefined {
    if (this.free <= 0) return undefined;
    const job = this.#ahead[this.#head];
    if (job === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#ahead.length) {
      this.#ahead = [];
      this.#head = 0;
    }
    return job;
  }

  /** The next jobs to start together, when there is a slot for them; to be called when none has to wait for others. */
  nextBatch(): readonly ClaimedJob[] {
    if (this.free <= 0) return [];
    const jobs = this.#ahead.slice(this.#head, this.#head + this.maxBatch);
    this.#ahead = this.#ahead.slice(this.#head + this.maxBatch);
    this.#head = 0;
    return jobs;
  }

  /** How long its jobs wait for others to join their batch: 0 = they do not. */
  waitsFor(monotonic: number): number {
    if (this.#maxWaitMs === 0 || this.ahead === 0 || this.ahead >= this.maxBatch) return 0;
    return Math.max(0, this.#waitingSince + this.#maxWaitMs - monotonic);
  }

  /** Take out what was read ahead and is not started: all of it, or only when it waits for too long. */
  takeAhead(monotonic?: number): ClaimedJob[] {
    if (monotonic !== undefined) {
      this.#roll(monotonic);
      if (monotonic - this.#aheadSince < READ_AHEAD_MS_MAX + this.#maxWaitMs) return [];
    }
    const jobs = this.#ahead.slice(this.#head);
    this.#ahead = [];
    this.#head = 0;
    return jobs;
  }

  /** Take out the jobs read ahead that are meant. */
  drop(isMeant: (job: ClaimedJob) => boolean): ClaimedJob[] {
    const ahead = this.peekAhead();
    const dropped = ahead.filter(isMeant);
    if (dropped.length > 0) {
      this.#ahead = ahead.filter((job) => !dropped.includes(job));
      this.#head = 0;
    }
    return dropped;
  }

  /** Every job read ahead, in order. */
  peekAhead(): readonly ClaimedJob[] {
    return this.#head === 0 ? this.#ahead : this.#ahead.slice(this.#head);
  }

  /** Called for every job, so it reads no clock: {@link request} sorts the count into its window. */
  countFinished(): void {
    this.#windowFinished += 1;
  }

  /**
   * What to ask a claim for.
   *
   * @param slots free slots this line may fill
   * @param aheadLeft jobs the worker may still read ahead over all its lines
   */
  request(slots: number, aheadLeft: number, monotonic: number): QueueRequest {
    this.#roll(monotonic);
    const fitting = Math.floor(limits.readAheadText / this.#largest);
    // Forgotten slowly: a few small ones in between say nothing about the next.
    this.#largest = Math.max(1, this.#largest * 0.95);
    const most = Math.max(0, Math.min(slots, this.spare));
    return {
      queue: this.queue,
      names: this.#names,
      room: this.maxBatch === 1 ? most : this.#roomForBatches(most, fitting),
      readAhead: this.#readsAhead ? this.#readAhead(aheadLeft, fitting) : this.missing,
    };
  }

  #readAhead(aheadLeft: number, fitting: number): number {
    const waiting = Math.max(0, this.ahead - Math.max(0, this.free) * this.maxBatch);
    const target = Math.min(
      limits.readAhead,
      fitting,
      aheadLeft + waiting,
      Math.max(this.#windowFinished, this.#lastFinished),
    );
    return Math.max(0, target - waiting, this.missing);
  }

  /** Whole batches, but no more than one of them beyond what may be read ahead and what memory is for. */
  #roomForBatches(slots: number, fitting: number): number {
    const most = Math.max(this.maxBatch, limits.readAhead);
    return Math.min(slots * this.maxBatch, most, Math.max(slots, fitting));
  }

  /** How many jobs the batch that waits could still take. */
  get missing(): number {
    const begun = this.maxBatch === 1 ? 0 : this.ahead % this.maxBatch;
    return begun === 0 ? 0 : this.maxBatch - begun;
  }

  #roll(monotonic: number): void {
    const age = monotonic - this.#windowStart;
    if (age < RATE_WINDOW_MS) return;
    // Progress renews the age of what waits: its oldest was next in line a moment ago.
    if (this.#windowFinished > 0) this.#aheadSince = monotonic;
    // After a longer pause the last window says nothing about now. To wait for the storage is none: what ran
    // in that time is what can be run while the next answer is waited for.
    this.#lastFinished = age < 2 * Math.max(RATE_WINDOW_MS, this.roundTripMs) ? this.#windowFinished : 0;
    this.#windowFinished = 0;
    this.#windowStart = monotonic;
  }
}
