import type { Line } from "./line.ts";

/** Slots that lines of several queues share: the threads of a worker, or the runs of one definition. */
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
    for (const line of this.lines) spare -= line.aheadSlots;
    return spare;
  }
}
