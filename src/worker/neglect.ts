import type { Storage } from "../storage/storage.ts";

/** Work that waits where nobody will take it. */
export type Neglect =
  | { readonly kind: "unhandled"; readonly queue: string; readonly name: string; readonly waiting: number }
  | { readonly kind: "unserved"; readonly queue: string; readonly waiting: number };

/** Lanes with available jobs that no live process claims from, paused ones aside. */
export async function findNeglect(storage: Storage): Promise<Neglect[]> {
  const [{ lanes }, processes] = await Promise.all([storage.lanes(), storage.processes()]);
  const served = new Map<string, Set<string>>();
  for (const process of processes) {
    if (process.lost) continue;
    for (const { queue, names } of process.queues) {
      const handled = served.get(queue) ?? new Set();
      for (const name of names) handled.add(name);
      served.set(queue, handled);
    }
  }
  const found: Neglect[] = [];
  const unserved = new Map<string, number>();
  for (const { queue, name, paused, counts } of lanes) {
    const waiting = counts.available;
    if (waiting === 0 || paused) continue;
    const handled = served.get(queue);
    if (handled === undefined) unserved.set(queue, (unserved.get(queue) ?? 0) + waiting);
    else if (!handled.has(name)) found.push({ kind: "unhandled", queue, name, waiting });
  }
  for (const [queue, waiting] of unserved) found.push({ kind: "unserved", queue, waiting });
  return found;
}
