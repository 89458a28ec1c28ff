import type { Line } from "./line.ts";

/**
 * The lines of one queue, which share its slots and take turns: whoever has waited longest since its last start
 * comes first. One that has nothing yet and may get something has a slot held for it until the storage has
 * answered: otherwise a backlog of one line, read ahead all the time, would starve the others.
 */
export class QueueLines {
  readonly queue: string;
  readonly slots: number;
  readonly #holds: boolean;
  readonly #lines: Line[] = [];
  /** In the order of their turns to start. */
  readonly #turns: Line[] = [];
  #asked = 0;
  #running = 0;

  /** @param holds whether lines read ahead at all: under a bound over all queues none does, and none can starve */
  constructor(queue: string, slots: number, holds: boolean) {
    this.queue = queue;
    this.slots = slots;
    this.#holds = holds;
  }

  get lines(): readonly Line[] {
    return this.#lines;
  }

  /** Each name once. */
  get names(): readonly string[] {
    return this.#lines.flatMap(({ names }) => names);
  }

  add(line: Line): void {
    this.#lines.push(line);
    this.#turns.push(line);
    if (this.#lines.length === 1) return;
    this.#running = 0;
    for (const one of this.#lines) {
      one.join(this);
      this.#running += one.running;
    }
  }

  get free(): number {
    return this.slots - this.#running;
  }

  /** Slots that another job of this line could take. */
  spareFor(line: Line): number {
    let spare = this.free;
    for (const one of this.#lines) spare -= one.aheadSlots;
    return this.#holds && spare <= 0 && line.isHungry ? Math.min(1, this.free) : spare;
  }

  /** The line to start a job of, when there is one and a slot for it. */
  turn(isReady: (line: Line) => boolean): Line | undefined {
    let held = 0;
    for (const line of this.#turns) {
      if (line.ahead > 0 && line.own > 0 && isReady(line)) return this.free > held ? line : undefined;
      if (this.#holds && line.isHungry) held += 1;
    }
    return undefined;
  }

  took(line: Line): void {
    this.#running += 1;
    this.#turns.push(...this.#turns.splice(this.#turns.indexOf(line), 1));
  }

  gaveBack(): void {
    this.#running -= 1;
  }

  /** The line to ask the storage for: a queue is asked for once a call, so its lines take turns. */
  nextToAsk(isDue: (line: Line) => boolean): Line {
    const lines = this.#lines;
    const inTurn = lines.map((_line, i) => (this.#asked + i) % lines.length);
    // When none has much prospect, a call that is made anyway may ask all the same.
    const chosen = inTurn.find((i) => isDue(lines[i] as Line)) ?? this.#asked;
    this.#asked = (chosen + 1) % lines.length;
    return lines[chosen] as Line;
  }
}
