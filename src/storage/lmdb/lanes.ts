import { StorageFullError } from "../../errors.ts";
import type { JobSpec } from "../../job/job.ts";
import type { DurableTables } from "./environments.ts";
import { HIGHEST_KEY, laneKey, LOWEST_KEY, readLane, textKey } from "./keys.ts";
import type { Policy } from "./records.ts";

/** One queue × one name. */
export interface Lane {
  readonly id: number;
  readonly queue: string;
  readonly name: string;
  isPaused: boolean;
}

/** How much of the dictionaries is stored: whoever knows less reads on. */
export interface DictionaryMarks {
  readonly lanes: number;
  readonly policies: number;
  /** Raised by every pause and resume. */
  readonly pauses: number;
}

/**
 * What this process remembers of the store's dictionaries: lanes and policies are numbered once, for ever,
 * so they are read once. Pauses are few and read again when their count of changes moved.
 */
export class Lanes {
  readonly #byId: (Lane | undefined)[] = [];
  readonly #byQueue = new Map<string, Map<string, Lane>>();
  readonly #policies: (Policy | undefined)[] = [];
  readonly #policyNumbers = new Map<string, number>();
  #pausedQueues: string[] = [];
  #marks: DictionaryMarks = { lanes: 0, policies: 0, pauses: 0 };
  #lastLane: Lane | undefined;
  #lastPolicy: { readonly policy: Policy; readonly number: number } | undefined;

  /** Read what others added. */
  catchUp(tables: DurableTables, marks: DictionaryMarks): void {
    const known = this.#marks;
    if (known.lanes === marks.lanes && known.pauses === marks.pauses && known.policies === marks.policies)
      return;
    // Fewer than known: the store was replaced.
    if (known.lanes > marks.lanes || known.policies > marks.policies) this.forget();
    for (const { key, value } of tables.lane.rows(laneKey(this.#marks.lanes + 1), HIGHEST_KEY, LANES_MAX)) {
      const [queue, name] = JSON.parse(value) as [string, string];
      this.#add({ id: readLane(key), queue, name, isPaused: false });
    }
    for (const { key, value } of tables.policy.rows(
      laneKey(this.#marks.policies + 1),
      HIGHEST_KEY,
      POLICIES_MAX,
    )) {
      this.#policies[readLane(key)] = JSON.parse(value) as Policy;
      this.#policyNumbers.set(value, readLane(key));
    }
    this.#readPauses(tables);
    this.#marks = marks;
  }

  /** After a write that was undone, what it added must not be remembered. */
  forget(): void {
    this.#byId.length = 0;
    this.#byQueue.clear();
    this.#policies.length = 0;
    this.#policyNumbers.clear();
    this.#pausedQueues = [];
    this.#lastLane = undefined;
    this.#lastPolicy = undefined;
    this.#marks = { lanes: 0, policies: 0, pauses: -1 };
  }

  get marks(): DictionaryMarks {
    return this.#marks;
  }

  get(id: number): Lane {
    return this.#byId[id] as Lane;
  }

  find(queue: string, name: string): Lane | undefined {
    return this.#byQueue.get(queue)?.get(name);
  }

  /** The lane, numbered now if it is new. Inside a durable transaction. */
  laneFor(tables: DurableTables, queue: string, name: string): Lane {
    const last = this.#lastLane;
    if (last !== undefined && last.name === name && last.queue === queue) return last;
    const lane = this.find(queue, name) ?? this.#number(tables, queue, name);
    this.#lastLane = lane;
    return lane;
  }

  #number(tables: DurableTables, queue: string, name: string): Lane {
    const id = this.#marks.lanes + 1;
    if (id > LANES_MAX) {
      throw new StorageFullError(
        `The store has ${LANES_MAX} lanes (queue × name), which is its bound. ` +
          "Put what differs from job to job into the payload or a tag, not into queue names.",
      );
    }
    tables.lane.put(laneKey(id), JSON.stringify([queue, name]));
    const lane = { id, queue, name, isPaused: this.#pausedQueues.includes(queue) };
    this.#add(lane);
    this.#marks = { ...this.#marks, lanes: id };
    return lane;
  }

  /** The number of a job's policy, given now if it is new, or the policy while too many have one. */
  policyFor(tables: DurableTables, spec: JobSpec): number | Policy {
    const last = this.#lastPolicy;
    if (last !== undefined && isSamePolicy(last.policy, spec)) return last.number;
    const { maxRetries, backoff, timeoutMs, retention } = spec;
    const policy: Policy = { maxRetries, backoff, timeoutMs, retention: { ...retention } };
    const text = JSON.stringify(policy);
    let number = this.#policyNumbers.get(text);
    if (number === undefined) {
      number = this.#marks.policies + 1;
      if (number > POLICIES_MAX) return policy;
      tables.policy.put(laneKey(number), text);
      this.#policies[number] = policy;
      this.#policyNumbers.set(text, number);
      this.#marks = { ...this.#marks, policies: number };
    }
    this.#lastPolicy = { policy, number };
    return number;
  }

  policy(of: number | Policy): Policy {
    return typeof of === "number" ? (this.#policies[of] as Policy) : of;
  }

  /** Inside a durable transaction. */
  setPaused(tables: DurableTables, queue: string, name: string | undefined, isPaused: boolean): void {
    const [key, value] =
      name === undefined ? [textKey(queue), [queue]] : [textKey(queue, name), [queue, name]];
    if (isPaused) tables.paused.put(key, JSON.stringify(value));
    else tables.paused.remove(key);
    this.#readPauses(tables);
    this.#marks = { ...this.#marks, pauses: this.#marks.pauses + 1 };
  }

  #readPauses(tables: DurableTables): void {
    const queues = new Set<string>();
    const lanes = new Set<Lane>();
    for (const { value } of tables.paused.rows(LOWEST_KEY, HIGHEST_KEY, Number.MAX_SAFE_INTEGER)) {
      const [queue, name] = JSON.parse(value) as [string, string?];
      const lane = name === undefined ? undefined : this.find(queue, name);
      if (name === undefined) queues.add(queue);
      else if (lane !== undefined) lanes.add(lane);
    }
    this.#pausedQueues = [...queues];
    for (const lane of this.#byId) {
      if (lane !== undefined) lane.isPaused = queues.has(lane.queue) || lanes.has(lane);
    }
  }

  get pausedQueues(): readonly string[] {
    return this.#pausedQueues;
  }

  /** The lanes of a queue, of a name, of both, or all. */
  select(queue: string | undefined, name: string | undefined): Lane[] {
    if (queue !== undefined && name !== undefined) {
      const lane = this.find(queue, name);
      return lane === undefined ? [] : [lane];
    }
    if (queue !== undefined) return [...(this.#byQueue.get(queue)?.values() ?? [])];
    return this.#byId.filter(
      (lane) => lane !== undefined && (name === undefined || lane.name === name),
    ) as Lane[];
  }

  #add(lane: Lane): void {
    this.#byId[lane.id] = lane;
    let queue = this.#byQueue.get(lane.queue);
    if (queue === undefined) {
      queue = new Map();
      this.#byQueue.set(lane.queue, queue);
    }
    queue.set(lane.name, lane);
  }
}

/** Lanes are listed for ever, so their number is bounded. */
const LANES_MAX = 100_000;

/** Beyond it a job carries its policy itself. */
const POLICIES_MAX = 4_096;

/** Jobs come in runs of one definition; most share the backoff object itself. */
function isSamePolicy(policy: Policy, spec: JobSpec): boolean {
  return (
    policy.backoff === spec.backoff &&
    policy.maxRetries === spec.maxRetries &&
    policy.timeoutMs === spec.timeoutMs &&
    policy.retention.completedMs === spec.retention.completedMs &&
    policy.retention.cancelledMs === spec.retention.cancelledMs &&
    policy.retention.deadMs === spec.retention.deadMs
  );
}
