import type { AnyJobDefinition } from "../job/definition.ts";
import type { ServedQueue, Storage } from "../storage/storage.ts";
import { Line, type LineKind } from "./line.ts";
import type { WorkerPlan } from "./options.ts";
import { QueueLines } from "./queue-lines.ts";
import { SharedSlots } from "./shared-slots.ts";

/**
 * The lines of a worker: one a queue for all that is nothing special, one for what runs in threads, and one for each
 * definition that has a bound of its own or runs in batches.
 */
export class Lines {
  readonly #plan: WorkerPlan;
  readonly #threads: SharedSlots;
  /** The runs of definitions that have a bound of their own, by name. */
  readonly #caps = new Map<string, SharedSlots>();
  readonly #queues: QueueLines[] = [];
  readonly #byQueue = new Map<string, QueueLines>();
  /** By queue and by what its names have in common. */
  readonly #byKind = new Map<QueueLines, Map<string, Line>>();
  readonly #byName = new Map<QueueLines, Map<string, Line>>();
  #all: readonly Line[] = [];

  constructor(plan: WorkerPlan) {
    this.#plan = plan;
    this.#threads = new SharedSlots(plan.threads);
  }

  /** In the order in which they were laid. */
  get all(): readonly Line[] {
    return this.#all;
  }

  get queues(): readonly QueueLines[] {
    return this.#queues;
  }

  /** @param name only this one. @default any */
  serves(queue: string, name?: string): boolean {
    const lines = this.#byQueue.get(queue);
    return lines !== undefined && (name === undefined || this.#byName.get(lines)?.has(name) === true);
  }

  /** The line on which a job of this name waits and runs. */
  of(queue: string, name: string): Line {
    const lines = this.#byQueue.get(queue) as QueueLines;
    // By far the most queues have one line.
    if (lines.lines.length === 1) return lines.lines[0] as Line;
    // A name that nobody asked for is judged where it is to start.
    return this.#byName.get(lines)?.get(name) ?? (lines.lines[0] as Line);
  }

  /** Each queue once, as others see it: with all names and all slots. */
  served(): ServedQueue[] {
    return this.#queues.map(({ queue, names, slots, lines }) => ({
      queue,
      names,
      concurrency: Math.min(
        slots,
        lines.reduce((sum, { concurrency }) => sum + concurrency, 0),
      ),
    }));
  }

  /** A line for each queue the worker serves, those included that have come up since. Answers whether any was new. */
  async lay(storage: Storage): Promise<boolean> {
    const { queues, concurrency } = this.#plan;
    const before = this.#queues.length;
    const served = queues ?? new Map((await storage.lanes()).lanes.map(({ queue }) => [queue, concurrency]));
    for (const [queue, slots] of served) if (!this.#byQueue.has(queue)) this.#layQueue(queue, slots);
    return this.#queues.length > before;
  }

  /** Serve the jobs of one more definition in all queues there are. */
  add(definition: AnyJobDefinition): void {
    for (const queue of this.#queues) this.#layName(queue, definition);
    this.#all = this.#queues.flatMap(({ lines }) => lines);
  }

  #layQueue(queue: string, slots: number): void {
    const lines = new QueueLines(queue, slots, this.#plan.maxConcurrency === Number.POSITIVE_INFINITY);
    this.#byQueue.set(queue, lines);
    this.#queues.push(lines);
    this.#byKind.set(lines, new Map());
    this.#byName.set(lines, new Map());
    for (const definition of this.#plan.handlers.values()) this.#layName(lines, definition);
    this.#all = this.#queues.flatMap((one) => one.lines);
  }

  #layName(queue: QueueLines, definition: AnyJobDefinition): void {
    const kind = kindOf(definition);
    const byKind = this.#byKind.get(queue) as Map<string, Line>;
    let line = byKind.get(kind);
    if (line === undefined) {
      line = this.#newLine(queue, definition);
      byKind.set(kind, line);
      queue.add(line);
    } else {
      line.serve(definition.name);
    }
    this.#byName.get(queue)?.set(definition.name, line);
  }

  #newLine({ queue, slots }: QueueLines, definition: AnyJobDefinition): Line {
    const { name, thread, batch, options } = definition;
    const shared: SharedSlots[] = [];
    let most = slots;
    if (thread !== undefined) {
      shared.push(this.#threads);
      most = Math.min(most, this.#plan.threads);
    }
    if (options.concurrency !== undefined) {
      shared.push(this.#capOf(name, options.concurrency));
      most = Math.min(most, options.concurrency);
    }
    const kind: LineKind = {
      shared,
      readsAhead: options.concurrency === undefined,
      ...(batch === undefined ? {} : { maxBatch: batch.maxBatch, maxWaitMs: batch.maxWaitMs }),
    };
    return new Line(queue, [name], most, kind);
  }

  #capOf(name: string, concurrency: number): SharedSlots {
    const cap = this.#caps.get(name) ?? new SharedSlots(concurrency);
    this.#caps.set(name, cap);
    return cap;
  }
}

/** Definitions of one kind share a line in each queue. */
function kindOf({ name, thread, batch, options }: AnyJobDefinition): string {
  if (batch !== undefined || options.concurrency !== undefined) return `of ${name}`;
  return thread === undefined ? "plain" : "in threads";
}
