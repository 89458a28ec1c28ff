import type { Jobs } from "../jobs.ts";
import type { StateFactory } from "./options.ts";

/** What handlers get as `ctx.state`: made once, also when a start fails later and is tried again. */
export class HandlerState {
  readonly #make: StateFactory<unknown> | undefined;
  #value: unknown;
  #isMade = false;

  constructor(make: StateFactory<unknown> | undefined) {
    this.#make = make;
  }

  get value(): unknown {
    return this.#value;
  }

  async make(jobs: Jobs): Promise<void> {
    if (this.#isMade) return;
    this.#value = await this.#make?.(jobs);
    this.#isMade = true;
  }

  async dispose(): Promise<void> {
    const state = this.#value;
    if (typeof state !== "object" || state === null) return;
    const disposable = state as Partial<AsyncDisposable & Disposable>;
    if (typeof disposable[Symbol.asyncDispose] === "function") await disposable[Symbol.asyncDispose]?.();
    else if (typeof disposable[Symbol.dispose] === "function") disposable[Symbol.dispose]?.();
  }
}
