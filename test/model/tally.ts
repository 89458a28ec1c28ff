import type { Flow, Stats } from "../../src/storage/storage.ts";

const SPANS = { hour: [60_000, 60], day: [3_600_000, 24], month: [86_400_000, 30] } as const;

/** Everything that came and ended, one by one. */
export class Tally {
  readonly #model: { readonly now: number };
  readonly #events: { at: number; queue: string; name: string; what: keyof Flow }[] = [];

  constructor(model: { readonly now: number }) {
    this.#model = model;
  }

  add({ queue, name }: { readonly queue: string; readonly name: string }, what: keyof Flow): void {
    this.#events.push({ at: this.#model.now, queue, name, what });
  }

  stats({ queue, name }: { readonly queue?: string; readonly name?: string }): Stats {
    const events = this.#events.filter(
      (one) => (queue === undefined || one.queue === queue) && (name === undefined || one.name === name),
    );
    const flow = (since: number): Flow => {
      const counts = { enqueued: 0, completed: 0, cancelled: 0, dead: 0 };
      for (const { at, what } of events) if (at >= since) counts[what] += 1;
      return counts;
    };
    // The bucket of now and those before it.
    const lately = ([width, n]: readonly [number, number]): Flow =>
      flow((Math.floor(this.#model.now / width) - n + 1) * width);
    return { hour: lately(SPANS.hour), day: lately(SPANS.day), month: lately(SPANS.month), total: flow(0) };
  }
}
