export const heads: string = String.raw`
create type «schema».head_change as (
  id bigint,
  lane integer,
  src smallint,
  dst smallint,
  tid text,
  seq bigint,
  run_at double precision,
  started_at double precision,
  ended_at double precision,
  expires_at double precision,
  generation integer,
  attempt integer,
  failures integer,
  snoozes integer,
  releases integer,
  settled_generation integer,
  priority smallint,
  marked boolean,
  settled_by text,
  cancel_asked text,
  sets_error boolean,
  error text,
  sets_result boolean,
  result text,
  reason text,
  keeps_checkpoint boolean,
  entry_number integer,
  entry text,
  forgets integer,
  asks text
);

create function «schema».write_heads(p_changes json, p_tokens text[]) returns void
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
  v_all «schema».head_change[] := array (select c from json_populate_recordset(null::«schema».head_change, p_changes) as c);
  v_ended bigint[] := array (select c.id from unnest(v_all) as c where c.src < 5 and c.dst in (0, 5, 6, 7));
  v_returned bigint[] := array (select c.id from unnest(v_all) as c where c.src >= 5);
  v_kept bigint[] := '{}';
  v_bucket date;
  v_delete text;
  v_deletes text[] := '{}';
  v_queues text[];
  v_names text[];
begin
  delete from «schema».scheduled where ctid = any (array (select c.tid::tid from unnest(v_all) as c where c.src = 1));
  delete from «schema».ready where ctid = any (array (select c.tid::tid from unnest(v_all) as c where c.src = 2));

  insert into «schema».attempt (job, number, entry)
    select c.id, c.entry_number, c.entry from unnest(v_all) as c where c.entry is not null;
  delete from «schema».attempt as a using unnest(v_all) as c
    where c.forgets is not null and a.job = c.id and a.number = c.forgets;

  if cardinality(v_ended) > 0 then
    with gone as (
      delete from «schema».job as j using unnest(v_all) with ordinality as c
      where c.id = any (v_ended) and j.id = c.id
      returning j.id, j.created_at, j.policy, j.keep_ms, j.lane, j.policy_text, j.tags, j.given_id, j.payload,
        case when c.sets_error then c.error else j.error end as error,
        case when c.sets_result then c.result else j.result end as result,
        c.keeps_checkpoint and j.checkpoint_bytes > 0 as keeps_checkpoint,
        c.ordinality as ord, c.dst, c.run_at, c.started_at, c.ended_at, c.expires_at, c.generation, c.attempt,
        c.failures, c.snoozes, c.releases, c.settled_generation, c.priority, c.marked, c.settled_by, c.reason
    ), judged as materialized (
      select gone.*,
        case when dst = 0 then 0
          when expires_at is null then null
          when expires_at > ended_at then expires_at - ended_at
          when exists (select from «schema».awaited as a where a.job = gone.id) then 60000
          else 0 end as kept_ms
      from gone
    ), kept as (
      insert into «schema».finished (id, end_no, ended_at, created_at, run_at, started_at, expires_at, policy, keep_ms, bucket,
        lane, generation, attempt, failures, snoozes, releases, settled_generation, priority, state, marked, settled_by,
        policy_text, tags, given_id, error, reason, result, attempts, checkpoint, payload)
      select k.id, nextval(«relation end_seq»::regclass) * 1024, k.ended_at, k.created_at, k.run_at, k.started_at, k.ended_at + k.kept_ms, k.policy,
        k.keep_ms, case when (k.ended_at + k.kept_ms) is null then date 'infinity' when (k.kept_ms) >= 86400000 and (date '1970-01-01' + floor((k.ended_at + k.kept_ms) / 86400000)::integer) = any (array (select day from «schema».day)) then (date '1970-01-01' + floor((k.ended_at + k.kept_ms) / 86400000)::integer) else date '-infinity' end,
        k.lane, k.generation, k.attempt, k.failures, k.snoozes, k.releases, k.settled_generation, k.priority, k.dst,
        k.marked, k.settled_by, k.policy_text, k.tags, k.given_id, k.error, k.reason, k.result,
        case when k.failures > 0 then (
          select '[' || string_agg(a.entry, ',' order by a.number) || ']' from «schema».attempt as a where a.job = k.id) end,
        case when k.keeps_checkpoint then (
          select json_agg(json_build_array(e.key, e.value, e.bytes))::text from «schema».checkpoint as e where e.job = k.id) end,
        k.payload
      from (select * from judged where kept_ms is null or kept_ms > 0 order by ord) as k
      returning id
    ), forgotten as (
      delete from «schema».given as g using judged as k, «schema».lane as l
      where k.kept_ms = 0 and k.given_id is not null and l.id = k.lane
        and g.name = l.name and g.given_id = k.given_id and g.job = k.id
    )
    select coalesce(array_agg(id), '{}') into v_kept from kept;
    delete from «schema».attempt where job = any (v_ended);
    delete from «schema».checkpoint where job = any (v_ended);
  end if;

  if cardinality(v_returned) > 0 then
    -- Only what they are in is deleted from, and by name: a day that is being dropped keeps up its own jobs alone.
    for v_bucket in select distinct bucket from «schema».finished where id = any (v_returned) loop
      v_deletes := v_deletes || (
        «text delete from «schema».finished where bucket = » || quote_literal(v_bucket) || ' and id = any ($1)');
    end loop;
    -- Numbers of attempts are those of the first ones, and of the last ones counted from the end: an entry itself
    -- is not decoded, as it may hold what texts cannot.
    with back as materialized (
      select f.id, f.created_at, f.policy, f.keep_ms, f.lane, f.policy_text, f.tags, f.given_id, f.payload,
        f.attempts::json as attempts, f.checkpoint::json as checkpoint,
        case when c.sets_error then c.error else f.error end as error,
        case when c.sets_result then c.result else f.result end as result,
        c.dst, c.run_at, c.started_at, c.generation, c.attempt, c.failures, c.snoozes, c.releases, c.settled_generation,
        c.priority, c.marked, c.settled_by, c.cancel_asked
      from «schema».finished as f join unnest(v_all) as c on f.id = c.id
      where c.id = any (v_returned) and f.id = any (v_returned)
    ), tried as (
      insert into «schema».attempt (job, number, entry)
      select b.id,
        case when e.ord <= 10 then e.ord else b.failures - json_array_length(b.attempts) + e.ord end,
        e.entry::text
      from back as b cross join lateral json_array_elements(b.attempts) with ordinality as e (entry, ord)
      where b.dst <> 0
    ), noted as (
      insert into «schema».checkpoint (job, key, value, bytes)
      select b.id, e.entry ->> 0, e.entry ->> 1, (e.entry ->> 2)::integer
      from back as b cross join lateral json_array_elements(b.checkpoint) as e (entry)
      where b.dst <> 0
    ), forgotten as (
      delete from «schema».given as g using back as b, «schema».lane as l
      where b.dst = 0 and b.given_id is not null and l.id = b.lane
        and g.name = l.name and g.given_id = b.given_id and g.job = b.id
    )
    insert into «schema».job (id, created_at, run_at, started_at, policy, keep_ms, lane, generation, attempt, failures, snoozes,
      releases, settled_generation, checkpoint_bytes, priority, marked, settled_by, policy_text, tags, given_id, cancel_asked,
      error, result, payload)
    select b.id, b.created_at, b.run_at, b.started_at, b.policy, b.keep_ms, b.lane, b.generation, b.attempt, b.failures,
      b.snoozes, b.releases, b.settled_generation,
      coalesce((select sum((e.entry ->> 2)::integer) from json_array_elements(b.checkpoint) as e (entry)), 0),
      b.priority, b.marked, b.settled_by, b.policy_text, b.tags, b.given_id, b.cancel_asked, b.error, b.result, b.payload
    from back as b where b.dst <> 0;
    foreach v_delete in array v_deletes loop
      execute v_delete using v_returned;
    end loop;
  end if;

  update «schema».job as j set run_at = c.run_at, started_at = c.started_at, generation = c.generation, attempt = c.attempt,
    failures = c.failures, snoozes = c.snoozes, releases = c.releases, settled_generation = c.settled_generation,
    priority = c.priority, marked = c.marked, settled_by = c.settled_by, cancel_asked = c.cancel_asked,
    -- A lease that was taken over ends with its run: the next claim has a token of its own.
    token = case when c.generation = j.generation then j.token end,
    error = case when c.sets_error then c.error else j.error end,
    result = case when c.sets_result then c.result else j.result end
  from unnest(v_all) as c where c.src < 5 and c.dst in (1, 2, 4) and j.id = c.id;

  insert into «schema».scheduled (run_at, id, lane, generation, priority, marked)
    select c.run_at, c.id, c.lane, c.generation, c.priority, c.marked from unnest(v_all) as c where c.dst = 1;
  insert into «schema».ready (seq, id, lane, generation, priority, marked)
    select coalesce(c.seq, nextval(«relation seq»::regclass)), c.id, c.lane, c.generation, c.priority, c.marked
    from (select * from unnest(v_all) with ordinality as u where u.dst = 2 order by u.ordinality) as c;

  insert into «schema».tally (lane, src, dst, n)
    select m.lane, m.src, m.dst, count(*)
    from (
      select c.lane, c.src, case when c.dst >= 5 and c.id <> all (v_kept) then 0 else c.dst end as dst
      from unnest(v_all) as c) as m
    where m.src <> m.dst group by m.lane, m.src, m.dst;

  delete from «schema».ask where job = any (array (select c.id from unnest(v_all) as c where c.src = 4 and c.dst <> 4));
  insert into «schema».ask (job, generation, process_id, reason)
    select c.id, c.generation, c.asks, c.cancel_asked from unnest(v_all) as c where c.asks is not null
    on conflict (job) do update
    set generation = excluded.generation, process_id = excluded.process_id, reason = excluded.reason;
  perform pg_notify(«schema».channel(), 'c' || asked.process)
    from (select distinct c.asks as process from unnest(v_all) as c where c.asks is not null) as asked;

  if cardinality(p_tokens) > 0 then
    perform «schema».drop_leases(p_tokens);
  end if;
  select array_agg(l.queue), array_agg(l.name) into v_queues, v_names
    from (select distinct c.lane from unnest(v_all) as c where c.dst in (1, 2)) as c join «schema».lane as l on l.id = c.lane;
  if v_queues is not null then
    perform «schema».tell_available(v_queues, v_names);
  end if;
  perform «schema».tell_finished(array (select c.id from unnest(v_all) as c where c.dst in (0, 5, 6, 7)));
end
$jobwright$;

create function «schema».drop_leases(p_tokens text[]) returns void
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
  v_done text[] := array (
    select x.token from «schema».lease as x where x.token = any (p_tokens) group by x.token
    having bool_and(not exists (
    select from unnest(x.ids) with ordinality as u (id, ord)
    join «schema».job as j on j.id = u.id and j.generation = coalesce(x.generations[u.ord], 0)
      and (j.token is null or j.token = x.token))));
begin
  if cardinality(v_done) = 0 then
    return;
  end if;
  delete from «schema».start as y
    where y.origin = any (array (select origin from «schema».lease where token = any (v_done))) and not exists (
    select from unnest(y.ids, y.generations) as u (id, generation)
    join «schema».job as j on j.id = u.id and j.generation = u.generation);
  delete from «schema».lease where token = any (v_done);
end
$jobwright$;
`;
