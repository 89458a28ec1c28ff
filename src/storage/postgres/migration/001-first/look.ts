export const look: string = String.raw`
create function «schema».get_jobs(p_ids bigint[]) returns table (o_n bigint, o_state smallint, o_process text, o_1 bigint, o_2 integer, o_3 text, o_4 text, o_5 text, o_6 double precision, o_7 double precision, o_8 double precision, o_9 integer, o_10 integer, o_11 integer, o_12 integer, o_13 integer, o_14 integer, o_15 integer, o_16 smallint, o_17 boolean, o_18 text, o_19 text, o_20 text, o_21 text, o_22 text, o_23 text, o_24 text, o_25 text, o_26 smallint, o_27 double precision, o_28 double precision, o_29 text)
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
  v_found bigint;
begin
  return query
  select u.n, w.state, h.process_id, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, j.checkpoint_bytes, j.priority, j.marked, j.token, j.settled_by, j.tags, j.given_id, j.cancel_asked, j.error, j.result, j.payload, null::smallint, null::double precision, null::double precision, null::text
  from unnest(p_ids) with ordinality as u (id, n)
  cross join lateral (select x.* from «schema».job as x where x.id = u.id limit 1) as j
  cross join lateral (
    select (case
      when (select true from «schema».scheduled as x where x.run_at = j.run_at and x.id = j.id limit 1) then 1
      when (select true from «schema».ready as x where not x.marked and x.lane = j.lane and x.priority = j.priority and x.seq = j.id limit 1) then 2
      when (select true from «schema».ready as x where x.marked and x.lane = j.lane and x.priority = j.priority and x.seq = j.id limit 1) then 2
      when (select true from «schema».ready as x where x.id = j.id and x.id <> x.seq limit 1) then 2
      else 4 end)::smallint as state offset 0
  ) as w
  left join lateral (
    select x.process_id from «schema».lease as x
    where w.state = 4 and int8range(x.lo, x.hi, '[]') @> j.id and j.id = any (x.ids)
      and coalesce(x.generations[array_position(x.ids, j.id)], 0) = j.generation
      and (j.token is null or j.token = x.token)
    limit 1
  ) as h on true
  left join lateral (select x.* from «schema».lane as x where x.id = j.lane limit 1) as l on true
    left join lateral (select x.* from «schema».policy as x where x.id = j.policy limit 1) as p on true;
  get diagnostics v_found = row_count;
  if v_found < cardinality(p_ids) then
    return query
    select u.n, null::smallint, null::text, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, 0, j.priority, j.marked, null::text, j.settled_by, j.tags, j.given_id, null::text, j.error, j.result, j.payload, j.state, j.ended_at, j.expires_at, j.reason
    from unnest(p_ids) with ordinality as u (id, n)
    cross join lateral (
      select x.* from «schema».finished as x
      where x.id = u.id and (select true from «schema».job as y where y.id = u.id limit 1) is null limit 1
    ) as j
    left join lateral (select x.* from «schema».lane as x where x.id = j.lane limit 1) as l on true
    left join lateral (select x.* from «schema».policy as x where x.id = j.policy limit 1) as p on true;
  end if;
end
$jobwright$;

create function «schema».job_attempts(p_job bigint) returns table (o_entry text, o_entries text)
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
begin
  return query select a.entry, null::text from «schema».attempt as a where a.job = p_job order by a.number;
  return query select null::text, f.attempts from «schema».finished as f where f.id = p_job and f.attempts is not null;
end
$jobwright$;

create function «schema».look_processes(p_alive double precision) returns table (o_id text, o_name text, o_host text, o_pid integer,
  o_queues text, o_lost_after_ms double precision, o_registered_at double precision, o_silent_ms double precision,
  o_lost boolean, o_running bigint)
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
  v_alive double precision := coalesce(p_alive, (extract(epoch from clock_timestamp()) * 1000)::double precision);
begin
  return query
  select p.id, p.name, p.host, p.pid, p.queues, p.lost_after_ms, p.registered_at, greatest(0, v_alive - p.beat_at),
    p.leaving or v_alive - p.beat_at > p.lost_after_ms, held.n
  from «schema».process as p
  cross join lateral (
    select count(*) as n
    from «schema».lease as h
    cross join lateral unnest(h.ids, h.generations) as u (id, generation)
    cross join lateral (select 1 from «schema».job as x where x.id = u.id and x.generation = coalesce(u.generation, 0)
      and (x.token is null or x.token = h.token) limit 1) as j
    where h.process_id = p.id
  ) as held
  order by p.registered_at, p.id;
end
$jobwright$;
`;
