export const beat: string = String.raw`
create function «schema».beat(p_now double precision, p_alive double precision, p_id text, p_name text, p_host text, p_pid integer,
      p_lost_after_ms double precision, p_queues text, p_first boolean, p_leaving boolean, p_waits boolean,
      p_start_ids bigint[], p_start_generations integer[], p_start_tokens text[], p_start_of integer[], p_start_positions integer[],
      p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[], p_positions integer[], p_done text[]) returns text
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
  v_known boolean;
  v_asks text;
  v_standing text;
  v_unknown text[];
begin
  perform set_config('synchronous_commit', 'off', true);
  if p_start_ids is not null then
    perform «schema».record_starts(coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision), p_start_ids, p_start_generations, p_start_tokens, p_start_of, p_start_positions);
  end if;
  -- Who was lost may not come back to life: others may have decided about its jobs by now.
  update «schema».process set beat_at = v_alive, name = p_name, host = p_host, pid = p_pid,
    lost_after_ms = p_lost_after_ms, queues = p_queues, leaving = p_leaving
  where id = p_id and not leaving and v_alive - beat_at <= lost_after_ms;
  v_known := found;
  if not v_known and p_first then
    insert into «schema».process (id, name, host, pid, lost_after_ms, queues, registered_at, beat_at, leaving)
    values (p_id, p_name, p_host, p_pid, p_lost_after_ms, p_queues, coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision), v_alive, p_leaving)
    on conflict do nothing;
    v_known := found;
  end if;
  if p_done is not null then
    delete from «schema».start where origin = any (p_done);
    delete from «schema».lease where token = any (p_done);
  end if;
  if p_ids is not null then
    select string_agg(ord::text, ',') into v_standing
    from «schema».standing(p_ids, p_generations, p_tokens, p_of, p_positions) as st (ord);
  end if;
  if v_known then
    select json_agg(json_build_array(a.job, a.generation, a.reason))::text into v_asks
    from «schema».ask as a where a.process_id = p_id;
    if p_leaving then
      delete from «schema».waiter where process_id = p_id;
      
      delete from «schema».start as y
        where y.origin in (select x.origin from «schema».lease as x where x.process_id = p_id) and not exists (
    select from unnest(y.ids, y.generations) as u (id, generation)
    join «schema».job as j on j.id = u.id and j.generation = u.generation);
      -- Each by what it holds: a claim of this process may be on its way, and its lease come only now.
      delete from «schema».lease as x where x.process_id = p_id and not exists (
    select from unnest(x.ids) with ordinality as u (id, ord)
    join «schema».job as j on j.id = u.id and j.generation = coalesce(x.generations[u.ord], 0)
      and (j.token is null or j.token = x.token));
      if not exists (select from «schema».lease as x where x.process_id = p_id) then
        delete from «schema».process where id = p_id;
      end if;
    elsif p_waits and not exists (select from «schema».waiter where process_id = p_id) then
      -- Lost with a crash of the server.
      insert into «schema».waiter (process_id, queues)
      values (p_id, array (select served ->> 'queue' from json_array_elements(p_queues::json) as u (served)))
      on conflict do nothing;
    end if;
    -- Not where a clock is set forward by hand while claims are on their way.
    if not p_leaving and (p_now is null or p_alive is not null) then
      v_unknown := array (
        select x.token from «schema».lease as x
        where x.process_id = p_id and x.claimed_at < coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision) - greatest(p_lost_after_ms, 60000)
        except select u.token from unnest(p_tokens) as u (token));
      if cardinality(v_unknown) > 0 then
        update «schema».lease as x set process_id = p_id || '?' where x.token = any (v_unknown) and exists (
    select from unnest(x.ids) with ordinality as u (id, ord)
    join «schema».job as j on j.id = u.id and j.generation = coalesce(x.generations[u.ord], 0)
      and (j.token is null or j.token = x.token));
      end if;
    end if;
  end if;
  return concat_ws(E'\x1f', case when v_known then 1 else 0 end, coalesce(v_asks, ''), coalesce(v_standing, ''));
end
$jobwright$;

`;
