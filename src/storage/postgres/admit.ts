import type { Queryable } from "./database.ts";
import type { Store } from "./store.ts";

/**
 * Let blocked jobs into line whose keys this transaction has made room in: its last statement, since from then on it
 * holds locks of keys. Never in a transaction of the user; there the next claim or promotion does it.
 */
export async function admitFreed(tx: Queryable, store: Store): Promise<void> {
  await tx.query(store.statement("admit_freed", "select $s.admit_freed()"), []);
}
