import { limits } from "../job/limits.ts";
import type { QueueRequest } from "../storage/storage.ts";
import type { Line, SharedSlots } from "./line.ts";
import type { Lines } from "./lines.ts";
import type { WorkerPlan } from "./options.ts";

/** Decides what the next claim asks for: free slots, and a read-ahead where it pays. */
export class Fetcher {
  readonly #lines: Lines;
  readonly #plan: WorkerPlan;
  readonly #running: () => number;
  #first = 0;

  constructor(lines: Lines, plan: WorkerPlan, running: () => number) {
    this.#lines = lines;
    this.#plan = plan;
    this.#running = running;
  }

  /** Jobs read ahead over all lines. */
  get ahead(): number {
    let ahead = 0;
    for (const line of this.#lines.all) ahead += line.ahead;
    return ahead;
  }

  /** Whether a claim has any prospect: a line that may have more, and room for it. */
  get isDue(): boolean {
    for (const line of this.#lines.all) if (this.#isDue(line)) return this.#roomLeft() > 0;
    return false;
  }

  #isDue(line: Line): boolean {
    // Refilled while there is still something to run meanwhile.
    return !line.drained && (line.spare > 0 || this.#wantsAhead(line));
  }

  /** What to ask each queue for, in the order in which they are to be served. */
  requests(): QueueRequest[] {
    const now = performance.now();
    const lines = this.#lines.all;
    const queues: QueueRequest[] = [];
    const asked = new Set<Line>();
    const spare = new Map<SharedSlots, number>();
    let left = this.#roomLeft();
    let aheadLeft = limits.readAhead - this.ahead;
    // Another line comes first each time, so that under a common bound none waits for the others.
    this.#first = lines.length === 0 ? 0 : (this.#first + 1) % lines.length;
    for (let i = 0; i < lines.length && left > 0; i += 1) {
      const line = lines[(this.#first + i) % lines.length] as Line;
      // A queue is asked for once a call; its two lines take turns.
      if (line.twin !== undefined && (asked.has(line.twin) || (!this.#isDue(line) && this.#isDue(line.twin))))
        continue;
      asked.add(line);
      let share = left === Number.POSITIVE_INFINITY ? left : Math.ceil(left / (lines.length - i));
      for (const slots of line.shared) share = Math.min(share, spare.get(slots) ?? slots.spare);
      const request = line.request(share, Math.max(0, aheadLeft), now);
      const readAhead = left === Number.POSITIVE_INFINITY ? request.readAhead : 0;
      if (request.room + readAhead === 0) continue;
      left -= request.room;
      for (const slots of line.shared) spare.set(slots, (spare.get(slots) ?? slots.spare) - request.room);
      aheadLeft -= readAhead;
      queues.push({ ...request, readAhead });
    }
    return queues;
  }

  #wantsAhead(line: Line): boolean {
    const { readAhead } = line.request(0, limits.readAhead - this.ahead, performance.now());
    return readAhead > 0 && readAhead > line.ahead;
  }

  #roomLeft(): number {
    const { maxConcurrency, refillBelow } = this.#plan;
    if (maxConcurrency === Number.POSITIVE_INFINITY) return maxConcurrency;
    const taken = this.#running() + this.ahead;
    return taken >= refillBelow ? 0 : maxConcurrency - taken;
  }
}
