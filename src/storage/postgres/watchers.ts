import type { JobId } from "../../job/job.ts";
import { decodeText } from "./text.ts";
import type { Interest, Unwatch } from "../storage.ts";

/** Something that happened, as far as it is known; `"any"` when it is not. */
export interface News {
  readonly available?: "any" | readonly { readonly queue: string; readonly name: string }[];
  readonly finished?: "any" | readonly JobId[];
  /** A process, or all of them. */
  readonly asked?: string;
}

export const ANYTHING: News = { available: "any", finished: "any", asked: "any" };

/** Who in this process waits for what. */
export class Watchers {
  readonly #all = new Set<Watcher>();
  readonly #awaited = new Map<JobId, number>();
  readonly #changed: () => void;

  /** @param changed called when the set of awaited jobs has changed */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  add(interest: Interest, wake: () => void): Unwatch {
    const watcher = new Watcher(interest, wake);
    this.#all.add(watcher);
    for (const id of watcher.finished) this.#awaited.set(id, (this.#awaited.get(id) ?? 0) + 1);
    if (watcher.finished.size > 0) this.#changed();
    return () => {
      if (!this.#all.delete(watcher)) return;
      watcher.stop();
      for (const id of watcher.finished) {
        const left = (this.#awaited.get(id) as number) - 1;
        if (left > 0) this.#awaited.set(id, left);
        else this.#awaited.delete(id);
      }
      if (watcher.finished.size > 0) this.#changed();
    };
  }

  get awaited(): ReadonlyMap<JobId, number> {
    return this.#awaited;
  }

  tell(news: News): void {
    for (const watcher of this.#all) if (watcher.cares(news)) watcher.ring();
  }

  stopAll(): void {
    for (const watcher of this.#all) watcher.stop();
    this.#all.clear();
    this.#awaited.clear();
  }
}

class Watcher {
  readonly finished: ReadonlySet<JobId>;
  readonly #available: ReadonlyMap<string, ReadonlySet<string> | "all">;
  readonly #asked: string | undefined;
  readonly #wake: () => void;
  #isRinging = false;
  #isStopped = false;

  constructor({ available = [], finished, asked }: Interest, wake: () => void) {
    this.#wake = wake;
    this.#asked = asked;
    this.finished = new Set(finished);
    const lanes = new Map<string, Set<string> | "all">();
    for (const { queue, names } of available) {
      const known = lanes.get(queue);
      if (names === undefined || known === "all") lanes.set(queue, "all");
      else lanes.set(queue, new Set([...(known ?? []), ...names]));
    }
    this.#available = lanes;
  }

  cares({ available = [], finished = [], asked }: News): boolean {
    if (this.#asked !== undefined && (asked === "any" || asked === this.#asked)) return true;
    if (this.finished.size > 0 && (finished === "any" || finished.some((id) => this.finished.has(id))))
      return true;
    if (this.#available.size === 0) return false;
    if (available === "any") return true;
    return available.some(({ queue, name }) => {
      const names = this.#available.get(queue);
      return names === "all" || names?.has(name) === true;
    });
  }

  /** Wakes after the call that changed something, never from within it, and once however much it changed. */
  ring(): void {
    if (this.#isRinging) return;
    this.#isRinging = true;
    queueMicrotask(() => {
      this.#isRinging = false;
      if (!this.#isStopped) this.#wake();
    });
  }

  stop(): void {
    this.#isStopped = true;
  }
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
