import type { JobId } from "../../job/job.ts";
import { decodeText } from "./text.ts";
import { type Watcher, WatcherList } from "../watcher.ts";

/** Something that happened, as far as it is known; `"any"` when it is not. */
export interface News {
  readonly available?: "any" | readonly { readonly queue: string; readonly name: string }[];
  readonly finished?: "any" | readonly JobId[];
  /** A process, or all of them. */
  readonly asked?: string;
}

export const ANYTHING: News = { available: "any", finished: "any", asked: "any" };

/** Who in this process waits for what, and who of them hears of some news. */
export class Watchers extends WatcherList {
  /** @param changed called when the set of awaited jobs has changed */
  constructor(changed: () => void) {
    super(({ finished }) => {
      if (finished.size > 0) changed();
    });
  }

  tell(news: News): void {
    for (const watcher of this.all) if (cares(watcher, news)) watcher.ring();
  }
}

function cares(watcher: Watcher, { available = [], finished = [], asked }: News): boolean {
  const { asked: process } = watcher.interest;
  if (process !== undefined && (asked === "any" || asked === process)) return true;
  if (finished === "any" ? watcher.finished.size > 0 : watcher.hasFinished(finished)) return true;
  if (available === "any") return watcher.hasLanes;
  return watcher.hasLanes && available.some(({ queue, name }) => watcher.hasLane(queue, name));
}

/** What a notification says, as the SQL functions wrote it. */
export function readNews(payload: string): News {
  const text = payload.slice(1);
  switch (payload[0]) {
    case "a":
      return {
        available:
          text === "*"
            ? "any"
            : (JSON.parse(text) as [string, string][]).map(([queue, name]) => ({
                queue: decodeText(queue),
                name: decodeText(name),
              })),
      };
    case "f":
      return { finished: text === "*" ? "any" : text.split(",").map(Number) };
    case "c":
      return { asked: decodeText(text) };
    default:
      return {};
  }
}
