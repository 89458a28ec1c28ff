import type { JobState } from "./job/job.ts";
import { JOB_STATES } from "./job/job.ts";
import type { LaneInfo, ProcessInfo } from "./storage/storage.ts";

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
  for (const { queue, name, paused, counts } of found.lanes) {
    const servedBy = live.filter((served) => served.queue === queue && served.names.includes(name)).length;
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
      paused: found.pausedQueues.includes(queue),
      counts: Object.fromEntries(
        JOB_STATES.map((state) => [state, list.reduce((sum, { counts }) => sum + counts[state], 0)]),
      ) as Record<JobState, number>,
      servedBy: live.filter((served) => served.queue === queue).length,
      names: list,
    }));
}
