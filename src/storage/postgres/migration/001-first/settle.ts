export const settle: string = String.raw`
create function «schema».standing(p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[], p_positions integer[]) returns setof bigint
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
    with held as materialized (
      select t.ord as token_index, t.token, l.part, l.ids, l.generations
      from unnest(p_tokens) with ordinality as t (token, ord)
      join «schema».lease as l on l.token = t.token
    )
    select u.ord
    from unnest(p_ids, p_generations, p_of, p_positions) with ordinality as u (id, generation, token_index, position, ord)
    join held as h on h.token_index = u.token_index and case when u.position > 0
    then h.ids[(u.position - 1) % 500 + 1] = u.id
      and coalesce(h.generations[(u.position - 1) % 500 + 1], 0) = u.generation
    else u.id = any (h.ids) and coalesce(h.generations[array_position(h.ids, u.id)], 0) = u.generation end
  and (u.position = 0 or h.part = (u.position - 1) / 500)
    join «schema».job as j on j.id = u.id and j.generation = u.generation and (j.token is null or j.token = h.token);
end
$jobwright$;

create function «schema».complete(p_now double precision, p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[], p_positions integer[], p_started double precision[], p_results json, p_reasons json, p_done text[]) returns text
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
  v_end_no bigint := nextval(«relation end_seq»::regclass) * 1024;
  v_held bigint[];
  v_results text[];
  v_reasons text[];
  v_n integer;
  v_settled bigint[];
  v_has_checkpoint boolean;
  v_has_failed boolean;
  v_has_ask boolean;
  v_free_lanes integer[];
  v_free_given text[];
begin
  v_held := array (
    with held as materialized (
      select t.ord as token_index, t.token, l.part, l.ids, l.generations
      from unnest(p_tokens) with ordinality as t (token, ord)
      join «schema».lease as l on l.token = t.token
    )
    select u.id
    from unnest(p_ids, p_generations, p_of, p_positions) as u (id, generation, token_index, position)
    join held as h on h.token_index = u.token_index and case when u.position > 0
    then h.ids[(u.position - 1) % 500 + 1] = u.id
      and coalesce(h.generations[(u.position - 1) % 500 + 1], 0) = u.generation
    else u.id = any (h.ids) and coalesce(h.generations[array_position(h.ids, u.id)], 0) = u.generation end
  and (u.position = 0 or h.part = (u.position - 1) / 500));
  if p_results is not null then
    v_results := array (select value from json_array_elements_text(p_results));
  end if;
  if p_reasons is not null then
    v_reasons := array (select value from json_array_elements_text(p_reasons));
  end if;
  -- The ids are sorted: width_bucket finds a job's place among the parameters.
  with judged as (
    delete from «schema».job as j
    where j.id = any (v_held) and j.generation = p_generations[width_bucket(j.id, p_ids)]
      and (j.token is null or j.token = p_tokens[p_of[width_bucket(j.id, p_ids)]])
    returning j.id, j.created_at, j.run_at, j.policy, j.keep_ms, j.lane, j.generation, j.attempt, j.failures, j.snoozes,
      j.releases, j.checkpoint_bytes, j.priority, j.marked, j.policy_text, j.tags, j.given_id, j.cancel_asked, j.payload,
      j.result, width_bucket(j.id, p_ids) as ord,
      case when j.keep_ms > 0 or j.keep_ms is null then j.keep_ms
        when exists (select from «schema».awaited where job = j.id) then 60000 else 0 end as kept_ms
  ), kept as (
    insert into «schema».finished (id, end_no, ended_at, created_at, run_at, started_at, expires_at, policy, keep_ms, bucket, lane,
      generation, attempt, failures, snoozes, releases, settled_generation, priority, state, marked, settled_by, policy_text,
      tags, given_id, reason, result, attempts, payload)
    select id, v_end_no + ord, v_now, created_at, run_at, p_started[ord], v_now + kept_ms, policy, keep_ms,
      case when ((v_now + kept_ms)) is null then date 'infinity' when (kept_ms) >= 86400000 and (date '1970-01-01' + floor(((v_now + kept_ms)) / 86400000)::integer) = any (array (select day from «schema».day)) then (date '1970-01-01' + floor(((v_now + kept_ms)) / 86400000)::integer) else date '-infinity' end, lane,
      generation, attempt + 1, failures, snoozes, releases, generation, priority, 7, marked, p_tokens[p_of[ord]], policy_text,
      tags, given_id, v_reasons[ord], coalesce(v_results[ord], result),
      case when failures > 0 then (select json_agg(a.entry::json order by a.number)::text from «schema».attempt as a where a.job = judged.id) end,
      payload
    from judged where kept_ms is null or kept_ms > 0
  ), counted as (
    insert into «schema».tally (lane, src, dst, n)
    select lane, 4, case when kept_ms = 0 then 0 else 7 end, count(*) from judged group by 1, 3
  )
  select count(*), array_agg(id),
    bool_or(checkpoint_bytes > 0), bool_or(failures > 0), bool_or(cancel_asked is not null),
    array_agg(lane) filter (where kept_ms = 0 and given_id is not null),
    array_agg(given_id) filter (where kept_ms = 0 and given_id is not null)
  into v_n, v_settled, v_has_checkpoint, v_has_failed, v_has_ask, v_free_lanes, v_free_given from judged;

  if v_has_checkpoint then
    delete from «schema».checkpoint where job = any (v_settled);
  end if;
  if v_has_failed then
    delete from «schema».attempt where job = any (v_settled);
  end if;
  if v_free_lanes is not null then
    delete from «schema».given as g using unnest(v_free_lanes, v_free_given) as u (lane, given_id), «schema».lane as l
    where l.id = u.lane and g.name = l.name and g.given_id = u.given_id;
  end if;
  if v_has_ask then
    delete from «schema».ask where job = any (v_settled);
  end if;
  if p_done is not null then
    delete from «schema».start where origin = any (p_done);
    delete from «schema».lease where token = any (p_done);
  end if;
  if v_n > 0 and exists (select from «schema».awaited) then
    perform «schema».tell_finished(v_settled);
  end if;
  if v_n = cardinality(p_ids) then
    return '';
  end if;
  -- What was not settled now may have been settled by the same lease before, its answer lost.
  return (
    select string_agg(case
        when u.id = any (v_settled) then '1'
        when exists (
            select from «schema».finished as f
            where f.id = u.id and f.settled_by = p_tokens[u.token_index] and f.settled_generation = u.generation)
          or exists (
            select from «schema».job as j
            where j.id = u.id and j.settled_by = p_tokens[u.token_index] and j.settled_generation = u.generation)
        then '1' else '0' end, '' order by u.ord)
    from unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, token_index, ord));
end
$jobwright$;

create function «schema».exchange(p_now double precision, p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[], p_positions integer[], p_started double precision[], p_results json, p_reasons json, p_done text[], p_alive double precision, p_process text, p_token text, p_queues text[], p_names text[], p_requests integer[], p_rooms integer[], p_mosts integer[], p_part_of integer[], p_part_priorities smallint[], p_part_seqs bigint[], p_part_lasts smallint[], p_next_from double precision, p_waits boolean, p_start_ids bigint[], p_start_generations integer[], p_start_tokens text[], p_start_of integer[], p_start_positions integer[]) returns setof text
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
  return next «schema».complete(p_now, p_ids, p_generations, p_tokens, p_of, p_positions, p_started, p_results, p_reasons, p_done);
  return query select «schema».claim_jobs(p_now, p_alive, p_process, p_token, p_queues, p_names, p_requests, p_rooms, p_mosts, p_part_of, p_part_priorities, p_part_seqs, p_part_lasts, p_next_from, p_waits, p_start_ids, p_start_generations, p_start_tokens, p_start_of, p_start_positions);
end
$jobwright$;

`;
