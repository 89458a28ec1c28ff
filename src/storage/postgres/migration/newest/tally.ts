import { quoteRelation } from "../../quoting.ts";
import { minuteOf, NOW, plannedFunction } from "./planner.ts";

/** Rows of the tally looked at in one step. */
const TALLY_ROWS = 50_000;
/** Fewer are not worth it. */
const TALLY_ROWS_MIN = 64;

/** The units of `stat`: how many minutes each has, and how many of them are kept. */
const UNITS = [
  { unit: 1, minutes: 1, kept: 60 },
  { unit: 2, minutes: 60, kept: 24 },
  { unit: 3, minutes: 1440, kept: 30 },
] as const;

export function tallyFunctions(s: string): string {
  return [foldTally(s), stats(s)].join("");
}

/** The columns of `stat` from moves \`t\`. What is completed and not kept goes from 4 to 0. */
function flow(t: string): string {
  const when = (condition: string): string => `coalesce(sum(${t}.n) filter (where ${condition}), 0)`;
  return [
    when(`${t}.src = 0`),
    when(`${t}.dst = 7 or ${t}.dst = 0`),
    when(`${t}.dst = 5`),
    when(`${t}.dst = 6`),
  ].join(", ");
}

/**
 * Many moves become a few, one for each lane and state: sums stay what they are, and counting stays cheap. What came
 * and ended is added to the statistics at the same time, by one at a time, so that nobody waits for a row of them.
 */
function foldTally(s: string): string {
  const added = UNITS.map(
    ({ unit, minutes }) => `
      select ${unit}::smallint as unit, minute / ${minutes} as at, lane, n, src, dst from counted`,
  ).join(" union all");
  return plannedFunction(
    s,
    "fold_tally() returns void",
    `
declare
  v_rows bigint;
  v_kinds bigint;
begin
  select count(*), count(distinct (lane, src, dst)) into v_rows, v_kinds
    from (select lane, src, dst from ${s}.tally limit ${TALLY_ROWS}) as looked_at;
  if v_rows < ${TALLY_ROWS_MIN} or v_rows < 4 * v_kinds
    or not pg_try_advisory_xact_lock(hashtextextended(${quoteRelation(s, "stat")}, 0)) then
    return;
  end if;
  with chosen as materialized (
    select ctid as place from ${s}.tally limit ${TALLY_ROWS} for update skip locked
  ), gone as materialized (
    delete from ${s}.tally where ctid = any (array (select place from chosen)) returning lane, n, src, dst, minute
  ), counted as materialized (
    select minute, lane, src, dst, sum(n) as n from gone where minute is not null group by minute, lane, src, dst
  ), moved as (${added} union all
      select 0::smallint, 0, lane, n, src, dst from counted
  ), stated as (
    insert into ${s}.stat as x (unit, at, lane, enqueued, completed, cancelled, dead)
    select m.unit, m.at, m.lane, ${flow("m")} from moved as m group by m.unit, m.at, m.lane order by 1, 2, 3
    on conflict (unit, at, lane) do update set enqueued = x.enqueued + excluded.enqueued,
      completed = x.completed + excluded.completed, cancelled = x.cancelled + excluded.cancelled, dead = x.dead + excluded.dead
  )
  insert into ${s}.tally (lane, n, src, dst)
    select lane, sum(n), 0, state
    from (
      select lane, n, dst as state from gone
      union all
      select lane, -n, src from gone
    ) as moves
    where state <> 0 group by lane, state having sum(n) <> 0;
${UNITS.map(
  ({ unit, kept }) => `
  delete from ${s}.stat where unit = ${unit}
    and at < (select max(at) from ${s}.stat where unit = ${unit}) - ${2 * kept};`,
).join("")}
end`,
  );
}

/** By unit, what came and ended within its time until now, folded or not. */
function stats(s: string): string {
  const parts = UNITS.map(
    ({ unit, minutes, kept }) => `
    select ${unit} as unit, x.enqueued, x.completed, x.cancelled, x.dead from ${s}.stat as x
    where x.unit = ${unit} and x.at > v_minute / ${minutes} - ${kept} and x.at <= v_minute / ${minutes} and (v_lanes is null or x.lane = any (v_lanes))
    union all
    select ${unit}, ${flow("t")} from ${s}.tally as t
    where t.minute is not null and t.minute <= v_minute and t.minute / ${minutes} > v_minute / ${minutes} - ${kept}
      and (v_lanes is null or t.lane = any (v_lanes))
    union all`,
  );
  return plannedFunction(
    s,
    `look_stats(p_now double precision, p_queue text, p_name text)
    returns table (o_unit integer, o_enqueued numeric, o_completed numeric, o_cancelled numeric, o_dead numeric)
    stable`,
    `
declare
  v_minute integer := ${minuteOf(NOW)};
  v_lanes integer[];
begin
  if p_queue is not null or p_name is not null then
    v_lanes := array (
      select l.id from ${s}.lane as l
      where (p_queue is null or l.queue = p_queue) and (p_name is null or l.name = p_name));
  end if;
  return query
  select a.unit, sum(a.enqueued), sum(a.completed), sum(a.cancelled), sum(a.dead) from (${parts.join("")}
    select 0, x.enqueued, x.completed, x.cancelled, x.dead from ${s}.stat as x
    where x.unit = 0 and x.at = 0 and (v_lanes is null or x.lane = any (v_lanes))
    union all
    select 0, ${flow("t")} from ${s}.tally as t
    where t.minute is not null and (v_lanes is null or t.lane = any (v_lanes))
  ) as a group by a.unit;
end`,
  );
}
