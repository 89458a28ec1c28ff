/**
 * The first ready jobs behind a seq, over the lines of all lanes that are asked for (null: all). The lines are found
 * by skipping from one to the next. Then windows of seqs are read from all of them, each wider than the one before:
 * there are no more jobs in a window than it is wide, so little is read in vain, however many lines there are.
 */
export function readyPlacesBody(s: string): string {
  const kinds = [
    { condition: "not r.marked", lanes: "v_lanes", priorities: "v_priorities" },
    { condition: "r.marked", lanes: "v_marked_lanes", priorities: "v_marked_priorities" },
  ];
  const lines = kinds.map(
    ({ condition, lanes, priorities }) => `
  if p_lanes is null then
    with recursive line as (
      (select r.lane, r.priority from ${s}.ready as r where ${condition} order by r.lane, r.priority limit 1)
      union all
      select n.lane, n.priority from line as b cross join lateral (
        select r.lane, r.priority from ${s}.ready as r
        where ${condition} and (r.lane, r.priority) > (b.lane, b.priority) order by r.lane, r.priority limit 1
      ) as n
    )
    select array_agg(b.lane), array_agg(b.priority) into ${lanes}, ${priorities} from line as b;
  else
    with recursive line as (
      select u.lane, n.priority from unnest(p_lanes) as u (lane) cross join lateral (
        select r.priority from ${s}.ready as r
        where ${condition} and r.lane = u.lane order by r.lane, r.priority limit 1
      ) as n
      union all
      select b.lane, n.priority from line as b cross join lateral (
        select r.priority from ${s}.ready as r
        where ${condition} and r.lane = b.lane and r.priority > b.priority order by r.lane, r.priority limit 1
      ) as n
    )
    select array_agg(b.lane), array_agg(b.priority) into ${lanes}, ${priorities} from line as b;
  end if;`,
  );
  const fromLines = (columns: string, bound: string, limit: string): string =>
    kinds.map(
      ({ condition, lanes, priorities }) => `
      select q.* from unnest(${lanes}, ${priorities}) as b (lane, priority) cross join lateral (
        select ${columns} from ${s}.ready as r
        where ${condition} and r.lane = b.lane and r.priority = b.priority and ${bound}
        order by r.lane, r.priority, r.seq limit ${limit}
      ) as q`,
    ).join(`
      union all`);
  return `
declare
  v_lanes integer[];
  v_priorities smallint[];
  v_marked_lanes integer[];
  v_marked_priorities smallint[];
  v_left bigint := p_rows;
  v_found bigint;
  v_behind bigint := p_after;
  v_first bigint;
  v_width bigint := p_rows;
begin${lines.join("")}
  while v_left > 0 loop
    select min(a.seq) into v_first from (${fromLines("r.seq", "r.seq > v_behind", "1")}
    ) as a;
    exit when v_first is null;
    v_behind := v_first + v_width;
    return query
    select a.seq, a.id from (${fromLines("r.seq, r.id", "r.seq >= v_first and r.seq <= v_behind", "v_left")}
    ) as a order by a.seq limit v_left;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
    v_width := v_width * 4;
  end loop;
end`;
}
