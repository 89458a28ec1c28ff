import type { Chores } from "./chores.ts";
import type { Pipeline } from "./pipeline.ts";

/** Asks the storage who is to be cancelled: at most one question at a time, and none when it would be about nothing. */
export class Asking {
  readonly #pipeline: Pipeline;
  readonly #chores: Chores;
  #isUnderWay = false;

  constructor(pipeline: Pipeline, chores: Chores) {
    this.#pipeline = pipeline;
    this.#chores = chores;
  }

  async ask(): Promise<void> {
    if (this.#isUnderWay || this.#pipeline.slots.runs.size + this.#pipeline.ahead === 0) return;
    this.#isUnderWay = true;
    await this.#chores.once("look", () => this.#pipeline.look());
    this.#isUnderWay = false;
  }
}
