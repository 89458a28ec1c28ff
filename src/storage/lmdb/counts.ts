import type { DurableTables } from "./environments.ts";
import { type FlowCounts, type FlowKind, MINUTE_MS, putAway } from "./flow.ts";
import { laneKey } from "./keys.ts";
import type { Lane } from "./lanes.ts";

/** How many jobs of a lane are in which durable place; lane 0 stands for all lanes. */
export interface LaneCounts {
  scheduled: number;
  /** In line, those that run included. */
  ready: number;
  completed: number;
  cancelled: number;
  dead: number;
  /** Those of `ready` that are marked. */
  marked: number;
  /** No unmarked job in line has a lower priority; absent when none is in line. */
  lowest: number | null;
  blocked: number;
  /** The last minute in which jobs came or ended, and how many. */
  minute: number;
  flow: FlowCounts;
}

/** The counters of all lanes together. */
export const ALL_LANES = 0;

export function readCounts(tables: DurableTables, lane: number): LaneCounts {
  const text = tables.counts.get(laneKey(lane));
  return text === undefined ? noCounts() : decodeCounts(text);
}

function noCounts(): LaneCounts {
  return decodeCounts("[0,0,0,0,0,0,null]");
}

// By hand, both: every write passes here.

function encodeCounts(counts: LaneCounts): string {
  const { scheduled, ready, completed, cancelled, dead, marked, lowest, blocked, minute, flow } = counts;
  return (
    `[${scheduled},${ready},${completed},${cancelled},${dead},${marked},${lowest},${blocked},${minute},` +
    `${flow[0]},${flow[1]},${flow[2]},${flow[3]}]`
  );
}

/** The first format ends before the blocked ones. */
function decodeCounts(text: string): LaneCounts {
  const numbers = JSON.parse(text) as (number | null)[];
  const at = (i: number): number => numbers[i] ?? 0;
  return {
    scheduled: at(0),
    ready: at(1),
    completed: at(2),
    cancelled: at(3),
    dead: at(4),
    marked: at(5),
    lowest: numbers[6] as number | null,
    blocked: at(7),
    minute: at(8),
    flow: [at(9), at(10), at(11), at(12)],
  };
}

/** The counters of the lanes that a durable write touches: read once, written once. */
export class Counts {
  readonly #tables: DurableTables;
  readonly #now: number;
  readonly #minute: number;
  readonly #lanes = new Map<number, LaneCounts>();

  constructor(tables: DurableTables, now: number) {
    this.#tables = tables;
    this.#now = now;
    this.#minute = Math.floor(now / MINUTE_MS);
  }

  ready(lane: Lane, priority: number, isMarked: boolean, by: 1 | -1): void {
    for (const counts of [this.#of(lane.id), this.#of(ALL_LANES)]) {
      counts.ready += by;
      if (isMarked) counts.marked += by;
      else if (by === 1 && (counts.lowest === null || priority < counts.lowest)) counts.lowest = priority;
    }
  }

  add(lane: Lane, what: "scheduled" | "blocked" | "completed" | "cancelled" | "dead", by: 1 | -1): void {
    this.#of(lane.id)[what] += by;
    this.#of(ALL_LANES)[what] += by;
  }

  /** A job came or ended now. */
  flowed(lane: Lane, what: FlowKind): void {
    this.#flowIn(lane.id)[what] += 1;
    this.#flowIn(ALL_LANES)[what] += 1;
  }

  #flowIn(lane: number): FlowCounts {
    const counts = this.#of(lane);
    if (counts.minute !== this.#minute) {
      if (counts.flow.some((n) => n > 0)) putAway(this.#tables, lane, counts.minute, counts.flow, this.#now);
      counts.minute = this.#minute;
      counts.flow = [0, 0, 0, 0];
    }
    return counts.flow;
  }

  #of(lane: number): LaneCounts {
    let counts = this.#lanes.get(lane);
    if (counts === undefined) {
      counts = readCounts(this.#tables, lane);
      this.#lanes.set(lane, counts);
    }
    return counts;
  }

  save(): void {
    for (const [lane, counts] of this.#lanes) {
      if (counts.ready === counts.marked) counts.lowest = null;
      this.#tables.counts.put(laneKey(lane), encodeCounts(counts));
    }
  }
}
