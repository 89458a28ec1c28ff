import type { JobState } from "./job/job.ts";
import { JOB_STATES } from "./job/job.ts";
import type { LaneInfo, ProcessInfo, ServedQueue } from "./storage/storage.ts";

/** A queue as the application sees it. */
export interface Queue {
  readonly queue: string;
  readonly paused: boolean;
  readonly counts: Readonly<Record<JobState, number>>;
  /** Live processes that claim from it; with 0, what waits in it waits on. */
  readonly servedBy: number;
  readonly names: readonly QueueName[];
}

/** One job name in a queue. */
export interface QueueName {
  readonly name: string;
  readonly paused: boolean;
  readonly counts: Readonly<Record<JobState, number>>;
  /** Live processes that claim this name from this queue. */
  readonly servedBy: number;
}

export function queueViews(
  found: { readonly lanes: readonly LaneInfo[]; readonly pausedQueues: readonly string[] },
  processes: readonly ProcessInfo[],
): Queue[] {
  const names = new Map<string, QueueName[]>();
  const live = processes.filter(({ lost }) => !lost).flatMap(({ queues }) => queues);
  const serving = countServing(live);
  const pausedQueues = new Set(found.pausedQueues);
  for (const { queue, name, paused, counts } of found.lanes) {
    const servedBy = serving.get(queue)?.names.get(name) ?? 0;
    const list = names.get(queue) ?? [];
    list.push({ name, paused, counts, servedBy });
    names.set(queue, list);
  }
  for (const queue of [...found.pausedQueues, ...live.map((served) => served.queue)]) {
    if (!names.has(queue)) names.set(queue, []);
  }
  return [...names]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([queue, list]) => ({
      queue,
      paused: pausedQueues.has(queue),
      counts: Object.fromEntries(
        JOB_STATES.map((state) => [state, list.reduce((sum, { counts }) => sum + counts[state], 0)]),
      ) as Record<JobState, number>,
      servedBy: serving.get(queue)?.processes ?? 0,
      names: list,
    }));
}

/** How many processes claim from each queue, and each name in it. */
function countServing(
  live: readonly ServedQueue[],
): Map<string, { processes: number; readonly names: Map<string, number> }> {
  const serving = new Map<string, { processes: number; readonly names: Map<string, number> }>();
  for (const { queue, names } of live) {
    const counted = serving.get(queue) ?? { processes: 0, names: new Map<string, number>() };
    counted.processes += 1;
    for (const name of names) counted.names.set(name, (counted.names.get(name) ?? 0) + 1);
    serving.set(queue, counted);
  }
  return serving;
}
