import { JOB_STATES, type JobState } from "../../job/job.ts";
import type { CountQuery, LaneInfo } from "../storage.ts";
import { STATE_NUMBERS, stateOf } from "./state-number.ts";
import type { Store } from "./store.ts";
import { decodeText, encodeText } from "./text.ts";

/**
 * How many jobs, always exact: every move of jobs between states is on record, so what is in a state is what came
 * in less what went out. However many jobs there are, only records are read, and upkeep folds those together.
 */
export async function count(
  store: Store,
  { state, queue, name }: CountQuery,
): Promise<{ n: number; exact: boolean }> {
  const states = state === undefined ? JOB_STATES : [state];
  const [row] = await store.database.query(store.statement("look_count", COUNT), [
    `{${states.map((one) => STATE_NUMBERS[one]).join()}}`,
    queue === undefined ? null : encodeText(queue),
    name === undefined ? null : encodeText(name),
  ]);
  return { n: Number(row?.[0]), exact: true };
}

const COUNT = `
select coalesce(sum(m.n), 0)
from $s.tally as t cross join lateral (values (t.dst, t.n), (t.src, -t.n)) as m (state, n)
where m.state = any ($1::text::smallint[]) and ($2::text is null and $3::text is null or t.lane = any (array(
  select l.id from $s.lane as l
  where ($2::text is null or l.queue = $2::text) and ($3::text is null or l.name = $3::text))))`;

/** Every lane with its counts. */
export async function lanes(store: Store): Promise<{ lanes: LaneInfo[]; pausedQueues: string[] }> {
  const rows = await store.database.query(store.statement("look_lanes", LANES), []);
  const counts = new Map<string, Record<JobState, number>>();
  const pausedQueues = new Set<string>();
  const stored: { id: string; queue: string; name: string; isPaused: boolean }[] = [];
  for (const [kind, id, first, second, flag] of rows as [string, string, string, string, string][]) {
    if (kind === "queue") pausedQueues.add(decodeText(first));
    else if (kind === "count") countsOf(counts, id)[stateOf(Number(first))] = Number(second);
    else stored.push({ id, queue: decodeText(first), name: decodeText(second), isPaused: flag === "true" });
  }
  const found = stored.map(({ id, queue, name, isPaused }) => ({
    queue,
    name,
    paused: isPaused || pausedQueues.has(queue),
    counts: countsOf(counts, id),
  }));
  found.sort((a, b) => byText(a.queue, b.queue) || byText(a.name, b.name));
  return { lanes: found, pausedQueues: [...pausedQueues].sort(byText) };
}

/** In one snapshot, and put together here: a join of the two could be planned as lanes times lanes. */
const LANES = `
select 'lane', l.id::text, l.queue, l.name, l.paused::text from $s.lane as l
union all
select 'queue', null, q.name, null, null from $s.queue as q where q.paused
union all
select 'count', t.lane::text, m.state::text, sum(m.n)::text, null
from $s.tally as t cross join lateral (values (t.dst, t.n), (t.src, -t.n)) as m (state, n)
where m.state <> ${STATE_NUMBERS.none}
group by t.lane, m.state`;

function countsOf(all: Map<string, Record<JobState, number>>, lane: string): Record<JobState, number> {
  let counts = all.get(lane);
  if (counts === undefined) {
    counts = { scheduled: 0, available: 0, blocked: 0, running: 0, completed: 0, cancelled: 0, dead: 0 };
    all.set(lane, counts);
  }
  return counts;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
