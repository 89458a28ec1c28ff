import type { Flow, Stats } from "../storage.ts";
import { ALL_LANES, readCounts } from "./counts.ts";
import type { DurableTables } from "./environments.ts";
import { add, EVER, type FlowCounts, ROWS_MAX, type Width, WIDTHS } from "./flow.ts";
import { flowKey, readFlow } from "./keys.ts";
import type { Store } from "./store.ts";

/** What came and ended in a queue, under a name, in one lane, or in all. Within `Store.read`. */
export function stats(
  store: Store,
  { queue, name }: { readonly queue?: string; readonly name?: string },
  now: number,
): Stats {
  const sums: Sums = { hour: [0, 0, 0, 0], day: [0, 0, 0, 0], month: [0, 0, 0, 0], total: [0, 0, 0, 0] };
  const lanes =
    queue === undefined && name === undefined
      ? [ALL_LANES]
      : store.lanes.select(queue, name).map(({ id }) => id);
  for (const lane of lanes) addLane(store.durable, lane, now, sums);
  return {
    hour: flowOf(sums.hour),
    day: flowOf(sums.day),
    month: flowOf(sums.month),
    total: flowOf(sums.total),
  };
}

type Sums = Record<keyof Stats, FlowCounts>;

/** Which sum a width belongs to. */
const SUMS = ["hour", "day", "month"] as const;

function addLane(tables: DurableTables, lane: number, now: number, sums: Sums): void {
  const { minute, flow } = readCounts(tables, lane);
  addBucket(sums, { width: 0, bucket: minute }, flow, now);
  const rows = tables.flow.rows(flowKey(lane, 0, -Infinity), flowKey(lane, EVER + 1, -Infinity), ROWS_MAX);
  for (const { key, value } of rows) addBucket(sums, readFlow(key), JSON.parse(value) as FlowCounts, now);
}

function addBucket(
  sums: Sums,
  { width, bucket }: { readonly width: number; readonly bucket: number },
  counts: FlowCounts,
  now: number,
): void {
  add(sums.total, counts);
  for (const [wider, { ms, length }] of WIDTHS.entries()) {
    // What was put into wide buckets is too old for the narrow ones.
    if (wider < width) continue;
    const own = WIDTHS[width] as Width;
    const at = Math.floor((bucket * own.ms) / ms);
    const last = Math.floor(now / ms);
    if (at > last - length && at <= last) add(sums[SUMS[wider] as (typeof SUMS)[number]], counts);
  }
}

function flowOf([enqueued, completed, cancelled, dead]: FlowCounts): Flow {
  return { enqueued, completed, cancelled, dead };
}
