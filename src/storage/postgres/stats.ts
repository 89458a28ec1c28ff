import type { Flow, Stats } from "../storage.ts";
import type { Store } from "./store.ts";
import { encodeText } from "./text.ts";

/** What was enqueued and what ended lately and ever: what upkeep has folded, and what it has not yet. */
export async function stats(
  store: Store,
  { queue, name }: { readonly queue?: string; readonly name?: string },
): Promise<Stats> {
  const rows = await store.database.query(
    store.statement("look_stats", "select * from $s.look_stats($1::text::float8, $2, $3)"),
    [
      store.now(),
      queue === undefined ? null : encodeText(queue),
      name === undefined ? null : encodeText(name),
    ],
  );
  const flow = (unit: number): Flow => {
    const row = rows.find((one) => Number(one[0]) === unit);
    const [, enqueued, completed, cancelled, dead] = (row ?? []).map(Number);
    return {
      enqueued: enqueued ?? 0,
      completed: completed ?? 0,
      cancelled: cancelled ?? 0,
      dead: dead ?? 0,
    };
  };
  return { hour: flow(1), day: flow(2), month: flow(3), total: flow(0) };
}
