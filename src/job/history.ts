import type { HistoryEntry, JobHead } from "./job.ts";
import { limits } from "./limits.ts";

/**
 * What a job's head remembers of its life besides runs and failures, which are kept elsewhere. Bounded: the first
 * entries and the last ones. Ordinary jobs have none, so ordinary jobs pay nothing.
 */
export function recorded(head: JobHead, entry: HistoryEntry): { readonly events: readonly HistoryEntry[] } {
  const { events = [] } = head;
  const { historyFirst: first, historyLast: last } = limits;
  if (events.length < first + last) return { events: [...events, entry] };
  return { events: [...events.slice(0, first), ...events.slice(first + 1), entry] };
}
