export const steer: string = String.raw`
create function «schema».note(p_id bigint, p_generation integer, p_token text, p_position integer, p_entries json, p_result text) returns text
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
  v_bytes integer;
begin
  perform from «schema».job where id = p_id for update;
  if not exists (
    select from «schema».standing(array[p_id], array[p_generation], array[p_token], array[1], array[p_position])
  ) then
    return 'stale';
  end if;
  if p_entries is not null then
    select j.checkpoint_bytes
      - coalesce((select sum(c.bytes) from json_to_recordset(p_entries) as e (k text, v text, b integer) join «schema».checkpoint as c on c.job = p_id and c.key = e.k), 0)
      + coalesce((select sum(e.b) from json_to_recordset(p_entries) as e (k text, v text, b integer) where e.v is not null), 0)
    into v_bytes from «schema».job as j where j.id = p_id;
    if v_bytes > 1048576 then
      return v_bytes::text;
    end if;
    delete from «schema».checkpoint as c using json_to_recordset(p_entries) as e (k text, v text, b integer) where c.job = p_id and c.key = e.k;
    insert into «schema».checkpoint (job, key, value, bytes) select p_id, e.k, e.v, e.b from json_to_recordset(p_entries) as e (k text, v text, b integer) where e.v is not null;
  end if;
  update «schema».job set checkpoint_bytes = coalesce(v_bytes, checkpoint_bytes), result = coalesce(p_result, result)
    where id = p_id;
  return 'saved';
end
$jobwright$;

create function «schema».configure(p_queue text, p_name text, p_paused boolean) returns void
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
  v_queues text[];
  v_names text[];
begin
  if p_name is null then
    insert into «schema».queue (name, paused) values (p_queue, p_paused)
      on conflict (name) do update set paused = excluded.paused;
  else
    perform «schema».lane_of(p_queue, p_name);
    update «schema».lane set paused = p_paused where queue = p_queue and name = p_name;
  end if;
  if p_paused then
    return;
  end if;
  select array_agg(l.queue), array_agg(l.name) into v_queues, v_names
    from «schema».lane as l
    where l.queue = p_queue and (p_name is null or l.name = p_name)
      and (exists (select from «schema».ready as r where r.lane = l.id and not r.marked)
        or exists (select from «schema».ready as r where r.lane = l.id and r.marked));
  if v_queues is not null then
    perform «schema».tell_available(v_queues, v_names);
  end if;
end
$jobwright$;

`;
