export const upkeep: string = String.raw`
create function «schema».promote(p_now double precision, p_limit integer) returns table (promoted integer, next_at double precision)
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
  v_now double precision := coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision);
  v_queues text[];
  v_names text[];
begin
  promoted := 0;
  select min(run_at) into next_at from «schema».scheduled;
  if next_at is null or next_at > v_now or p_limit < 1 then
    return next;
    return;
  end if;
  with due as materialized (
    select ctid as place, run_at, id, lane, generation, priority, marked from «schema».scheduled
    where run_at <= v_now order by run_at, id limit p_limit for update skip locked
  ), gone as (
    delete from «schema».scheduled where ctid = any (array (select place from due))
  ), placed as (
    insert into «schema».ready (seq, id, lane, generation, priority, marked)
    select nextval(«relation seq»::regclass), d.id, d.lane, d.generation, d.priority, d.marked
    from (select * from due order by run_at, id) as d
  ), moved as (
    select lane, count(*) as n from due group by lane
  ), counted as (
    insert into «schema».tally (lane, src, dst, n) select lane, 1, 2, n from moved
  )
  select coalesce(sum(m.n), 0), array_agg(l.queue), array_agg(l.name) into promoted, v_queues, v_names
    from moved as m join «schema».lane as l on l.id = m.lane;
  if promoted > 0 then
    perform «schema».tell_available(v_queues, v_names);
  end if;
  select min(run_at) into next_at from «schema».scheduled;
  return next;
end
$jobwright$;

create function «schema».rescue(p_alive double precision, p_process text, p_token text, p_limit integer)
    returns table (c_process text, c_started boolean, c_at double precision, c_queue text, c_name text, c_job text)
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
  v_lost text[];
  v_key record;
  v_lease «schema».lease;
  v_left integer := p_limit;
  v_beyond integer := 100;
  v_part integer;
  v_ids bigint[];
  v_ords integer[];
begin
  -- Who is lost itself could not be trusted to decide about the jobs.
  if not exists (select from «schema».process as p where p.id = p_process and not (p.leaving or v_alive - p.beat_at > p.lost_after_ms)) then
    return;
  end if;
  v_lost := array (select p.id from «schema».process as p where (p.leaving or v_alive - p.beat_at > p.lost_after_ms) for update skip locked);
  with recursive holder (id) as (
    select min(x.process_id) from «schema».lease as x
    union all
    select (select min(x.process_id) from «schema».lease as x where x.process_id > h.id) from holder as h where h.id is not null
  )
  select v_lost || coalesce(array_agg(h.id), '{}') into v_lost
    from holder as h where h.id is not null and not exists (select from «schema».process as p where p.id = h.id);
  if cardinality(v_lost) = 0 then
    return;
  end if;

  select coalesce(max(x.part) + 1, 0) into v_part from «schema».lease as x where x.token = p_token;
  for v_key in
    select x.token, x.part from «schema».lease as x where x.process_id = any (v_lost) order by x.claimed_at, x.token, x.part
  loop
    select * into v_lease from «schema».lease as x where x.token = v_key.token and x.part = v_key.part for update skip locked;
    continue when not found;
    if v_left < 1 then
      exit when v_beyond < 1;
      v_beyond := v_beyond - 1;
    end if;

    with mine as materialized (
      select j.id, u.ord
      from unnest(v_lease.ids) with ordinality as u (id, ord)
      join «schema».job as j on j.id = u.id and j.generation = coalesce(v_lease.generations[u.ord], 0)
        and (j.token is null or j.token = v_lease.token)
      order by j.id limit greatest(v_left, 0) for update of j skip locked
    ), moved as (
      update «schema».job as j set token = p_token from mine where j.id = mine.id
    )
    select array_agg(id order by ord), array_agg(ord::integer order by ord) into v_ids, v_ords from mine;

    if v_ids is not null then
      insert into «schema».lease (claimed_at, lo, hi, part, token, process_id, claimed_by, origin, ids, generations, seqs)
      select v_lease.claimed_at, min(u.id), max(u.id), v_part, p_token, p_process, v_lease.claimed_by, v_lease.origin,
        v_ids,
        case when v_lease.generations is not null then array_agg(v_lease.generations[u.at] order by u.ord) end,
        case when v_lease.seqs is not null then array_agg(v_lease.seqs[u.at] order by u.ord) end
      from unnest(v_ids, v_ords) with ordinality as u (id, at, ord);
      update «schema».ask set process_id = p_process where ask.job = any (v_ids);
      v_part := v_part + 1;
      v_left := v_left - cardinality(v_ids);
      return query
        with started as materialized (
          select u.id, u.generation, min(y.at) as at
          from «schema».start as y, unnest(y.ids, y.generations) as u (id, generation)
          where y.origin = v_lease.origin group by u.id, u.generation
        )
        select v_lease.claimed_by, j.marked or st.at is not null, coalesce(st.at, v_lease.claimed_at), l.queue, l.name,
          concat_ws(E'\x1f', j.id, 1, coalesce(j.policy_text, j.policy::text), j.created_at,
      case when j.generation = 0 and j.attempt = 0 and j.priority = 0 and j.run_at = j.created_at and not j.marked
          and j.checkpoint_bytes = 0 and j.tags is null and j.given_id is null and j.cancel_asked is null
        then ''
        else json_build_array(j.generation, j.attempt, j.priority, j.run_at, j.marked, j.tags, j.given_id, j.cancel_asked,
          case when j.checkpoint_bytes > 0 then (
            select json_object_agg(c.key, c.value) from «schema».checkpoint as c where c.job = j.id) end)::text
        end,
      j.payload)
        from unnest(v_ids) with ordinality as u (id, ord)
        cross join lateral (select * from «schema».job where job.id = u.id offset 0) as j
        join «schema».lane as l on l.id = j.lane
        left join started as st on st.id = j.id and st.generation = j.generation
        order by u.ord;
    end if;

    if not exists (select from «schema».lease as x where x.token = v_key.token and x.part = v_key.part and exists (
    select from unnest(x.ids) with ordinality as u (id, ord)
    join «schema».job as j on j.id = u.id and j.generation = coalesce(x.generations[u.ord], 0)
      and (j.token is null or j.token = x.token))) then
      delete from «schema».start as y where y.origin = v_lease.origin and not exists (
    select from unnest(y.ids, y.generations) as u (id, generation)
    join «schema».job as j on j.id = u.id and j.generation = u.generation);
      delete from «schema».lease as x where x.token = v_key.token and x.part = v_key.part;
    end if;
  end loop;

  with gone as (
    delete from «schema».process as p
    where p.id = any (v_lost) and (p.leaving or v_alive - p.beat_at > p.lost_after_ms) and not exists (select from «schema».lease as x where x.process_id = p.id)
    returning p.id
  )
  delete from «schema».waiter as w using gone where w.process_id = gone.id;
end
$jobwright$;

create function «schema».prune(p_now double precision, p_limit integer) returns integer
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
  v_now double precision := coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision);
  v_n integer;
begin
  with old as materialized (
    select f.ctid as place from «schema».finished_row as f where f.expires_at <= v_now
    order by f.expires_at limit p_limit for update skip locked
  ), gone as materialized (
    delete from «schema».finished_row where ctid = any (array (select place from old)) returning id, lane, state, given_id
  ), counted as (
    insert into «schema».tally (lane, src, dst, n) select lane, state, 0, count(*) from gone group by lane, state
  ), forgotten as (
    delete from «schema».given as g using gone as k, «schema».lane as l
    where k.given_id is not null and l.id = k.lane and g.name = l.name and g.given_id = k.given_id and g.job = k.id
  )
  select count(*) into v_n from gone;
  return v_n;
end
$jobwright$;

create function «schema».tidy(p_now double precision, p_alive double precision, p_from text) returns text
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
  v_now double precision := coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision);
  v_tokens text[];
  v_origins text[];
begin
  delete from «schema».batch where ctid = any (array (
    select ctid from «schema».batch where at <= v_now - 900000 order by at limit 1000 for update skip locked));
  delete from «schema».awaited where ctid = any (array (
    select ctid from «schema».awaited where until_at < coalesce(p_alive, (extract(epoch from clock_timestamp()) * 1000)::double precision) limit 1000 for update skip locked));
  delete from «schema».ask where ctid = any (array (
    select a.ctid from «schema».ask as a
    where not exists (select from «schema».job as j where j.id = a.job and j.generation = a.generation)
    limit 1000 for update of a skip locked));

  -- A start outlives its lease only where something went wrong between the two.
  v_origins := array (select y.origin from «schema».start as y where y.origin > p_from order by y.origin limit 50);
  delete from «schema».start where ctid = any (array (
    select y.ctid from «schema».start as y where y.origin = any (v_origins) and not exists (
    select from unnest(y.ids, y.generations) as u (id, generation)
    join «schema».job as j on j.id = u.id and j.generation = u.generation) for update skip locked));
  v_tokens := array (select x.token from «schema».lease as x where x.token > p_from order by x.token limit 50);
  delete from «schema».lease where ctid = any (array (
    select x.ctid from «schema».lease as x
    where x.token = any (v_tokens) and x.claimed_at < v_now - 60000 and not exists (
    select from unnest(x.ids) with ordinality as u (id, ord)
    join «schema».job as j on j.id = u.id and j.generation = coalesce(x.generations[u.ord], 0)
      and (j.token is null or j.token = x.token)) for update skip locked));
  -- The one that got less far; from the beginning when both are through.
  return coalesce(least(v_origins[50], v_tokens[50]), '');
end
$jobwright$;

create function «schema».fold_tally() returns void
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
  v_rows bigint;
  v_kinds bigint;
begin
  select count(*), count(distinct (lane, src, dst)) into v_rows, v_kinds
    from (select lane, src, dst from «schema».tally limit 50000) as looked_at;
  if v_rows < 64 or v_rows < 4 * v_kinds then
    return;
  end if;
  with chosen as materialized (
    select ctid as place from «schema».tally limit 50000 for update skip locked
  ), gone as materialized (
    delete from «schema».tally where ctid = any (array (select place from chosen)) returning lane, n, src, dst
  )
  insert into «schema».tally (lane, n, src, dst)
    select lane, sum(n), 0, state
    from (
      select lane, n, dst as state from gone
      union all
      select lane, -n, src from gone
    ) as moves
    where state <> 0 group by lane, state having sum(n) <> 0;
end
$jobwright$;
`;
