import { limits } from "../../job/limits.ts";
import type { ClaimedJob } from "../storage.ts";

/** How long claims begin where the living rows began, before everything is looked at again. */
const HINT_MS = 1_000;
/**
 * Numbers of places that transactions take and write later than others take and write the next ones: a hint lies so
 * much before what was found.
 */
const SEQS_BEHIND = 1_000;
/** Priorities remembered of a lane. */
const PRIORITIES_MAX = 16;
/** What most jobs have. */
const PRIORITIES: readonly number[] = [0];

interface LaneName {
  readonly queue: string;
  readonly name: string;
}

/**
 * Where a process need not look, while somebody's old snapshot makes the server keep what is gone: without hints
 * every claim would wade through all jobs claimed since. They are used for a second; what goes back to a place
 * before them waits for so long.
 */
export class Hints {
  /** Of each lane, by priority: from which seq on there may be living rows. */
  readonly #lanes = new Map<string, Map<number, number>>();
  /** Priorities that claimed jobs of a lane had, besides the usual one. */
  readonly #priorities = new Map<string, Set<number>>();
  readonly #elapsed: () => number;
  #until = 0;
  #nextFrom: string | null = null;
  #nextUntil = 0;
  #again: NodeJS.Timeout | undefined;

  /** @param elapsed ms */
  constructor(elapsed: () => number) {
    this.#elapsed = elapsed;
  }

  /**
   * For the next claim: the parts of its lanes to look at, as array literals `{lane (from 1)}, {first priority},
   * {first seq}, {last priority}`, all null when there are no hints; and from when on scheduled jobs are looked at.
   */
  current(lanes: readonly LaneName[]): { parts: (string | null)[]; nextFrom: string | null } {
    const now = this.#elapsed();
    if (now > this.#until) this.#lanes.clear();
    if (now > this.#nextUntil) this.#nextFrom = null;
    const nextFrom = this.#nextFrom;
    if (this.#lanes.size === 0) return { parts: [null, null, null, null], nextFrom };
    const parts = lanes.flatMap((lane, index) => this.#partsOf(lane).map((part) => [index + 1, ...part]));
    return { parts: [0, 1, 2, 3].map((field) => `{${parts.map((part) => part[field]).join()}}`), nextFrom };
  }

  /** What a claim told of rows that are gone; empty texts when they were not in the way. */
  learn(lanes: readonly LaneName[], places: string, nextFrom: string): void {
    const now = this.#elapsed();
    if (places !== "") {
      if (this.#lanes.size === 0) this.#until = now + HINT_MS;
      const [seq, found] = JSON.parse(places) as [number, [number, number | null, number | null][] | null];
      for (const [ord, priority, at] of found ?? []) {
        const key = keyOf(lanes[ord - 1] as LaneName);
        let starts = this.#lanes.get(key);
        if (starts === undefined) this.#lanes.set(key, (starts = new Map()));
        // In priorities before the place nothing was alive; without a place nothing in the lane was.
        for (const one of this.#priorities.get(key) ?? PRIORITIES) {
          if (priority === null || one < priority) starts.set(one, seq);
        }
        if (priority === null || at === null) continue;
        if (starts.size > PRIORITIES_MAX) starts.clear();
        starts.set(priority, at);
      }
    }
    if (nextFrom !== "") {
      if (this.#nextFrom === null) this.#nextUntil = now + HINT_MS;
      this.#nextFrom = nextFrom;
    }
  }

  /** What was claimed tells where there are jobs, and so where rows are that are gone. */
  claimed(jobs: readonly ClaimedJob[]): void {
    for (const job of jobs) {
      if (job.priority === 0) continue;
      const key = keyOf(job);
      let known = this.#priorities.get(key);
      if (known === undefined) this.#priorities.set(key, (known = new Set(PRIORITIES)));
      if (known.size < PRIORITIES_MAX) known.add(job.priority);
    }
  }

  /** Less was found than was asked for; but nobody tells again of what went back to a place before the hints. */
  afterThem(look: () => void): void {
    if (this.#lanes.size === 0) return;
    this.#again ??= setTimeout(
      () => {
        this.#again = undefined;
        look();
      },
      Math.max(0, this.#until - this.#elapsed()) + 1,
    ).unref();
  }

  forget(): void {
    clearTimeout(this.#again);
  }

  /** From each known start to just before the priority of the next one. */
  #partsOf(lane: LaneName): [priority: number, seq: number, last: number][] {
    const key = keyOf(lane);
    const starts: [priority: number, seq: number][] = [[limits.priorityMin, 0]];
    for (const [priority, seq] of [...(this.#lanes.get(key) ?? [])].sort(([a], [b]) => a - b)) {
      starts.push([priority, Math.max(0, seq - SEQS_BEHIND)]);
    }
    return starts.map(([priority, seq], index) => {
      const next = starts[index + 1];
      return [priority, seq, next === undefined ? limits.priorityMax : next[0] - 1];
    });
  }
}

function keyOf({ queue, name }: LaneName): string {
  return `${queue.length}:${queue}${name}`;
}
