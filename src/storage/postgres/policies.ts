import { StorageCorruptedError } from "../../errors.ts";
import { decodePolicy, type Policy } from "./record.ts";
import { type Store, textArray } from "./store.ts";

/** Policies that are remembered; when there are more, all are looked up anew. */
const REMEMBERED = 10_000;

/** The policies of claimed jobs, by id. An id is a hash of its policy, so what was read once stays true. */
export class Policies {
  readonly #store: Pick<Store, "database" | "statement" | "label">;
  readonly #known = new Map<string, Policy>();

  constructor(store: Pick<Store, "database" | "statement" | "label">) {
    this.#store = store;
  }

  /** Look up those that are not known. A policy that is no number is the policy itself. */
  async learn(ids: readonly string[]): Promise<void> {
    const unknown = new Set<string>();
    for (const id of ids) if (!this.#known.has(id) && !id.startsWith("{")) unknown.add(id);
    if (unknown.size === 0) return;
    if (this.#known.size > REMEMBERED) this.#known.clear();
    const rows = await this.#store.database.query(
      this.#store.statement("policies", "select id, text from $s.policy where id = any ($1::text::bigint[])"),
      [textArray([...unknown])],
    );
    for (const [id, text] of rows) this.#known.set(id as string, decodePolicy(text as string));
  }

  /** @throws StorageCorruptedError for one that does not exist */
  get(id: string): Policy {
    if (id.startsWith("{")) return decodePolicy(id);
    const policy = this.#known.get(id);
    if (policy === undefined) {
      throw new StorageCorruptedError(`${this.#store.label} has jobs with a policy ${id} that is not in it.`);
    }
    return policy;
  }
}
