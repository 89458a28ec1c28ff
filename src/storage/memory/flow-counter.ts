import type { Flow, Stats } from "../storage.ts";

/** What happened in a lane, lately and ever. */
export class FlowCounter {
  readonly #total: Counts = [0, 0, 0, 0];
  readonly #minutes = new Window(60_000, 60);
  readonly #hours = new Window(3_600_000, 24);
  readonly #days = new Window(86_400_000, 30);

  count(what: FlowKind, now: number): void {
    this.#total[what] += 1;
    this.#minutes.countsAt(now)[what] += 1;
    this.#hours.countsAt(now)[what] += 1;
    this.#days.countsAt(now)[what] += 1;
  }

  addTo(sums: Sums, now: number): void {
    this.#minutes.addTo(sums.hour, now);
    this.#hours.addTo(sums.day, now);
    this.#days.addTo(sums.month, now);
    add(sums.total, this.#total);
  }
}

export const ENQUEUED = 0;
/** The kinds in the order of {@link Flow}; a final state is its index in `JOB_STATES`, less 3. */
export type FlowKind = 0 | 1 | 2 | 3;

type Counts = [enqueued: number, completed: number, cancelled: number, dead: number];
type Sums = Record<keyof Stats, Counts>;

/** The sums over some lanes. */
export function statsOf(flows: Iterable<FlowCounter>, now: number): Stats {
  const sums: Sums = { hour: [0, 0, 0, 0], day: [0, 0, 0, 0], month: [0, 0, 0, 0], total: [0, 0, 0, 0] };
  for (const flow of flows) flow.addTo(sums, now);
  const flowOf = ([enqueued, completed, cancelled, dead]: Counts): Flow => ({
    ...{ enqueued, completed, cancelled, dead },
  });
  return {
    hour: flowOf(sums.hour),
    day: flowOf(sums.day),
    month: flowOf(sums.month),
    total: flowOf(sums.total),
  };
}

/** The last buckets of one width. */
class Window {
  readonly #widthMs: number;
  readonly #length: number;
  /** Ascending. Those in which nothing happened are missing. */
  readonly #buckets: { readonly at: number; readonly counts: Counts }[] = [];

  constructor(widthMs: number, length: number) {
    this.#widthMs = widthMs;
    this.#length = length;
  }

  countsAt(now: number): Counts {
    const at = Math.floor(now / this.#widthMs);
    const buckets = this.#buckets;
    // Almost always the last one; a clock that was set back finds its place.
    let i = buckets.length;
    while (i > 0 && (buckets[i - 1] as { at: number }).at > at) i--;
    const found = buckets[i - 1];
    if (found !== undefined && found.at === at) return found.counts;
    const counts: Counts = [0, 0, 0, 0];
    buckets.splice(i, 0, { at, counts });
    if (buckets.length > 2 * this.#length) buckets.splice(0, buckets.length - this.#length);
    return counts;
  }

  addTo(sum: Counts, now: number): void {
    const last = Math.floor(now / this.#widthMs);
    for (const { at, counts } of this.#buckets) {
      if (at > last - this.#length && at <= last) add(sum, counts);
    }
  }
}

function add(sum: Counts, counts: Counts): void {
  for (let i = 0; i < 4; i++) sum[i as FlowKind] += counts[i as FlowKind];
}
