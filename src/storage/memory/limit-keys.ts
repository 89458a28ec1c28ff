import type { LimitKey } from "../../job/key.ts";
import type { KeptJob } from "./kept-job.ts";
import type { Lane } from "./lane.ts";
import { OrderedJobs } from "./ordered-jobs.ts";

/**
 * Keys of which only so many jobs run at a time. At most as many of a key and lane stand in line as may run; the
 * others are blocked, outside of everything a claim looks at.
 */
export class LimitKeys {
  readonly #keys = new Map<string, Map<string, Key>>();

  /** Whether one more of its key may stand in line in its lane. */
  hasRoom(job: KeptJob): boolean {
    const limit = job.spec.limit as LimitKey;
    const key = this.#keys.get(limit.scope)?.get(limit.key);
    return key === undefined || key.running + (key.lanes.get(job.lane)?.ready ?? 0) < limit.concurrency;
  }

  /** Whether one more of its key may run. */
  mayRun({ spec: { limit } }: KeptJob): boolean {
    return limit === undefined || (this.#find(limit)?.running ?? 0) < limit.concurrency;
  }

  ran(job: KeptJob, by: 1 | -1): void {
    if (job.spec.limit !== undefined) this.#key(job.spec.limit).running += by;
  }

  stoodInLine(job: KeptJob, by: 1 | -1): void {
    if (job.spec.limit !== undefined) this.#lane(job).ready += by;
  }

  block(job: KeptJob): void {
    this.#lane(job).blocked.insert(job);
  }

  unblock(job: KeptJob): void {
    this.#lane(job).blocked.delete(job);
  }

  /** The jobs that may come into line now, taken out of the blocked ones; after something of the key has ended or left. */
  admitted(limit: LimitKey | undefined): KeptJob[] {
    if (limit === undefined) return [];
    const key = this.#find(limit);
    if (key === undefined) return [];
    const admitted: KeptJob[] = [];
    for (const [lane, { ready, blocked }] of key.lanes) {
      let n = key.running + ready;
      for (let job = blocked.first(); job !== undefined; job = blocked.first()) {
        if (n >= (job.spec.limit as LimitKey).concurrency) break;
        blocked.shift();
        admitted.push(job);
        n++;
      }
      if (ready === 0 && blocked.size === 0 && n === key.running) key.lanes.delete(lane);
    }
    if (key.running === 0 && key.lanes.size === 0) this.#forget(limit);
    return admitted;
  }

  #find({ scope, key }: LimitKey): Key | undefined {
    return this.#keys.get(scope)?.get(key);
  }

  #key({ scope, key: name }: LimitKey): Key {
    let keys = this.#keys.get(scope);
    if (keys === undefined) this.#keys.set(scope, (keys = new Map()));
    let key = keys.get(name);
    if (key === undefined) keys.set(name, (key = { running: 0, lanes: new Map() }));
    return key;
  }

  #lane({ spec, lane }: KeptJob): LaneOfKey {
    const { lanes } = this.#key(spec.limit as LimitKey);
    let found = lanes.get(lane);
    if (found === undefined) lanes.set(lane, (found = { ready: 0, blocked: new OrderedJobs(isLetInBefore) }));
    return found;
  }

  #forget({ scope, key }: LimitKey): void {
    const keys = this.#keys.get(scope);
    keys?.delete(key);
    if (keys?.size === 0) this.#keys.delete(scope);
  }
}

interface Key {
  running: number;
  readonly lanes: Map<Lane, LaneOfKey>;
}

interface LaneOfKey {
  /** Jobs in line. */
  ready: number;
  readonly blocked: OrderedJobs;
}

function isLetInBefore(a: KeptJob, b: KeptJob): boolean {
  return a.head.priority < b.head.priority || (a.head.priority === b.head.priority && a.seq < b.seq);
}
