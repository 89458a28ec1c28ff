/** A `setTimeout` beyond this would fire at once. */
const TIMEOUT_MS_MAX = 2_147_483_647;

/** The real-time timers of a worker, to be cleared all at once. */
export class Timers {
  readonly #pending = new Set<NodeJS.Timeout>();

  /** @param keepAlive whether the pending timer keeps the process from ending. @default false */
  once(fire: () => void, ms: number, keepAlive = false): void {
    const timer = setTimeout(
      () => {
        this.#pending.delete(timer);
        fire();
      },
      Math.min(ms, TIMEOUT_MS_MAX),
    );
    if (!keepAlive) timer.unref();
    this.#pending.add(timer);
  }

  /** Again and again until `work` answers `false`; jittered, so that the processes of a fleet drift apart. */
  repeat(work: () => Promise<boolean>, everyMs: number, keepAlive = false): void {
    const again = (): void =>
      this.once(
        () => void work().then((goesOn) => goesOn && again()),
        everyMs * (0.75 + 0.25 * Math.random()),
        keepAlive,
      );
    again();
  }

  after(ms: number): Promise<void> {
    return new Promise((resolve) => this.once(resolve, ms, true));
  }

  clear(): void {
    for (const timer of this.#pending) clearTimeout(timer);
    this.#pending.clear();
  }
}
