import { limits } from "../../../../job/limits.ts";
import { quoteLiteral, quoteRelation } from "../../quoting.ts";
import { AWAITED_KEEP_MS, bucketOf, checkpointText, logText, nextEndNo } from "./finish.ts";
import { minuteOf, plannedFunction } from "./planner.ts";

/** Writing what the rules have made of locked jobs. */
export function headFunctions(s: string): string {
  return [writeHeads(s), dropLeases(s)].join("");
}

/**
 * New heads for jobs that are locked, at most one for each, in their order: each leaves its place (`src`, `tid`),
 * its row is rewritten, moved to `finished` or back, or removed, and it takes its new place (`dst`). Columns named
 * `sets_…` say whether a text was changed: large ones do not travel for nothing.
 */
function writeHeads(s: string): string {
  const seq = `nextval(${quoteRelation(s, "seq")}::regclass)`;
  const endNumber = nextEndNo(s);
  const ofJob = (column: string): string => `(select j.${column} from ${s}.job as j where j.id = c.id)`;
  return `
${plannedFunction(
  s,
  "write_heads(p_changes json, p_tokens text[]) returns void",
  `
declare
  v_all ${s}.head_change[] := array (select c from json_populate_recordset(null::${s}.head_change, p_changes) as c);
  v_ended bigint[] := array (select c.id from unnest(v_all) as c where c.src < 5 and c.dst in (0, 5, 6, 7));
  v_returned bigint[] := array (select c.id from unnest(v_all) as c where c.src >= 5);
  v_kept bigint[] := '{}';
  v_bucket date;
  v_delete text;
  v_deletes text[] := '{}';
  v_queues text[];
  v_names text[];
  v_places bigint[] := array (select c.id from unnest(v_all) as c where c.src < 5);
  v_now double precision := (select max(c.ended_at) from unnest(v_all) as c where c.src < 5);
  v_sources smallint[] := array (select distinct c.src from unnest(v_all) as c);
  v_targets smallint[] := array (select distinct c.dst from unnest(v_all) as c);
  v_keyed bigint[];
  v_keys uuid[];
  v_by_hand bigint[];
begin
  delete from ${s}.scheduled where ctid = any (array (select c.tid::tid from unnest(v_all) as c where c.src = 1));
  delete from ${s}.ready where ctid = any (array (select c.tid::tid from unnest(v_all) as c where c.src = 2));
  if v_sources @> '{3}' then
    delete from ${s}.blocked where id = any (array (select c.id from unnest(v_all) as c where c.src = 3));
  end if;
  -- Whatever of a limit key leaves its place may make room; see the functions of limit keys.
  v_keyed := array (select j.id from ${s}.job as j where j.id = any (v_places) and j.limit_id is not null);
  if cardinality(v_keyed) > 0 then
    delete from ${s}.slot where job = any (array (
      select c.id from unnest(v_all) as c where c.src = 4 and c.dst <> 4 and c.id = any (v_keyed)));
    insert into ${s}.freed (limit_id)
      select distinct j.limit_id from unnest(v_all) as c join ${s}.job as j on j.id = c.id
      where j.id = any (v_keyed) and c.src <> 1 and (c.src, c.dst) <> (4, 4);
  end if;
  -- By hand means by hand: also what time would hold.
  if v_targets @> '{0}' then
    v_by_hand := array (select c.id from unnest(v_all) as c where c.dst = 0);
    v_keys := array (
      select j.key_id from ${s}.job as j where j.id = any (v_by_hand) and j.key_id is not null
      union all
      select f.key_id from ${s}.finished as f where f.id = any (v_by_hand) and f.key_id is not null);
    perform from ${s}.unique_key where id = any (v_keys) order by id for update;
    delete from ${s}.unique_key where id = any (v_keys) and job = any (v_by_hand);
  end if;
  if cardinality(v_ended) > 0 then
    v_keys := array (select j.key_id from ${s}.job as j where j.id = any (v_ended) and j.key_id is not null);
    if cardinality(v_keys) > 0 then
      perform ${s}.free_keys(v_keys, v_ended, v_now, false);
    end if;
  end if;
  -- Who knows of keys has asked before, and gets an answer instead of this.
  if cardinality(v_returned) > 0 and exists (select from ${s}.retake_keys(v_now, array (select c.id from unnest(v_all) as c where c.src >= 5 and c.dst <> 0))) then
    raise 'the unique key of a job that is to run again is held by another one' using errcode = 'serialization_failure';
  end if;

  insert into ${s}.attempt (job, number, entry)
    select c.id, c.entry_number, c.entry from unnest(v_all) as c where c.entry is not null;
  delete from ${s}.attempt as a using unnest(v_all) as c
    where c.forgets is not null and a.job = c.id and a.number = c.forgets;

  if cardinality(v_ended) > 0 then
    with gone as (
      delete from ${s}.job as j using unnest(v_all) with ordinality as c
      where c.id = any (v_ended) and j.id = c.id
      returning j.id, j.created_at, j.policy, j.keep_ms, j.lane, j.policy_text, j.tags, j.given_id, j.payload,
        j.key_id, j.limit_id, j.concurrency, j.lines, j.extra,
        case when c.sets_events then c.events else j.events end as events,
        case when c.sets_progress then c.progress else j.progress end as progress,
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
          when exists (select from ${s}.awaited as a where a.job = gone.id) then ${AWAITED_KEEP_MS}
          else 0 end as kept_ms
      from gone
    ), kept as (
      insert into ${s}.finished (id, end_no, ended_at, created_at, run_at, started_at, expires_at, policy, keep_ms, bucket,
        lane, generation, attempt, failures, snoozes, releases, settled_generation, priority, state, marked, settled_by,
        policy_text, tags, given_id, error, reason, result, attempts, checkpoint, payload, key_id, limit_id, concurrency,
        lines, extra, events, progress, log)
      select k.id, ${endNumber}, k.ended_at, k.created_at, k.run_at, k.started_at, k.ended_at + k.kept_ms, k.policy,
        k.keep_ms, ${bucketOf("k.ended_at + k.kept_ms", "k.kept_ms", s)},
        k.lane, k.generation, k.attempt, k.failures, k.snoozes, k.releases, k.settled_generation, k.priority, k.dst,
        k.marked, k.settled_by, k.policy_text, k.tags, k.given_id, k.error, k.reason, k.result,
        case when k.failures > 0 then (
          select '[' || string_agg(a.entry, ',' order by a.number) || ']' from ${s}.attempt as a where a.job = k.id) end,
        case when k.keeps_checkpoint then ${checkpointText(s, "k.id")} end,
        k.payload, k.key_id, k.limit_id, k.concurrency, k.lines, k.extra, k.events, k.progress,
        case when k.lines is not null then ${logText(s, "k.id")} end
      from (select * from judged where kept_ms is null or kept_ms > 0 order by ord) as k
      returning id
    ), forgotten as (
      delete from ${s}.given as g using judged as k, ${s}.lane as l
      where k.kept_ms = 0 and k.given_id is not null and l.id = k.lane
        and g.name = l.name and g.given_id = k.given_id and g.job = k.id
    )
    select coalesce(array_agg(id), '{}') into v_kept from kept;
    delete from ${s}.attempt where job = any (v_ended);
    delete from ${s}.checkpoint where job = any (v_ended);
    delete from ${s}.log where job = any (v_ended);
  end if;

  if cardinality(v_returned) > 0 then
    -- Only what they are in is deleted from, and by name: a day that is being dropped keeps up its own jobs alone.
    for v_bucket in select distinct bucket from ${s}.finished where id = any (v_returned) loop
      v_deletes := v_deletes || (
        ${quoteLiteral(`delete from ${s}.finished where bucket = `)} || quote_literal(v_bucket) || ' and id = any ($1)');
    end loop;
    -- Numbers of attempts are those of the first ones, and of the last ones counted from the end, those of log lines
    -- are counted from the end: an entry itself is not decoded, as it may hold what texts cannot.
    with back as materialized (
      select f.id, f.created_at, f.policy, f.keep_ms, f.lane, f.policy_text, f.tags, f.given_id, f.payload,
        f.key_id, f.limit_id, f.concurrency, f.lines, f.extra, f.log::json as log,
        case when c.sets_events then c.events else f.events end as events,
        case when c.sets_progress then c.progress else f.progress end as progress,
        f.attempts::json as attempts, f.checkpoint::json as checkpoint,
        case when c.sets_error then c.error else f.error end as error,
        case when c.sets_result then c.result else f.result end as result,
        c.dst, c.run_at, c.started_at, c.generation, c.attempt, c.failures, c.snoozes, c.releases, c.settled_generation,
        c.priority, c.marked, c.settled_by, c.cancel_asked
      from ${s}.finished as f join unnest(v_all) as c on f.id = c.id
      where c.id = any (v_returned) and f.id = any (v_returned)
    ), tried as (
      insert into ${s}.attempt (job, number, entry)
      select b.id,
        case when e.ord <= ${limits.attemptsFirst} then e.ord else b.failures - json_array_length(b.attempts) + e.ord end,
        e.entry::text
      from back as b cross join lateral json_array_elements(b.attempts) with ordinality as e (entry, ord)
      where b.dst <> 0
    ), noted as (
      insert into ${s}.checkpoint (job, key, value, bytes)
      select b.id, e.entry ->> 0, e.entry ->> 1, (e.entry ->> 2)::integer
      from back as b cross join lateral json_array_elements(b.checkpoint) as e (entry)
      where b.dst <> 0
    ), told as (
      insert into ${s}.log (job, number, entry)
      select b.id, b.lines - json_array_length(b.log) + e.ord, e.entry::text
      from back as b cross join lateral json_array_elements(b.log) with ordinality as e (entry, ord)
      where b.dst <> 0
    ), forgotten as (
      delete from ${s}.given as g using back as b, ${s}.lane as l
      where b.dst = 0 and b.given_id is not null and l.id = b.lane
        and g.name = l.name and g.given_id = b.given_id and g.job = b.id
    )
    insert into ${s}.job (id, created_at, run_at, started_at, policy, keep_ms, lane, generation, attempt, failures, snoozes,
      releases, settled_generation, checkpoint_bytes, priority, marked, settled_by, policy_text, tags, given_id, cancel_asked,
      error, result, payload, key_id, limit_id, concurrency, lines, extra, events, progress)
    select b.id, b.created_at, b.run_at, b.started_at, b.policy, b.keep_ms, b.lane, b.generation, b.attempt, b.failures,
      b.snoozes, b.releases, b.settled_generation,
      coalesce((select sum((e.entry ->> 2)::integer) from json_array_elements(b.checkpoint) as e (entry)), 0),
      b.priority, b.marked, b.settled_by, b.policy_text, b.tags, b.given_id, b.cancel_asked, b.error, b.result, b.payload,
      b.key_id, b.limit_id, b.concurrency, b.lines, b.extra, b.events, b.progress
    from back as b where b.dst <> 0;
    foreach v_delete in array v_deletes loop
      execute v_delete using v_returned;
    end loop;
  end if;

  update ${s}.job as j set run_at = c.run_at, started_at = c.started_at, generation = c.generation, attempt = c.attempt,
    failures = c.failures, snoozes = c.snoozes, releases = c.releases, settled_generation = c.settled_generation,
    priority = c.priority, marked = c.marked, settled_by = c.settled_by, cancel_asked = c.cancel_asked,
    -- A lease that was taken over ends with its run: the next claim has a token of its own.
    token = case when c.generation = j.generation then j.token end,
    error = case when c.sets_error then c.error else j.error end,
    result = case when c.sets_result then c.result else j.result end,
    events = case when c.sets_events then c.events else j.events end,
    progress = case when c.sets_progress then c.progress else j.progress end,
    payload = case when c.sets_spec then c.payload else j.payload end,
    policy = case when c.sets_spec then c.policy else j.policy end,
    policy_text = case when c.sets_spec then c.policy_text else j.policy_text end,
    keep_ms = case when c.sets_spec then c.keep_ms else j.keep_ms end,
    tags = case when c.sets_spec then c.tags else j.tags end,
    extra = case when c.sets_spec then c.extra else j.extra end,
    limit_id = case when c.sets_spec then c.limit_id else j.limit_id end,
    concurrency = case when c.sets_spec then c.concurrency else j.concurrency end
  from unnest(v_all) as c where c.src < 5 and c.dst in (1, 2, 3, 4) and j.id = c.id;

  insert into ${s}.scheduled (run_at, id, lane, generation, priority, marked, limit_id, concurrency)
    select c.run_at, c.id, c.lane, c.generation, c.priority, c.marked, ${ofJob("limit_id")}, ${ofJob("concurrency")}
    from unnest(v_all) as c where c.dst = 1;
  insert into ${s}.ready (seq, id, lane, generation, priority, marked, limit_id, concurrency)
    select coalesce(c.seq, ${seq}), c.id, c.lane, c.generation, c.priority, c.marked, ${ofJob("limit_id")}, ${ofJob("concurrency")}
    from (select * from unnest(v_all) with ordinality as u where u.dst = 2 order by u.ordinality) as c;
  if v_targets @> '{3}' then
    insert into ${s}.blocked (seq, id, lane, generation, priority, marked, limit_id, concurrency)
      select coalesce(c.seq, ${seq}), c.id, c.lane, c.generation, c.priority, c.marked, ${ofJob("limit_id")}, ${ofJob("concurrency")}
      from (select * from unnest(v_all) with ordinality as u where u.dst = 3 order by u.ordinality) as c;
  end if;

  insert into ${s}.tally (lane, src, dst, n, minute)
    select m.lane, m.src, m.dst, count(*), m.minute
    from (
      select c.lane, c.src, c.dst, case when c.src < 5 and c.dst >= 5 then ${minuteOf("c.ended_at")} end as minute
      from unnest(v_all) as c
      union all
      -- Ended, and not kept.
      select c.lane, c.dst, 0, null from unnest(v_all) as c where c.dst >= 5 and c.id <> all (v_kept)
    ) as m
    where m.src <> m.dst group by m.lane, m.src, m.dst, m.minute;

  delete from ${s}.ask where job = any (array (select c.id from unnest(v_all) as c where c.src = 4 and c.dst <> 4));
  insert into ${s}.ask (job, generation, process_id, reason)
    select c.id, c.generation, c.asks, c.cancel_asked from unnest(v_all) as c where c.asks is not null
    on conflict (job) do update
    set generation = excluded.generation, process_id = excluded.process_id, reason = excluded.reason;
  perform pg_notify(${s}.channel(), 'c' || asked.process)
    from (select distinct c.asks as process from unnest(v_all) as c where c.asks is not null) as asked;

  if cardinality(p_tokens) > 0 then
    perform ${s}.drop_leases(p_tokens);
  end if;
  select array_agg(l.queue), array_agg(l.name) into v_queues, v_names
    from (select distinct c.lane from unnest(v_all) as c where c.dst in (1, 2)) as c join ${s}.lane as l on l.id = c.lane;
  if v_queues is not null then
    perform ${s}.tell_available(v_queues, v_names);
  end if;
  perform ${s}.tell_finished(array (select c.id from unnest(v_all) as c where c.dst in (0, 5, 6, 7)));
end`,
)}`;
}

/** Whether lease \`x\` still holds a run. */
export function holdsRuns(s: string): string {
  return `exists (
    select from unnest(x.ids) with ordinality as u (id, ord)
    join ${s}.job as j on j.id = u.id and j.generation = coalesce(x.generations[u.ord], 0)
      and (j.token is null or j.token = x.token))`;
}

/** Whether a start that row \`y\` reports is that of a run that goes on. */
export function reportsRuns(s: string): string {
  return `exists (
    select from unnest(y.ids, y.generations) as u (id, generation)
    join ${s}.job as j on j.id = u.id and j.generation = u.generation)`;
}

/** Forget leases of which nothing is left, and what was reported under them. */
function dropLeases(s: string): string {
  return plannedFunction(
    s,
    "drop_leases(p_tokens text[]) returns void",
    `
declare
  v_done text[] := array (
    select x.token from ${s}.lease as x where x.token = any (p_tokens) group by x.token
    having bool_and(not ${holdsRuns(s)}));
begin
  if cardinality(v_done) = 0 then
    return;
  end if;
  delete from ${s}.start as y
    where y.origin = any (array (select origin from ${s}.lease where token = any (v_done))) and not ${reportsRuns(s)};
  delete from ${s}.lease where token = any (v_done);
end`,
  );
}
