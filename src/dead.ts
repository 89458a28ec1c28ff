import { checkFilter } from "./filter.ts";
import type { Change } from "./job/change.ts";
import type { Look } from "./look.ts";
import type { Storage } from "./storage/storage.ts";
import type { Job } from "./view.ts";

/** Which dead jobs; all of them when nothing is said. */
export interface DeadFilter {
  readonly queue?: string;
  readonly name?: string;
  readonly tag?: string;
}

/** Jobs changed in one call to the storage. */
const PAGE = 500;

/** Jobs that gave up, until their retention is over: `jobs.dead`. */
export class DeadJobs {
  readonly #look: Look;
  readonly #storage: Storage;

  /** @internal */
  constructor(look: Look, storage: Storage) {
    this.#look = look;
    this.#storage = storage;
  }

  /**
   * One page of them, the last to die first, each with the error that ended it.
   *
   * @param query.limit 1 to 1,000. @default 100
   */
  list(query: DeadFilter & { readonly limit?: number; readonly after?: string } = {}): Promise<{
    jobs: Job[];
    next?: string;
  }> {
    return this.#look.list({ ...query, state: "dead" });
  }

  /** How many there are; exact up to 10,000 at least. */
  count(filter: Omit<DeadFilter, "tag"> = {}): Promise<{ n: number; exact: boolean }> {
    return this.#look.count({ ...filter, state: "dead" });
  }

  /**
   * Run them again, with attempts anew. Those that die while this goes on are left alone. A job whose unique key
   * another one holds by now stays dead and is counted in `conflicts`.
   */
  async retry(filter: DeadFilter = {}): Promise<{ retried: number; conflicts: number }> {
    const { changed, conflicts } = await this.#change(filter, { kind: "retry" });
    return { retried: changed, conflicts };
  }

  /** Take them out of the storage. Those that die while this goes on are left alone. */
  async purge(filter: DeadFilter = {}): Promise<{ purged: number }> {
    const { changed } = await this.#change(filter, { kind: "remove" });
    return { purged: changed };
  }

  /** From the newest to the oldest: who dies meanwhile, or once more, stands before the page and is not met again. */
  async #change(filter: DeadFilter, change: Change): Promise<{ changed: number; conflicts: number }> {
    checkFilter(filter, ["queue", "name", "tag"]);
    let changed = 0;
    let conflicts = 0;
    for (let after: string | undefined; ;) {
      const query = { ...filter, state: "dead" as const, limit: PAGE };
      const { jobs, next } = await this.#storage.list(after === undefined ? query : { ...query, after });
      const ids = jobs.map(({ id }) => id);
      for (const result of ids.length === 0 ? [] : await this.#storage.change(ids, change)) {
        if (result === "changed") changed += 1;
        else if (result === "conflict") conflicts += 1;
      }
      if (next === undefined) return { changed, conflicts };
      after = next;
    }
  }
}
