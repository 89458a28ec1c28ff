import type { Storage } from "../storage/storage.ts";
import { Line } from "./line.ts";
import type { WorkerPlan } from "./options.ts";

/** A line for each queue the worker serves, those included that have come up since. Answers whether any was new. */
export async function layLines(
  lines: Map<string, Line>,
  { queues, concurrency, handlers }: WorkerPlan,
  storage: Storage,
): Promise<boolean> {
  const before = lines.size;
  const served = queues ?? new Map((await storage.lanes()).lanes.map(({ queue }) => [queue, concurrency]));
  for (const [queue, slots] of served) {
    if (!lines.has(queue)) lines.set(queue, new Line(queue, [...handlers.keys()], slots));
  }
  return lines.size > before;
}
