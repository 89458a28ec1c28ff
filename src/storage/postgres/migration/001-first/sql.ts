export const sql: string = String.raw`
create function «schema».enqueue(p_name text, p_payload json default 'null', p_options json default '{}') returns bigint
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
  v_key text;
  v_definition «schema».definition;
  v_queue text;
  v_priority smallint;
  v_policy jsonb;
  v_policy_text text;
  v_policy_id bigint;
  v_tags text;
  v_given text := p_options ->> 'id';
  v_hash text;
  v_existing bigint;
  v_existing_hash text;
  v_at double precision := extract(epoch from (p_options ->> 'at')::timestamptz) * 1000;
  v_payload text := p_payload::text;
  v_id bigint;
begin
  if p_name is null or length(p_name) not between 1 and 200 or p_name ~ '[[:cntrl:]]' then
    raise 'jobwright: the name of a job is 1 to 200 characters, none of them a control character, not %', coalesce(quote_literal(p_name), 'null') using errcode = 'invalid_parameter_value';
  end if;
  if v_payload is null then
    raise 'jobwright: the payload of % is null; for none, pass %', quote_literal(p_name), quote_literal('null') || '::json' using errcode = 'invalid_parameter_value';
  end if;
  if octet_length(v_payload) > 1048576 then
    raise 'jobwright: the payload of % has % bytes; the limit is 1048576', quote_literal(p_name), octet_length(v_payload) using errcode = 'invalid_parameter_value';
  end if;
  for v_key in select json_object_keys(coalesce(p_options, '{}')) loop
    if v_key not in ('queue', 'priority', 'in_ms', 'at', 'id', 'tags', 'max_retries') then
    raise 'jobwright: unknown option %; known are queue, priority, in_ms, at, id, tags, max_retries', quote_literal(v_key) using errcode = 'invalid_parameter_value';
  end if;
  end loop;
  select * into v_definition from «schema».definition where name = p_name;
  v_queue := coalesce(p_options ->> 'queue', v_definition.queue, 'default');
  v_priority := coalesce((p_options ->> 'priority')::smallint, v_definition.priority, 0);
  if length(v_queue) not between 1 and 200 or v_queue ~ '[[:cntrl:]]' then
    raise 'jobwright: the queue is 1 to 200 characters, none of them a control character, not %', quote_literal(v_queue) using errcode = 'invalid_parameter_value';
  end if;
  if v_priority not between -1000 and 1000 then
    raise 'jobwright: the priority is % but must be -1000 to 1000', v_priority using errcode = 'invalid_parameter_value';
  end if;
  if length(v_given) not between 1 and 200 or v_given ~ '[[:cntrl:]]' then
    raise 'jobwright: the id is 1 to 200 characters, none of them a control character, not %', quote_literal(v_given) using errcode = 'invalid_parameter_value';
  end if;
  v_tags := coalesce(nullif((p_options -> 'tags')::text, 'null'), v_definition.tags);
  if v_tags = '[]' then
    v_tags := null;
  end if;
  v_policy_text := coalesce(v_definition.policy, '{"maxRetries":5,"backoff":{"kind":"exponential","firstMs":2000,"factor":2,"maxMs":3600000,"jitter":0.2},"timeoutMs":900000,"retention":{"completedMs":86400000,"cancelledMs":604800000,"deadMs":604800000}}');
  if p_options::jsonb ? 'max_retries' then
    v_policy := jsonb_set(v_policy_text::jsonb, '{maxRetries}', (p_options::jsonb) -> 'max_retries');
    if jsonb_typeof(v_policy -> 'maxRetries') <> 'null' and (v_policy ->> 'maxRetries')::numeric not between 0 and 9007199254740991 then
    raise 'jobwright: max_retries is % but must be a number from 0, or null for without end', v_policy ->> 'maxRetries' using errcode = 'invalid_parameter_value';
  end if;
    v_policy_text := v_policy::text;
  end if;
  -- The first 8 bytes of the hash, as jobwright makes it of the same text.
  v_policy_id := ('x' || encode(substring(sha256(convert_to(v_policy_text, 'UTF8')) from 1 for 8), 'hex'))::bit(64)::bigint;

  if v_given is not null then
    v_hash := rtrim(translate(encode(sha256(convert_to(v_payload, 'UTF8')), 'base64'), '+/', '-_'), '=');
    insert into «schema».given (job, name, given_id, hash) values (0, p_name, v_given, v_hash) on conflict do nothing;
    if not found then
      select job, hash into v_existing, v_existing_hash from «schema».given where name = p_name and given_id = v_given;
      if v_existing_hash <> v_hash then
    raise 'jobwright: % with id % exists as job % with another payload', quote_literal(p_name), quote_literal(v_given), v_existing using errcode = 'unique_violation';
  end if;
      return v_existing;
    end if;
  end if;
  v_id := split_part(«schema».enqueue_batch(
    null, null,
    json_build_array(json_build_object('q', v_queue, 'n', p_name, 'p', v_priority, 'o', v_policy_id::text, 'O', v_policy_text,
      'k', (v_policy_text::json) -> 'retention' -> 'completedMs', 't', v_tags, 'd', (p_options ->> 'in_ms')::double precision, 'a', v_at)),
    json_build_array(json_build_array(v_payload)),
    json_build_array(case when v_given is not null then json_build_array(v_given) end),
    true), '-', 1)::bigint;
  if v_given is not null then
    update «schema».given set job = v_id where name = p_name and given_id = v_given;
  end if;
  return v_id;
end
$jobwright$;

comment on function «schema».enqueue(text, json, json) is
  'Stores a job in this transaction; answers its id. Options: queue, priority, in_ms, at, id, tags, max_retries.';

`;
