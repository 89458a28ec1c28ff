export const pages: string = String.raw`
create function «schema».ready_places(p_lanes integer[], p_after bigint, p_rows integer) returns table (o_seq bigint, o_id bigint) stable
language plpgsql
as $jobwright$
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
begin
  if p_lanes is null then
    with recursive line as (
      (select r.lane, r.priority from «schema».ready as r where not r.marked order by r.lane, r.priority limit 1)
      union all
      select n.lane, n.priority from line as b cross join lateral (
        select r.lane, r.priority from «schema».ready as r
        where not r.marked and (r.lane, r.priority) > (b.lane, b.priority) order by r.lane, r.priority limit 1
      ) as n
    )
    select array_agg(b.lane), array_agg(b.priority) into v_lanes, v_priorities from line as b;
  else
    with recursive line as (
      select u.lane, n.priority from unnest(p_lanes) as u (lane) cross join lateral (
        select r.priority from «schema».ready as r
        where not r.marked and r.lane = u.lane order by r.lane, r.priority limit 1
      ) as n
      union all
      select b.lane, n.priority from line as b cross join lateral (
        select r.priority from «schema».ready as r
        where not r.marked and r.lane = b.lane and r.priority > b.priority order by r.lane, r.priority limit 1
      ) as n
    )
    select array_agg(b.lane), array_agg(b.priority) into v_lanes, v_priorities from line as b;
  end if;
  if p_lanes is null then
    with recursive line as (
      (select r.lane, r.priority from «schema».ready as r where r.marked order by r.lane, r.priority limit 1)
      union all
      select n.lane, n.priority from line as b cross join lateral (
        select r.lane, r.priority from «schema».ready as r
        where r.marked and (r.lane, r.priority) > (b.lane, b.priority) order by r.lane, r.priority limit 1
      ) as n
    )
    select array_agg(b.lane), array_agg(b.priority) into v_marked_lanes, v_marked_priorities from line as b;
  else
    with recursive line as (
      select u.lane, n.priority from unnest(p_lanes) as u (lane) cross join lateral (
        select r.priority from «schema».ready as r
        where r.marked and r.lane = u.lane order by r.lane, r.priority limit 1
      ) as n
      union all
      select b.lane, n.priority from line as b cross join lateral (
        select r.priority from «schema».ready as r
        where r.marked and r.lane = b.lane and r.priority > b.priority order by r.lane, r.priority limit 1
      ) as n
    )
    select array_agg(b.lane), array_agg(b.priority) into v_marked_lanes, v_marked_priorities from line as b;
  end if;
  while v_left > 0 loop
    select min(a.seq) into v_first from (
      select q.* from unnest(v_lanes, v_priorities) as b (lane, priority) cross join lateral (
        select r.seq from «schema».ready as r
        where not r.marked and r.lane = b.lane and r.priority = b.priority and r.seq > v_behind
        order by r.lane, r.priority, r.seq limit 1
      ) as q
      union all
      select q.* from unnest(v_marked_lanes, v_marked_priorities) as b (lane, priority) cross join lateral (
        select r.seq from «schema».ready as r
        where r.marked and r.lane = b.lane and r.priority = b.priority and r.seq > v_behind
        order by r.lane, r.priority, r.seq limit 1
      ) as q
    ) as a;
    exit when v_first is null;
    v_behind := v_first + v_width;
    return query
    select a.seq, a.id from (
      select q.* from unnest(v_lanes, v_priorities) as b (lane, priority) cross join lateral (
        select r.seq, r.id from «schema».ready as r
        where not r.marked and r.lane = b.lane and r.priority = b.priority and r.seq >= v_first and r.seq <= v_behind
        order by r.lane, r.priority, r.seq limit v_left
      ) as q
      union all
      select q.* from unnest(v_marked_lanes, v_marked_priorities) as b (lane, priority) cross join lateral (
        select r.seq, r.id from «schema».ready as r
        where r.marked and r.lane = b.lane and r.priority = b.priority and r.seq >= v_first and r.seq <= v_behind
        order by r.lane, r.priority, r.seq limit v_left
      ) as q
    ) as a order by a.seq limit v_left;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
    v_width := v_width * 4;
  end loop;
end
$jobwright$;

create function «schema».list_available(p_queue text, p_name text, p_tag text,
  p_at double precision, p_place bigint, p_limit integer, p_rows integer, p_text bigint)
  returns table (o_at double precision, o_place bigint, o_length bigint, o_process text, o_1 bigint, o_2 integer, o_3 text, o_4 text, o_5 text, o_6 double precision, o_7 double precision, o_8 double precision, o_9 integer, o_10 integer, o_11 integer, o_12 integer, o_13 integer, o_14 integer, o_15 integer, o_16 smallint, o_17 boolean, o_18 text, o_19 text, o_20 text, o_21 text, o_22 text, o_23 text, o_24 text, o_25 text, o_26 smallint, o_27 double precision, o_28 double precision, o_29 text)
stable
set enable_sort = off
set enable_bitmapscan = off
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_indexscan = on
set enable_tidscan = on
set enable_nestloop = on
set random_page_cost = 2
set jit = off
as $jobwright$
declare
  v_lanes integer[];
begin
  if p_queue is not null or p_name is not null then
    v_lanes := array(
      select l.id from «schema».lane as l
      where (p_queue is null or l.queue = p_queue) and (p_name is null or l.name = p_name));
    if cardinality(v_lanes) = 0 then
      return;
    end if;
  end if;
  return query
  with candidate as materialized (
    select 0::double precision as at, r.o_seq as place, null::text as held_by, j.*
    from «schema».ready_places(v_lanes, p_place, p_rows) as r
    cross join lateral (select x.* from «schema».job as x where x.id = r.o_id limit 1) as j
  ), measured as materialized (
    select c.*, octet_length(c.payload)::bigint + coalesce(octet_length(c.result), 0) as length,
      (v_lanes is null or c.lane = any (v_lanes)) and (p_tag is null or exists (
        select from json_array_elements(c.tags::json) as e (tag) where e.tag::text = p_tag)) as fits
    from candidate as c
  ), summed as (
    select m.*, count(*) filter (where m.fits) over before as jobs_before,
      coalesce(sum(m.length) filter (where m.fits) over before, 0) as length_before
    from measured as m
    window before as (order by m.place rows between unbounded preceding and 1 preceding)
  )
  select c.at, c.place, c.length, c.held_by, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, j.checkpoint_bytes, j.priority, j.marked, j.token, j.settled_by, j.tags, j.given_id, j.cancel_asked, j.error, j.result, j.payload, null::smallint, null::double precision, null::double precision, null::text
  from summed as c
  left join lateral (select c.* where c.fits and c.jobs_before < p_limit and c.length_before < p_text) as j on true
  left join lateral (select x.* from «schema».lane as x where x.id = j.lane limit 1) as l on true
    left join lateral (select x.* from «schema».policy as x where x.id = j.policy limit 1) as p on true
  order by c.place;
end
$jobwright$;

create function «schema».list_scheduled(p_queue text, p_name text, p_tag text,
  p_at double precision, p_place bigint, p_limit integer, p_rows integer, p_text bigint)
  returns table (o_at double precision, o_place bigint, o_length bigint, o_process text, o_1 bigint, o_2 integer, o_3 text, o_4 text, o_5 text, o_6 double precision, o_7 double precision, o_8 double precision, o_9 integer, o_10 integer, o_11 integer, o_12 integer, o_13 integer, o_14 integer, o_15 integer, o_16 smallint, o_17 boolean, o_18 text, o_19 text, o_20 text, o_21 text, o_22 text, o_23 text, o_24 text, o_25 text, o_26 smallint, o_27 double precision, o_28 double precision, o_29 text)
stable
set enable_sort = off
set enable_bitmapscan = off
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_indexscan = on
set enable_tidscan = on
set enable_nestloop = on
set random_page_cost = 2
set jit = off
as $jobwright$
declare
  v_lanes integer[];
begin
  if p_queue is not null or p_name is not null then
    v_lanes := array(
      select l.id from «schema».lane as l
      where (p_queue is null or l.queue = p_queue) and (p_name is null or l.name = p_name));
    if cardinality(v_lanes) = 0 then
      return;
    end if;
  end if;
  return query
  with candidate as materialized (
    select r.run_at as at, r.id as place, null::text as held_by, j.*
    from (
      select x.run_at, x.id from «schema».scheduled as x
      where (x.run_at, x.id) > (p_at, p_place) order by x.run_at, x.id limit p_rows
    ) as r
    cross join lateral (select x.* from «schema».job as x where x.id = r.id limit 1) as j
  ), measured as materialized (
    select c.*, octet_length(c.payload)::bigint + coalesce(octet_length(c.result), 0) as length,
      (v_lanes is null or c.lane = any (v_lanes)) and (p_tag is null or exists (
        select from json_array_elements(c.tags::json) as e (tag) where e.tag::text = p_tag)) as fits
    from candidate as c
  ), summed as (
    select m.*, count(*) filter (where m.fits) over before as jobs_before,
      coalesce(sum(m.length) filter (where m.fits) over before, 0) as length_before
    from measured as m
    window before as (order by m.at, m.place rows between unbounded preceding and 1 preceding)
  )
  select c.at, c.place, c.length, c.held_by, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, j.checkpoint_bytes, j.priority, j.marked, j.token, j.settled_by, j.tags, j.given_id, j.cancel_asked, j.error, j.result, j.payload, null::smallint, null::double precision, null::double precision, null::text
  from summed as c
  left join lateral (select c.* where c.fits and c.jobs_before < p_limit and c.length_before < p_text) as j on true
  left join lateral (select x.* from «schema».lane as x where x.id = j.lane limit 1) as l on true
    left join lateral (select x.* from «schema».policy as x where x.id = j.policy limit 1) as p on true
  order by c.at, c.place;
end
$jobwright$;

create function «schema».list_running(p_queue text, p_name text, p_tag text,
  p_at double precision, p_place bigint, p_limit integer, p_rows integer, p_text bigint)
  returns table (o_at double precision, o_place bigint, o_length bigint, o_process text, o_1 bigint, o_2 integer, o_3 text, o_4 text, o_5 text, o_6 double precision, o_7 double precision, o_8 double precision, o_9 integer, o_10 integer, o_11 integer, o_12 integer, o_13 integer, o_14 integer, o_15 integer, o_16 smallint, o_17 boolean, o_18 text, o_19 text, o_20 text, o_21 text, o_22 text, o_23 text, o_24 text, o_25 text, o_26 smallint, o_27 double precision, o_28 double precision, o_29 text)
stable
set enable_sort = off
set enable_bitmapscan = off
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_indexscan = on
set enable_tidscan = on
set enable_nestloop = on
set random_page_cost = 2
set jit = off
as $jobwright$
declare
  v_lanes integer[];
begin
  if p_queue is not null or p_name is not null then
    v_lanes := array(
      select l.id from «schema».lane as l
      where (p_queue is null or l.queue = p_queue) and (p_name is null or l.name = p_name));
    if cardinality(v_lanes) = 0 then
      return;
    end if;
  end if;
  return query
  with candidate as materialized (
    select 0::double precision as at, r.id as place, r.process_id as held_by, j.*
    from (
      select u.id, coalesce(u.generation, 0) as generation, h.token, h.process_id
      from «schema».lease as h cross join lateral unnest(h.ids, h.generations) as u (id, generation)
      where h.hi > p_place and u.id > p_place order by u.id
    ) as r
    cross join lateral (select x.* from «schema».job as x where x.id = r.id and x.generation = r.generation
      and (x.token is null or x.token = r.token) limit 1) as j
    order by r.id limit p_rows
  ), measured as materialized (
    select c.*, octet_length(c.payload)::bigint + coalesce(octet_length(c.result), 0) as length,
      (v_lanes is null or c.lane = any (v_lanes)) and (p_tag is null or exists (
        select from json_array_elements(c.tags::json) as e (tag) where e.tag::text = p_tag)) as fits
    from candidate as c
  ), summed as (
    select m.*, count(*) filter (where m.fits) over before as jobs_before,
      coalesce(sum(m.length) filter (where m.fits) over before, 0) as length_before
    from measured as m
    window before as (order by m.place rows between unbounded preceding and 1 preceding)
  )
  select c.at, c.place, c.length, c.held_by, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, j.checkpoint_bytes, j.priority, j.marked, j.token, j.settled_by, j.tags, j.given_id, j.cancel_asked, j.error, j.result, j.payload, null::smallint, null::double precision, null::double precision, null::text
  from summed as c
  left join lateral (select c.* where c.fits and c.jobs_before < p_limit and c.length_before < p_text) as j on true
  left join lateral (select x.* from «schema».lane as x where x.id = j.lane limit 1) as l on true
    left join lateral (select x.* from «schema».policy as x where x.id = j.policy limit 1) as p on true
  order by c.place;
end
$jobwright$;

create function «schema».list_finished(p_state smallint, p_queue text, p_name text, p_tag text,
  p_at double precision, p_place bigint, p_limit integer, p_rows integer, p_text bigint)
  returns table (o_at double precision, o_place bigint, o_length bigint, o_process text, o_1 bigint, o_2 integer, o_3 text, o_4 text, o_5 text, o_6 double precision, o_7 double precision, o_8 double precision, o_9 integer, o_10 integer, o_11 integer, o_12 integer, o_13 integer, o_14 integer, o_15 integer, o_16 smallint, o_17 boolean, o_18 text, o_19 text, o_20 text, o_21 text, o_22 text, o_23 text, o_24 text, o_25 text, o_26 smallint, o_27 double precision, o_28 double precision, o_29 text)
stable
set enable_sort = off
set enable_bitmapscan = off
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_indexscan = on
set enable_tidscan = on
set enable_nestloop = on
set random_page_cost = 2
set jit = off
as $jobwright$
declare
  v_lanes integer[];
begin
  if p_queue is not null or p_name is not null then
    v_lanes := array(
      select l.id from «schema».lane as l
      where (p_queue is null or l.queue = p_queue) and (p_name is null or l.name = p_name));
    if cardinality(v_lanes) = 0 then
      return;
    end if;
  end if;
  return query
  with candidate as materialized (
    select 0::double precision as at, j.end_no as place, null::text as held_by, j.*
    from «schema».finished as j
    where j.state = p_state and j.end_no < p_place order by j.end_no desc limit p_rows
  ), measured as materialized (
    select c.*, octet_length(c.payload)::bigint + coalesce(octet_length(c.result), 0) as length,
      (v_lanes is null or c.lane = any (v_lanes)) and (p_tag is null or exists (
        select from json_array_elements(c.tags::json) as e (tag) where e.tag::text = p_tag)) as fits
    from candidate as c
  ), summed as (
    select m.*, count(*) filter (where m.fits) over before as jobs_before,
      coalesce(sum(m.length) filter (where m.fits) over before, 0) as length_before
    from measured as m
    window before as (order by m.place desc rows between unbounded preceding and 1 preceding)
  )
  select c.at, c.place, c.length, c.held_by, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, 0, j.priority, j.marked, null::text, j.settled_by, j.tags, j.given_id, null::text, j.error, j.result, j.payload, j.state, j.ended_at, j.expires_at, j.reason
  from summed as c
  left join lateral (select c.* where c.fits and c.jobs_before < p_limit and c.length_before < p_text) as j on true
  left join lateral (select x.* from «schema».lane as x where x.id = j.lane limit 1) as l on true
    left join lateral (select x.* from «schema».policy as x where x.id = j.policy limit 1) as p on true
  order by c.place desc;
end
$jobwright$;
`;
