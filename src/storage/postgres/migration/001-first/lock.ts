export const lock: string = String.raw`
create function «schema».lock_jobs(p_now double precision, p_ids bigint[])
    returns table (at double precision, place integer, tid text, place_seq bigint, holder text, c0 bigint, c1 integer, c2 text, c3 text, c4 text, c5 double precision, c6 double precision, c7 double precision, c8 integer, c9 integer, c10 integer, c11 integer, c12 integer, c13 integer, c14 integer, c15 smallint, c16 boolean, c17 text, c18 text, c19 text, c20 text, c21 text, c22 text, c23 text, c24 text, c25 smallint, c26 double precision, c27 double precision, c28 text)
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
  v_locked bigint[];
  v_ended bigint[];
begin
  v_locked := array (select id from «schema».job where id = any (p_ids) order by id for update);
  perform from «schema».job as j join «schema».scheduled as w on w.run_at = j.run_at and w.id = j.id
    where j.id = any (v_locked) for update of w;
  perform from «schema».job as j join «schema».ready as r on r.lane = j.lane and r.priority = j.priority and r.seq = j.id
    where j.id = any (v_locked) and not r.marked for update of r;
  perform from «schema».job as j join «schema».ready as r on r.lane = j.lane and r.priority = j.priority and r.seq = j.id
    where j.id = any (v_locked) and r.marked for update of r;
  perform from «schema».ready where id = any (v_locked) and id <> seq for update;
  v_ended := array (select id from «schema».finished where id = any (p_ids) and id <> all (v_locked) order by id for update);
  -- It was finished when we looked among the others, and someone brought it back before we looked there.
  if exists (select from «schema».job where id = any (p_ids) and id <> all (v_locked)) then
    raise 'a job was retried while it was looked for' using errcode = 'serialization_failure';
  end if;

  return query
    select coalesce(p_now, floor(extract(epoch from clock_timestamp()) * 1000)::double precision),
      case when w.id is not null then 1 when r.seq is not null then 2 when x.process_id is not null then 4 else 0 end,
      coalesce(w.ctid, r.ctid)::text, r.seq, x.process_id, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, j.checkpoint_bytes, j.priority, j.marked, j.token, j.settled_by, j.tags, j.given_id, j.cancel_asked, j.error, case when j.result is not null then ''::text end, ''::text, null::smallint, null::double precision, null::double precision, null::text
    from «schema».job as j
    join «schema».lane as l on l.id = j.lane
    left join «schema».policy as p on p.id = j.policy
    left join «schema».scheduled as w on w.run_at = j.run_at and w.id = j.id
    left join lateral (
      select r.ctid, r.seq from «schema».ready as r
      where r.lane = j.lane and r.priority = j.priority and r.seq = j.id and not r.marked
      union all
      select r.ctid, r.seq from «schema».ready as r
      where r.lane = j.lane and r.priority = j.priority and r.seq = j.id and r.marked
      union all
      select r.ctid, r.seq from «schema».ready as r where r.id = j.id and r.id <> r.seq
    ) as r on w.id is null
    left join lateral (
      select x.process_id from «schema».lease as x
      where int8range(x.lo, x.hi, '[]') @> j.id and j.id = any (x.ids)
        and coalesce(x.generations[array_position(x.ids, j.id)], 0) = j.generation
        and (j.token is null or j.token = x.token)
      limit 1
    ) as x on w.id is null and r.seq is null
    where j.id = any (v_locked);
  if cardinality(v_ended) > 0 then
    return query
      select coalesce(p_now, floor(extract(epoch from clock_timestamp()) * 1000)::double precision), j.state::integer, null::text, null::bigint, null::text, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, 0, j.priority, j.marked, null::text, j.settled_by, j.tags, j.given_id, null::text, j.error, case when j.result is not null then ''::text end, ''::text, j.state, j.ended_at, j.expires_at, j.reason
      from «schema».finished as j
      join «schema».lane as l on l.id = j.lane
      left join «schema».policy as p on p.id = j.policy
      where j.id = any (v_ended);
  end if;
end
$jobwright$;

create function «schema».lock_runs(p_now double precision, p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[])
    returns table (ordinal bigint, at double precision, place_seq bigint, holder text, ran_by text, c0 bigint, c1 integer, c2 text, c3 text, c4 text, c5 double precision, c6 double precision, c7 double precision, c8 integer, c9 integer, c10 integer, c11 integer, c12 integer, c13 integer, c14 integer, c15 smallint, c16 boolean, c17 text, c18 text, c19 text, c20 text, c21 text, c22 text, c23 text, c24 text, c25 smallint, c26 double precision, c27 double precision, c28 text)
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
  perform from «schema».job where id = any (p_ids) order by id for update;
  return query
    select u.ord, coalesce(p_now, floor(extract(epoch from clock_timestamp()) * 1000)::double precision), x.seq, x.process_id, x.claimed_by, j.id, j.lane, l.queue, l.name, coalesce(j.policy_text, p.text), j.created_at, j.run_at, j.started_at, j.generation, j.attempt, j.failures, j.snoozes, j.releases, j.settled_generation, j.checkpoint_bytes, j.priority, j.marked, j.token, j.settled_by, j.tags, j.given_id, j.cancel_asked, j.error, case when j.result is not null then ''::text end, ''::text, null::smallint, null::double precision, null::double precision, null::text
    from unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, token_index, ord)
    join «schema».job as j on j.id = u.id and j.generation = u.generation
      and (j.token is null or j.token = p_tokens[u.token_index])
    cross join lateral (
      select x.process_id, x.claimed_by, coalesce(x.seqs[array_position(x.ids, j.id)], j.id) as seq
      from «schema».lease as x
      where x.token = p_tokens[u.token_index] and j.id between x.lo and x.hi and j.id = any (x.ids)
        and coalesce(x.generations[array_position(x.ids, j.id)], 0) = j.generation
      limit 1
    ) as x
    join «schema».lane as l on l.id = j.lane
    left join «schema».policy as p on p.id = j.policy;
end
$jobwright$;

create function «schema».settled_before(p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[]) returns setof bigint
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
  return query
    -- Joins: some versions answer ${"`"}exists … or exists …${"`"} by reading both tables from end to end.
    select u.ord
    from unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, token_index, ord)
    join «schema».job as j on j.id = u.id
    where j.settled_by = p_tokens[u.token_index] and j.settled_generation = u.generation
    union all
    select u.ord
    from unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, token_index, ord)
    join «schema».finished as f on f.id = u.id
    where f.settled_by = p_tokens[u.token_index] and f.settled_generation = u.generation;
end
$jobwright$;
`;
