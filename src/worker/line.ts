import { limits } from "../job/limits.ts";
import type { ClaimedJob, QueueRequest } from "../storage/storage.ts";

/** Span over which finished runs are counted to size the read-ahead. */
const RATE_WINDOW_MS = 100;

/** A job that was read ahead goes back to its place when it was not started within this time. */
export const READ_AHEAD_MS_MAX = 1_000;

/** Slots that several lines share: those of a queue, or the threads of a worker. */
export class SharedSlots {
  readonly limit: number;
  running = 0;
  readonly lines: Line[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  get free(): number {
    return this.limit - this.running;
  }

  /** Free, and not meant for a job that is read ahead. */
  get spare(): number {
    let spare = this.free;
    for (const line of this.lines) spare -= line.ahead;
    return spare;
  }
}

/**
 * One queue as a worker serves it: its slots, and the jobs read ahead for them. A queue has two lines when some
 * of its jobs run in threads: while all threads are taken, the others must go on to be claimed.
 */
export class Line {
  readonly queue: string;
  readonly names: readonly string[];
  readonly concurrency: number;
  /** Empty for a line that shares nothing. */
  readonly shared: readonly SharedSlots[];
  /** The other line of the same queue. */
  twin: Line | undefined;
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

  /** The largest payload met lately, in characters: what is read ahead must fit into memory. */
  #largest = 1;

  #windowStart = 0;
  #windowFinished = 0;
  #lastFinished = 0;

  constructor(
    queue: string,
    names: readonly string[],
    concurrency: number,
    shared: readonly SharedSlots[] = [],
  ) {
    this.queue = queue;
    this.names = names;
    this.concurrency = concurrency;
    this.shared = shared;
    for (const slots of shared) slots.lines.push(this);
  }

  get ahead(): number {
    return this.#ahead.length - this.#head;
  }

  get free(): number {
    let free = this.concurrency - this.running;
    for (const slots of this.shared) free = Math.min(free, slots.free);
    return free;
  }

  /** Slots that another claimed job could take. */
  get spare(): number {
    let spare = this.concurrency - this.running - this.ahead;
    for (const slots of this.shared) spare = Math.min(spare, slots.spare);
    return spare;
  }

  /** A job of this line takes a slot. */
  take(): void {
    this.running += 1;
    for (const slots of this.shared) slots.running += 1;
  }

  /** And gives it back. */
  giveBack(): void {
    this.running -= 1;
    for (const slots of this.shared) slots.running -= 1;
  }

  add(job: ClaimedJob, monotonic: number): void {
    if (this.ahead === 0) this.#aheadSince = monotonic;
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

  /** Take out what was read ahead and is not started: all of it, or only when it waits for too long. */
  takeAhead(monotonic?: number): ClaimedJob[] {
    if (monotonic !== undefined) {
      this.#roll(monotonic);
      if (monotonic - this.#aheadSince < READ_AHEAD_MS_MAX) return [];
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
   * @param room free slots this line may fill
   * @param aheadLeft jobs the worker may still read ahead over all its lines
   */
  request(room: number, aheadLeft: number, monotonic: number): QueueRequest {
    this.#roll(monotonic);
    const waiting = Math.max(0, this.ahead - Math.max(0, this.free));
    const fitting = Math.floor(limits.readAheadText / this.#largest);
    // Forgotten slowly: a few small ones in between say nothing about the next.
    this.#largest = Math.max(1, this.#largest * 0.95);
    const target = Math.min(
      limits.readAhead,
      fitting,
      aheadLeft + waiting,
      Math.max(this.#windowFinished, this.#lastFinished),
    );
    return {
      queue: this.queue,
      names: this.names,
      room: Math.max(0, Math.min(room, this.spare)),
      readAhead: Math.max(0, target - waiting),
    };
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
