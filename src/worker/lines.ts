import type { Storage } from "../storage/storage.ts";
import { Line, SharedSlots } from "./line.ts";
import type { WorkerPlan } from "./options.ts";

/** The lines of a worker, one a queue, or two where jobs run in threads and others do not. */
export class Lines {
  readonly #plan: WorkerPlan;
  readonly #threads: SharedSlots;
  readonly #lines: Line[] = [];
  readonly #byQueue = new Map<string, Line>();
  readonly #plain: readonly string[];
  readonly #threaded: readonly string[];

  constructor(plan: WorkerPlan) {
    this.#plan = plan;
    this.#threads = new SharedSlots(plan.threads);
    const names = [...plan.handlers.keys()];
    this.#plain = names.filter((name) => !this.#isThreaded(name));
    this.#threaded = names.filter((name) => this.#isThreaded(name));
  }

  /** In the order in which they were laid. */
  get all(): readonly Line[] {
    return this.#lines;
  }

  /** Whether some queue has two lines, which take turns. */
  get hasTwins(): boolean {
    return this.#plain.length > 0 && this.#threaded.length > 0;
  }

  serves(queue: string): boolean {
    return this.#byQueue.has(queue);
  }

  /** The line on which a job of this name waits and runs. */
  of(queue: string, name: string): Line {
    const line = this.#byQueue.get(queue) as Line;
    return line.twin !== undefined && this.#isThreaded(name) ? line.twin : line;
  }

  /** Each queue once, as others see it: with all names and all slots. */
  served(): { queue: string; names: readonly string[]; concurrency: number }[] {
    return [...this.#byQueue.values()].map(({ queue, names, concurrency, twin }) => ({
      queue,
      names: twin === undefined ? names : [...names, ...twin.names],
      concurrency,
    }));
  }

  /** A line for each queue the worker serves, those included that have come up since. Answers whether any was new. */
  async lay(storage: Storage): Promise<boolean> {
    const { queues, concurrency } = this.#plan;
    const before = this.#byQueue.size;
    const served = queues ?? new Map((await storage.lanes()).lanes.map(({ queue }) => [queue, concurrency]));
    for (const [queue, slots] of served) if (!this.#byQueue.has(queue)) this.#layOne(queue, slots);
    return this.#byQueue.size > before;
  }

  #layOne(queue: string, slots: number): void {
    const threads = Math.min(slots, this.#plan.threads);
    let line: Line;
    if (this.#threaded.length === 0) {
      line = new Line(queue, this.#plain, slots);
    } else if (this.#plain.length === 0) {
      line = new Line(queue, this.#threaded, threads, [this.#threads]);
    } else {
      const both = new SharedSlots(slots);
      line = new Line(queue, this.#plain, slots, [both]);
      line.twin = new Line(queue, this.#threaded, threads, [both, this.#threads]);
      line.twin.twin = line;
    }
    this.#byQueue.set(queue, line);
    this.#lines.push(line);
    if (line.twin !== undefined) this.#lines.push(line.twin);
  }

  #isThreaded(name: string): boolean {
    return this.#plan.handlers.get(name)?.thread !== undefined;
  }
}
