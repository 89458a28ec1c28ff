import { EventEmitter } from "node:events";
import { serializeError } from "../job/error.ts";
import type { Logger } from "../logger.ts";
import type { WorkerEvents } from "./events.ts";

/** A listener that throws must not take a run's end with it: what it threw is logged. */
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
    try {
      return super.emit<K>(event, ...about);
    } catch (thrown) {
      const { name, message } = serializeError(thrown);
      this.#logger.error(`a listener of "${String(event)}" threw ${name}: ${message}`);
      return true;
    }
  }
}
