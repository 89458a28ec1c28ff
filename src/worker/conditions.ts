/** Promises for what will come to hold. Whoever changes something asks {@link check} afterwards. */
export class Conditions {
  #waiting: { readonly holds: () => boolean; readonly resolve: () => void }[] = [];

  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ holds, resolve }));
  }

  check(): void {
    if (this.#waiting.length === 0) return;
    const met = this.#waiting.filter(({ holds }) => holds());
    this.#waiting = this.#waiting.filter((condition) => !met.includes(condition));
    for (const { resolve } of met) resolve();
  }
}
