import { EventEmitter } from "node:events";
import { serializeError } from "../job/error.ts";
import type { Logger } from "../logger.ts";
import type { WorkerEvents } from "./events.ts";

/** Tell listeners of an event: one that throws must not take what it is told of with it. What it threw is logged. */
export function tellSafely(logger: Logger, event: unknown, emit: () => boolean): boolean {
  try {
    return emit();
  } catch (thrown) {
    const { name, message } = serializeError(thrown);
    logger.error(`a listener of "${String(event)}" threw ${name}: ${message}`);
    return true;
  }
}

/** What a worker tells. */
export class WorkerEmitter extends EventEmitter<WorkerEvents> {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    super();
    this.#logger = logger;
  }

  override emit<K>(
    event: K | keyof WorkerEvents,
    ...about: K extends keyof WorkerEvents ? WorkerEvents[K] : never
  ): boolean {
    return tellSafely(this.#logger, event, () => super.emit<K>(event, ...about));
  }
}
