import { limits } from "../job/limits.ts";
import type { QueueRequest } from "../storage/storage.ts";
import type { Line } from "./line.ts";
import type { Lines } from "./lines.ts";
import type { WorkerPlan } from "./options.ts";
import type { QueueLines } from "./queue-lines.ts";
import type { SharedSlots } from "./shared-slots.ts";

/** Decides what the next claim asks for: free slots, and a read-ahead where it pays. */
export class Fetcher {
  readonly #lines: Lines;
  readonly #plan: WorkerPlan;
  readonly #running: () => number;
  #first = 0;

  /** @param running slots that are taken */
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

  readonly #isDue = (line: Line): boolean =>
    // Refilled while there is still something to run meanwhile.
    !line.drained && (line.spare > 0 || this.#wantsAhead(line));

  /** What to ask each queue for, in the order in which they are to be served. */
  requests(): QueueRequest[] {
    const now = performance.now();
    const queues = this.#lines.queues;
    const requests: QueueRequest[] = [];
    const spare = new Map<SharedSlots, number>();
    let left = this.#roomLeft();
    let aheadLeft = limits.readAhead - this.ahead;
    // Another queue comes first each time, so that under a common bound none waits for the others.
    this.#first = queues.length === 0 ? 0 : (this.#first + 1) % queues.length;
    for (let i = 0; i < queues.length && left > 0; i += 1) {
      const queue = queues[(this.#first + i) % queues.length] as QueueLines;
      const line = queue.lines.length === 1 ? (queue.lines[0] as Line) : queue.nextToAsk(this.#isDue);
      let share = left === Number.POSITIVE_INFINITY ? left : Math.ceil(left / (queues.length - i));
      for (const slots of line.shared) share = Math.min(share, spare.get(slots) ?? slots.spare);
      const request = line.request(share, Math.max(0, aheadLeft), now);
      // Under a bound over all queues nothing waits here for a slot, but a batch that has begun may go on to be filled.
      const readAhead = left === Number.POSITIVE_INFINITY ? request.readAhead : line.missing;
      if (request.room + readAhead === 0) continue;
      const slots = Math.ceil(request.room / line.maxBatch);
      left -= slots;
      for (const shared of line.shared) spare.set(shared, (spare.get(shared) ?? shared.spare) - slots);
      aheadLeft -= readAhead;
      requests.push({ ...request, readAhead });
    }
    return requests;
  }

  #wantsAhead(line: Line): boolean {
    if (line.missing > 0) return true;
    const { readAhead } = line.request(0, limits.readAhead - this.ahead, performance.now());
    return readAhead > 0 && readAhead > line.ahead;
  }

  #roomLeft(): number {
    const { maxConcurrency, refillBelow } = this.#plan;
    if (maxConcurrency === Number.POSITIVE_INFINITY) return maxConcurrency;
    let taken = this.#running();
    for (const line of this.#lines.all) taken += line.aheadSlots;
    return taken >= refillBelow ? 0 : maxConcurrency - taken;
  }
}
