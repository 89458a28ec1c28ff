import type { JobId } from "../../job/job.ts";
import { type Watcher, WatcherList } from "../watcher.ts";
import type { News } from "./ledger.ts";
import { WANTS } from "./records.ts";

/** Who in this process waits for what, and who of them hears of some news. */
export class Watchers extends WatcherList {
  /** What another process should ring for: a sum of `WANTS`. */
  get wants(): number {
    let wants = 0;
    for (const { interest, finished } of this.all) {
      if (interest.available !== undefined) wants |= WANTS.available;
      if (finished.size > 0) wants |= WANTS.finished;
      if (interest.asked !== undefined) wants |= WANTS.asked;
    }
    return wants;
  }

  isAwaited(id: JobId): boolean {
    return this.awaited.has(id);
  }

  /** Something was written by this process. */
  tell(news: News): void {
    for (const watcher of this.all) if (cares(watcher, news)) watcher.ring();
  }

  /** Something was written by another process; what, it did not say. */
  ringAll(): void {
    for (const watcher of this.all) watcher.ring();
  }
}

function cares(watcher: Watcher, { available, finished, asked }: News): boolean {
  const { asked: process } = watcher.interest;
  if (process !== undefined && asked.has(process)) return true;
  if (watcher.hasFinished(finished)) return true;
  if (!watcher.hasLanes) return false;
  for (const { queue, name, isPaused } of available) {
    if (!isPaused && watcher.hasLane(queue, name)) return true;
  }
  return false;
}
