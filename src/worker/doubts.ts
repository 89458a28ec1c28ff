import { decide, type RunEnd } from "../job/lifecycle.ts";
import { limits } from "../job/limits.ts";
import type { Lease, Settlement, Storage } from "../storage/storage.ts";

/**
 * Calls that failed but may have leased jobs all the same. Those would be held unknowingly while this
 * process beats, so before the next claim they are looked for and given back.
 */
export class Doubts {
  /** Tokens, and whether what they leased may have been started: then it goes back as a suspect. */
  readonly #tokens = new Map<string, boolean>();

  get isEmpty(): boolean {
    return this.#tokens.size === 0;
  }

  add(token: string, marked: boolean): void {
    this.#tokens.set(token, marked);
  }

  clear(): void {
    this.#tokens.clear();
  }

  /** Look for what these tokens hold, besides what is known, and give it back. Rejects as the storage does. */
  async resolve(storage: Storage, processId: string, holds: readonly Lease[], now: number): Promise<void> {
    const tokens = [...this.#tokens];
    // By generation, too: what is still to be settled of a run may be known, and the next lease of its job not.
    const known = new Set(holds.map(runOf));
    const found: Settlement[] = [];
    let after: string | undefined;
    do {
      const page = await storage.list({
        state: "running",
        limit: limits.listPage,
        ...(after === undefined ? {} : { after }),
      });
      for (const job of page.jobs) {
        if (job.processId !== processId || known.has(runOf(job))) continue;
        // Under the wrong token the storage answers `stale`, and nothing has happened.
        for (const [token, marked] of tokens) {
          const end: RunEnd = marked ? { kind: "lost", processId, started: false } : { kind: "released" };
          const lease = { id: job.id, generation: job.generation, token };
          found.push({ lease, outcome: decide(job, end, 0), startedAt: now });
        }
      }
      after = page.next;
    } while (after !== undefined);
    if (found.length > 0) await storage.settle(found);
    for (const [token] of tokens) this.#tokens.delete(token);
  }
}

function runOf({ id, generation }: Pick<Lease, "id" | "generation">): string {
  return `${id}/${generation}`;
}
