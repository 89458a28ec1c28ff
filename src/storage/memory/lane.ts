import type { JobState } from "../../job/job.ts";
import { JOB_STATES } from "../../job/job.ts";
import { StorageFullError } from "../../errors.ts";
import { FlowCounter } from "./flow-counter.ts";
import type { KeptJob } from "./kept-job.ts";
import { OrderedJobs, byPlace } from "./ordered-jobs.ts";
import type { LaneWatch } from "./watchers.ts";

/** One queue × one name, with its jobs that are ready to be claimed, by priority and seq. */
export class Lane {
  readonly queue: Queue;
  readonly name: string;
  /** Jobs by state, indexed as `JOB_STATES`. */
  readonly counts: number[] = [0, 0, 0, 0, 0, 0, 0];
  readonly flow: FlowCounter = new FlowCounter();
  paused = false;
  /** Ascending by priority. A few empty ones may stay; see {@link EMPTY_LEVELS}. */
  readonly #levels: Level[] = [];
  #marked = 0;

  /** What a claim that goes on would take next from here: kept so that lanes can be compared. */
  next: KeptJob | undefined = undefined;
  #nextLevel: Level | undefined = undefined;
  /** The claim that looked at this lane last: a lane named twice is served once. */
  seenBy = 0;

  constructor(queue: Queue, name: string) {
    this.queue = queue;
    this.name = name;
  }

  get hasMarked(): boolean {
    return this.#marked > 0;
  }

  /** To its place by seq: the end, except for a released job. */
  add(job: KeptJob): void {
    const level = this.#levelFor(job.head.priority);
    if (job.head.marked) {
      this.#marked++;
      level.marked.insert(job);
    } else {
      level.plain.insert(job);
    }
  }

  delete(job: KeptJob): void {
    const level = this.#levelFor(job.head.priority);
    if (job.head.marked) {
      if (level.marked.delete(job)) this.#marked--;
    } else {
      level.plain.delete(job);
    }
    this.#dropIfEmpty(level);
  }

  /**
   * Find `next`. Marked jobs have lists of their own: passing over them costs nothing, however many.
   *
   * @returns whether there is one
   */
  look(withMarked: boolean): boolean {
    for (const level of this.#levels) {
      const plain = level.plain.first();
      const marked = withMarked ? level.marked.first() : undefined;
      const next =
        plain === undefined || (marked !== undefined && marked.place < plain.place) ? marked : plain;
      if (next === undefined) continue;
      this.next = next;
      this.#nextLevel = level;
      return true;
    }
    this.next = undefined;
    this.#nextLevel = undefined;
    return false;
  }

  /** Take `next` out; {@link look} has found it and nothing has changed since. */
  take(): KeptJob {
    const job = this.next as KeptJob;
    const level = this.#nextLevel as Level;
    if (job.head.marked) {
      this.#marked--;
      level.marked.shift();
    } else {
      level.plain.shift();
    }
    this.#dropIfEmpty(level);
    return job;
  }

  /** All lists of available jobs. */
  *lists(): Generator<OrderedJobs> {
    for (const level of this.#levels) yield* [level.plain, level.marked];
  }

  countsByState(): Record<JobState, number> {
    return Object.fromEntries(JOB_STATES.map((state, index) => [state, this.counts[index]])) as Record<
      JobState,
      number
    >;
  }

  #levelFor(priority: number): Level {
    const levels = this.#levels;
    let low = 0;
    let high = levels.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((levels[middle] as Level).priority < priority) low = middle + 1;
      else high = middle;
    }
    const found = levels[low];
    if (found !== undefined && found.priority === priority) return found;
    const level = new Level(priority);
    levels.splice(low, 0, level);
    return level;
  }

  #dropIfEmpty(level: Level): void {
    if (this.#levels.length <= EMPTY_LEVELS || level.plain.size > 0 || level.marked.size > 0) return;
    this.#levels.splice(this.#levels.indexOf(level), 1);
  }
}

class Level {
  readonly priority: number;
  readonly plain: OrderedJobs = new OrderedJobs(byPlace);
  readonly marked: OrderedJobs = new OrderedJobs(byPlace);

  constructor(priority: number) {
    this.priority = priority;
  }
}

/** With no more levels than this, empty ones stay: a lane that runs empty and fills again makes no garbage. */
const EMPTY_LEVELS = 4;

/** A named line with its lanes. */
export class Queue {
  readonly name: string;
  readonly lanes: Map<string, Lane> = new Map();
  readonly watchers: Set<LaneWatch> = new Set();
  paused = false;

  constructor(name: string) {
    this.name = name;
  }
}

/** Every lane that ever held a job or a setting. */
export class Lanes {
  readonly #queues = new Map<string, Queue>();
  readonly #byName = new Map<string, Lane[]>();
  #count = 0;
  /** Jobs come in runs of one lane. */
  #last: Lane | undefined;

  queue(name: string): Queue | undefined {
    return this.#queues.get(name);
  }

  /** The queue, made if need be: the watchers of a queue may come before its first job. */
  queueFor(name: string): Queue {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = new Queue(name);
      this.#queues.set(name, queue);
    }
    return queue;
  }

  /** The lane, made if need be. */
  laneFor(queueName: string, name: string): Lane {
    const last = this.#last;
    if (last !== undefined && last.name === name && last.queue.name === queueName) return last;
    const queue = this.queueFor(queueName);
    let lane = queue.lanes.get(name);
    if (lane === undefined) {
      lane = new Lane(queue, name);
      queue.lanes.set(name, lane);
      const namesakes = this.#byName.get(name);
      if (namesakes === undefined) this.#byName.set(name, [lane]);
      else namesakes.push(lane);
      this.#count++;
    }
    this.#last = lane;
    return lane;
  }

  /**
   * Refuses new lanes beyond the bound. Asked before anything is stored, so that a refusal has no effect.
   *
   * @throws StorageFullError
   */
  checkRoom(groups: readonly (readonly { readonly queue: string; readonly name: string }[])[]): void {
    let wanted = 0;
    for (const group of groups) wanted += group.length;
    if (this.#count + wanted <= LANES_MAX) return;
    const more = new Set<string>();
    for (const { queue, name } of groups.flat()) {
      if (this.#queues.get(queue)?.lanes.has(name) !== true) more.add(JSON.stringify([queue, name]));
    }
    if (this.#count + more.size <= LANES_MAX) return;
    throw new StorageFullError(
      `The memory storage has ${this.#count} lanes (queue × name); its bound is ${LANES_MAX}. ` +
        "Put what differs from job to job into the payload or a tag, not into queue names.",
    );
  }

  /** The lanes of a queue, of a name, of both, or all. */
  *select(queueName: string | undefined, name: string | undefined): Generator<Lane> {
    if (queueName !== undefined) {
      const queue = this.#queues.get(queueName);
      if (queue === undefined) return;
      if (name === undefined) {
        yield* queue.lanes.values();
        return;
      }
      const lane = queue.lanes.get(name);
      if (lane !== undefined) yield lane;
    } else if (name !== undefined) {
      yield* this.#byName.get(name) ?? [];
    } else {
      for (const queue of this.#queues.values()) yield* queue.lanes.values();
    }
  }

  pausedQueues(): string[] {
    return [...this.#queues.values()].filter((queue) => queue.paused).map((queue) => queue.name);
  }
}

/** Lanes are listed for ever, so their number is bounded. */
const LANES_MAX = 50_000;
