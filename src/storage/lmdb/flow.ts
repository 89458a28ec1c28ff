import type { DurableTables } from "./environments.ts";
import { flowKey, readFlow } from "./keys.ts";

/**
 * How many jobs came and how they ended. The minute that goes on stands in the lane's row of `counts`, which every
 * write of the lane renews anyway, so counting costs no row of its own. When a write meets a later minute, the one
 * before goes to `flow`, and what is old there goes into wider buckets: a lane never has more than about 120 rows.
 */

/** Enqueued, completed, cancelled, dead. */
export type FlowCounts = [number, number, number, number];

export const ENQUEUED = 0;
/** Index in {@link FlowCounts}. */
export type FlowKind = 0 | 1 | 2 | 3;

export const MINUTE_MS = 60_000;

export interface Width {
  readonly ms: number;
  /** Buckets that are told apart. */
  readonly length: number;
}

/** Minutes, hours, days (of UTC), and everything before; in the order of their number in `flow`. */
export const WIDTHS: readonly Width[] = [
  { ms: MINUTE_MS, length: 60 },
  { ms: 3_600_000, length: 24 },
  { ms: 86_400_000, length: 30 },
];
export const EVER: number = WIDTHS.length;

/** Put away the counts of a minute that is over. Inside a durable transaction. */
export function putAway(
  { flow }: DurableTables,
  lane: number,
  minute: number,
  counts: FlowCounts,
  now: number,
): void {
  addTo(flow, flowKey(lane, 0, minute), counts);
  for (const [width, { ms, length }] of WIDTHS.entries()) {
    const oldest = Math.floor(now / ms) - length + 1;
    const old = flow.rows(flowKey(lane, width, -Infinity), flowKey(lane, width, oldest), ROWS_MAX);
    const wider = WIDTHS[width + 1];
    for (const { key, value } of old) {
      const bucket = wider === undefined ? 0 : Math.floor((readFlow(key).bucket * ms) / wider.ms);
      addTo(flow, flowKey(lane, width + 1, bucket), JSON.parse(value) as FlowCounts);
      flow.remove(key);
    }
  }
}

function addTo(flow: DurableTables["flow"], key: Uint8Array, counts: FlowCounts): void {
  const before = flow.get(key);
  const sum: FlowCounts = before === undefined ? [0, 0, 0, 0] : (JSON.parse(before) as FlowCounts);
  add(sum, counts);
  flow.put(key, JSON.stringify(sum));
}

export function add(sum: FlowCounts, counts: FlowCounts): void {
  for (const kind of KINDS) sum[kind] += counts[kind];
}

const KINDS: readonly FlowKind[] = [0, 1, 2, 3];

/** More than a lane ever has of one width. */
export const ROWS_MAX = 1_000;
