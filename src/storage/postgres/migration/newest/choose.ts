import { limits } from "../../../../job/limits.ts";
import { quoteRelation } from "../../quoting.ts";

/**
 * Chooses the places of the first `v_each` rows over `v_parts`: lanes, or the parts of lanes in which there may be
 * jobs. Of one lane the rows are those that nobody else has locked, so that claimers at the same time do not choose
 * the same ones. Over several there are no locks, as most rows are left for others.
 */
export function choose(s: string): string {
  return `
        if p_part_of is null and cardinality(v_parts) = 1 then
          select coalesce(array_agg(place), '{}') into v_places from (
            select r.ctid as place from ${s}.ready as r where r.lane = v_parts[1] and not r.marked
            order by r.priority, r.seq limit v_each for update skip locked) as line;
        elsif p_part_of is null and v_try = 0 then
          ${chooseOfMany(s, "unnest(v_parts) with ordinality as a (lane, ord)", { first: "true", last: "null::smallint" })}
        else
          ${chooseOfMany(s, PARTS, {
            first: `(r.priority, r.seq) >= (coalesce(a.priority, ${limits.priorityMin}::smallint), coalesce(a.seq, 0))`,
            last: `coalesce(a.last, ${limits.priorityMax}::smallint)`,
          })}
        end if;`;
}

const PARTS =
  "unnest(v_parts, v_part_priorities, v_part_seqs, v_part_lasts) with ordinality as a (lane, priority, seq, last, ord)";

/**
 * Each part is first asked for its fair share. Those that gave all of it to the choice are asked for more, up to
 * the last row chosen so far when there were enough.
 *
 * @param parts an item of a from clause, `a (lane, ord, …)`
 * @param ends `first`: whether row `r` comes after the beginning of `a`; `last`: the last priority of `a`, or null
 */
function chooseOfMany(
  s: string,
  parts: string,
  { first, last }: { readonly first: string; readonly last: string },
): string {
  // The second try passes over rows that bear somebody's mark: as a rule they are being taken. Where the taking
  // was given up the mark stays, so the first try does not look at it.
  const within = (of: string): string =>
    last.startsWith("null")
      ? "not r.marked"
      : `not r.marked and r.priority <= ${of} and (v_try = 0 or r.xmax = 0)`;
  return `v_share := least(v_each, 1 + (v_each + cardinality(v_lanes) - 1) / cardinality(v_lanes));
          with shares as materialized (
            select a.ord, a.lane, ${last} as last, line.*
            from ${parts} cross join lateral (
              select r.ctid as place, r.priority, r.seq from ${s}.ready as r
              where r.lane = a.lane and ${first} and ${within(last)}
              order by r.priority, r.seq limit v_share) as line
          ), first as materialized (
            select *, row_number() over (order by priority, seq) as rank from shares order by priority, seq limit v_each
          ), exhausted as materialized (
            select ord, lane, last, max(array[priority, seq]) as place, max(rank) as rank
            from first group by ord, lane, last having count(*) = v_share and v_share < v_each
          ), more as (
            select line.* from exhausted as e left join first as b on b.rank = v_each cross join lateral (
              select r.ctid as place, r.priority, r.seq from ${s}.ready as r
              where r.lane = e.lane and (r.priority, r.seq) > (e.place[1]::smallint, e.place[2])
                and (r.priority, r.seq) < (coalesce(b.priority, ${limits.priorityMax + 1}::smallint), coalesce(b.seq, 0))
                and ${within("e.last")}
              order by r.priority, r.seq limit v_each - e.rank) as line
          )
          select coalesce(array_agg(place order by priority, seq), '{}') into v_places from (
            select place, priority, seq from first
            union all select place, priority, seq from more
            order by priority, seq limit v_each) as chosen;`;
}

/**
 * How many rows that are gone this transaction has come across by an index: entries that led to nothing. That depends
 * neither on the machine nor on what else it does. Always 0 when the server is told not to count.
 */
export function gone(s: string, index: string): string {
  const oid = `${quoteRelation(s, index)}::regclass`;
  return `(pg_stat_get_xact_tuples_returned(${oid}) - pg_stat_get_xact_tuples_fetched(${oid}))`;
}

/**
 * Where the living rows begin, as `[last seq, [[index of the lane, priority, seq], …]]`: what a lane gave last, or
 * its first row when it gave nothing; without a place when it is empty. Of lanes of which the caller knows that
 * already, only those that gave something.
 */
export function tellPlaces(s: string): string {
  return `
      with given as materialized (
        select distinct on (lane) lane, priority, seq from unnest(v_job_lanes, v_priorities, v_seqs) as u (lane, priority, seq)
        order by lane, priority desc, seq desc
      )
      select json_build_array((select last_value from ${s}.seq),
        json_agg(json_build_array(u.ord, line.priority, line.seq)))::text into v_last_places
      from unnest(v_all_lanes, v_all_ords) as u (lane, ord)
      left join lateral (
        select priority, seq from given where given.lane = u.lane
        union all
        (select r.priority, r.seq from ${s}.ready as r
          where r.lane = u.lane and not r.marked and u.lane <> all (v_job_lanes) and p_part_of is null
          order by r.priority, r.seq limit 1)
      ) as line on true
      where p_mosts[p_requests[u.ord]] > 0 and (p_part_of is null or line.priority is not null);`;
}
