export const enqueue: string = String.raw`
create function «schema».channel() returns text language sql immutable
as $jobwright$ select 'jobwright_' || left(encode(sha256(convert_to(«text «schema»», 'UTF8')), 'hex'), 32) $jobwright$;

create function «schema».lane_of(p_queue text, p_name text) returns integer
language plpgsql
as $jobwright$
declare
  v_lane integer;
begin
  select id into v_lane from «schema».lane where queue = p_queue and name = p_name;
  if v_lane is null then
    insert into «schema».lane (queue, name) values (p_queue, p_name) on conflict do nothing returning id into v_lane;
  end if;
  -- Another transaction was quicker.
  if v_lane is null then
    select id into v_lane from «schema».lane where queue = p_queue and name = p_name;
  end if;
  return v_lane;
end
$jobwright$;

create function «schema».knows_policy(p_id bigint, p_text text) returns boolean
language plpgsql
as $jobwright$
begin
  if exists (select from «schema».policy where id = p_id) then
    return true;
  end if;
  -- Options that differ from job to job must not fill a table that is never emptied.
  if (select count(*) from «schema».policy) >= 1000 then
    return false;
  end if;
  insert into «schema».policy (id, text) values (p_id, p_text) on conflict do nothing;
  return true;
end
$jobwright$;

create function «schema».tell_available(p_queues text[], p_names text[]) returns void
language plpgsql
as $jobwright$
begin
  if exists (select from «schema».waiter where queues && p_queues) then
    perform «schema».tell_lanes(p_queues, p_names);
  end if;
end
$jobwright$;

create function «schema».tell_lanes(p_queues text[], p_names text[]) returns void
language plpgsql
as $jobwright$
declare
  v_payload text;
begin
  select json_agg(distinct_lane.pair)::text into v_payload
    from (select distinct jsonb_build_array(queue, name) as pair from unnest(p_queues, p_names) as u (queue, name)) as distinct_lane;
  if octet_length(v_payload) > 7000 then
    v_payload := '*';
  end if;
  perform pg_notify(«schema».channel(), 'a' || v_payload);
end
$jobwright$;

create function «schema».tell_finished(p_ids bigint[]) returns void
language plpgsql
as $jobwright$
declare
  v_ids text;
begin
  if not exists (select from «schema».awaited) then
    return;
  end if;
  select string_agg(id::text, ',') into v_ids
    from unnest(p_ids) as u (id) where exists (select from «schema».awaited where job = id);
  if v_ids is null then
    return;
  end if;
  if octet_length(v_ids) > 7000 then
    v_ids := '*';
  end if;
  perform pg_notify(«schema».channel(), 'f' || v_ids);
end
$jobwright$;

create function «schema».take_given(p_batch text, p_names text[], p_given text[], p_hashes text[]) returns text
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
  v_answer text;
  v_found bigint;
begin
  select answer into v_answer from «schema».batch where id = p_batch;
  if found then
    return v_answer;
  end if;
  -- Again when one that was in the way has gone before it could be looked at. What was taken is let go of first:
  -- to hold it and take the missing ones would be out of order.
  for v_try in 1 .. 100 loop
    begin
      insert into «schema».given (job, name, given_id, hash)
      select distinct on (name, given_id) 0, name, given_id, hash
      from unnest(p_names, p_given, p_hashes) as u (name, given_id, hash)
      order by name, given_id
      on conflict do nothing;
      select string_agg(u.ord || ' ' || g.job || ' ' || g.hash, ',' order by u.ord), count(*) into v_answer, v_found
      from unnest(p_names, p_given) with ordinality as u (name, given_id, ord)
      join «schema».given as g on g.name = u.name and g.given_id = u.given_id;
      if v_found = cardinality(p_names) then
        return v_answer;
      end if;
      raise 'once more' using errcode = 'JW001';
    exception when sqlstate 'JW001' then
      -- All of it is taken back.
    end;
  end loop;
  raise 'given ids come and go too fast' using errcode = 'serialization_failure';
end
$jobwright$;

create function «schema».keep_given(p_batch text, p_now double precision, p_answer text, p_jobs bigint[], p_names text[], p_given text[], p_hashes text[]) returns text
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
  update «schema».given as g set job = u.job, hash = u.hash
  from unnest(p_jobs, p_names, p_given, p_hashes) as u (job, name, given_id, hash)
  where u.job > 0 and g.name = u.name and g.given_id = u.given_id;
  delete from «schema».given as g using unnest(p_jobs, p_names, p_given) as u (job, name, given_id)
  where u.job = 0 and g.name = u.name and g.given_id = u.given_id;
  if p_batch is not null then
    insert into «schema».batch (id, at, answer) values (p_batch, coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision), p_answer) on conflict do nothing;
    if not found then
      raise 'batch % was stored meanwhile', p_batch using errcode = 'serialization_failure';
    end if;
  end if;
  return '';
end
$jobwright$;

create function «schema».enqueue_batch(p_batch text, p_now double precision, p_headers json, p_payloads json, p_given json, p_joins boolean) returns text
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
  v_header json;
  v_payloads json;
  v_given json;
  v_answer text;
  v_some text;
  v_queue text;
  v_name text;
  v_tags text;
  v_lane integer;
  v_priority smallint;
  v_policy bigint;
  v_policy_text text;
  v_keep_ms double precision;
  v_run_at double precision;
  v_queues text[] := '{}';
  v_names text[] := '{}';
begin
  if p_batch is not null then
    select answer into v_answer from «schema».batch where id = p_batch;
    if found then
      return v_answer;
    end if;
  end if;
  for v_header, v_payloads, v_given in
    select * from rows from (json_array_elements(p_headers), json_array_elements(p_payloads), json_array_elements(p_given))
  loop
    v_queue := v_header ->> 'q';
    v_name := v_header ->> 'n';
    v_tags := v_header ->> 't';
    v_priority := v_header ->> 'p';
    v_policy := v_header ->> 'o';
    v_keep_ms := v_header ->> 'k';
    if json_typeof(v_given) = 'null' then
      v_given := null;
    end if;
    select id into v_lane from «schema».lane where queue = v_queue and name = v_name;
    if not found then
      v_lane := «schema».lane_of(v_queue, v_name);
    end if;
    v_policy_text := null;
    if not exists (select from «schema».policy where id = v_policy)
      and (p_joins or not «schema».knows_policy(v_policy, v_header ->> 'O')) then
      v_policy := null;
      v_policy_text := v_header ->> 'O';
    end if;
    v_run_at := least(
      coalesce((v_header ->> 'a')::double precision, v_now + coalesce((v_header ->> 'd')::double precision, 0)),
      253402300799999);
    if v_run_at > v_now then
      with stored as (
        insert into «schema».job (id, lane, priority, created_at, run_at, policy, policy_text, keep_ms, tags, given_id, payload)
        select nextval(«relation seq»::regclass), v_lane, v_priority, v_now, v_run_at, v_policy, v_policy_text, v_keep_ms, v_tags, u.given_id, u.payload
        from rows from (json_array_elements_text(v_payloads), json_array_elements_text(v_given)) as u (payload, given_id)
        returning id
      ), placed as (
        insert into «schema».scheduled (run_at, id, lane, generation, priority)
        select v_run_at, id, v_lane, 0, v_priority from stored
      ), counted as (
        insert into «schema».tally (lane, src, dst, n) select v_lane, 0, 1, count(*) from stored
      )
      select case when max(id) - min(id) = count(*) - 1 then min(id) || '-' || max(id)
        else string_agg(id || '-' || id, ',') end into v_some from stored;
    else
      with stored as (
        insert into «schema».job (id, lane, priority, created_at, run_at, policy, policy_text, keep_ms, tags, given_id, payload)
        select nextval(«relation seq»::regclass), v_lane, v_priority, v_now, v_run_at, v_policy, v_policy_text, v_keep_ms, v_tags, u.given_id, u.payload
        from rows from (json_array_elements_text(v_payloads), json_array_elements_text(v_given)) as u (payload, given_id)
        returning id
      ), placed as (
        insert into «schema».ready (seq, id, lane, generation, priority)
        select id, id, v_lane, 0, v_priority from stored
      ), counted as (
        insert into «schema».tally (lane, src, dst, n) select v_lane, 0, 2, count(*) from stored
      )
      select case when max(id) - min(id) = count(*) - 1 then min(id) || '-' || max(id)
        else string_agg(id || '-' || id, ',') end into v_some from stored;
    end if;
    v_answer := concat_ws(',', v_answer, v_some);
    v_queues := v_queues || v_queue;
    v_names := v_names || v_name;
  end loop;
  if p_batch is not null then
    insert into «schema».batch (id, at, answer) values (p_batch, v_now, v_answer) on conflict do nothing;
    if not found then
      raise 'batch % was stored meanwhile', p_batch using errcode = 'serialization_failure';
    end if;
  end if;
  if p_joins then
    perform «schema».tell_lanes(v_queues, v_names);
  elsif exists (select from «schema».waiter where queues && v_queues) then
    perform «schema».tell_available(v_queues, v_names);
  end if;
  return coalesce(v_answer, '');
end
$jobwright$;

create function «schema».enqueue_one(p_batch text, p_now double precision, p_queue text, p_name text, p_priority smallint, p_policy bigint, p_policy_text text, p_keep_ms double precision, p_tags text, p_delay double precision, p_at double precision, p_payload text) returns text
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
  v_run_at double precision;
  v_id bigint;
  v_lane integer;
  v_is_known boolean;
  v_is_awaited boolean;
  v_answer text;
begin
  select (select id from «schema».lane where queue = p_queue and name = p_name),
    exists (select from «schema».policy where id = p_policy),
    exists (select from «schema».waiter where queues && array[p_queue]),
    (select answer from «schema».batch where id = p_batch)
  into v_lane, v_is_known, v_is_awaited, v_answer;
  if v_answer is not null then
    return v_answer;
  end if;
  if v_lane is null then
    v_lane := «schema».lane_of(p_queue, p_name);
  end if;
  v_is_known := v_is_known or «schema».knows_policy(p_policy, p_policy_text);
  v_run_at := least(coalesce(p_at, v_now + coalesce(p_delay, 0)), 253402300799999);
  v_id := nextval(«relation seq»::regclass);
  insert into «schema».job (id, lane, priority, created_at, run_at, policy, policy_text, keep_ms, tags, payload)
  values (v_id, v_lane, p_priority, v_now, v_run_at, case when v_is_known then p_policy end,
    case when not v_is_known then p_policy_text end, p_keep_ms, p_tags, p_payload);
  if v_run_at > v_now then
    insert into «schema».scheduled (run_at, id, lane, generation, priority) values (v_run_at, v_id, v_lane, 0, p_priority);
    insert into «schema».tally (lane, src, dst, n) values (v_lane, 0, 1, 1);
  else
    insert into «schema».ready (seq, id, lane, generation, priority) values (v_id, v_id, v_lane, 0, p_priority);
    insert into «schema».tally (lane, src, dst, n) values (v_lane, 0, 2, 1);
  end if;
  if p_batch is not null then
    insert into «schema».batch (id, at, answer) values (p_batch, v_now, v_id || '-' || v_id) on conflict do nothing;
    if not found then
      raise 'batch % was stored meanwhile', p_batch using errcode = 'serialization_failure';
    end if;
  end if;
  if v_is_awaited then
    perform «schema».tell_available(array[p_queue], array[p_name]);
  end if;
  return v_id || '-' || v_id;
end
$jobwright$;

`;
