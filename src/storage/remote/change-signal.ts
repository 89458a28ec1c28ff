/** Lets those who wait for any change know of the next one. */
export class ChangeSignal {
  #listeners: (() => void)[] = [];

  tell(): void {
    for (const listener of this.#listeners.splice(0)) listener();
  }

  /** Resolves with the next change, at the latest after a time. */
  next(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#listeners.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
