import { MemoryStorage } from "../storage/memory/index.ts";
import type { ClaimRequest, ClaimResult, Lease, Note, Settlement, SettleResult } from "../storage/storage.ts";

/** A memory storage that tells how the run of one job went. */
export class WatchedStorage extends MemoryStorage {
  /** The job that is meant. */
  watched: number | undefined;
  /** JSON text by key. */
  readonly #saved = new Map<string, string>();
  #end: (at: number) => void = () => undefined;

  /** Resolves to the storage's time when the next end of its run is stored. */
  nextEnd(): Promise<number> {
    return new Promise((resolve) => (this.#end = resolve));
  }

  /** The checkpoint entries of the job as they were saved, also those that its end has dropped. */
  savedEntries(): Record<string, unknown> {
    return Object.fromEntries(Array.from(this.#saved, ([key, text]) => [key, JSON.parse(text) as unknown]));
  }

  override async note(lease: Lease, note: Note): Promise<"saved" | "stale"> {
    const answer = await super.note(lease, note);
    if (answer === "saved" && lease.id === this.watched) {
      for (const [key, text] of Object.entries(note.checkpoint ?? {})) {
        if (text === null) this.#saved.delete(key);
        else this.#saved.set(key, text);
      }
    }
    return answer;
  }

  override async settle(settlements: readonly Settlement[]): Promise<SettleResult[]> {
    const at = this.clock.now();
    const results = await super.settle(settlements);
    this.#look(settlements, results, at);
    return results;
  }

  override async exchange(
    settlements: readonly Settlement[],
    request: ClaimRequest,
  ): Promise<{ settled: SettleResult[]; claimed: ClaimResult }> {
    const at = this.clock.now();
    const answer = await super.exchange(settlements, request);
    this.#look(settlements, answer.settled, at);
    return answer;
  }

  #look(settlements: readonly Settlement[], results: readonly SettleResult[], at: number): void {
    settlements.forEach(({ lease }, index) => {
      if (lease.id === this.watched && results[index] === "settled") this.#end(at);
    });
  }
}
