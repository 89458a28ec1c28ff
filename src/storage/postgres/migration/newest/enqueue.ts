import { limits } from "../../../../job/limits.ts";
import { quoteLiteral, quoteRelation } from "../../quoting.ts";
import { innerFunction, minuteOf, NOW, plannedFunction } from "./planner.ts";

/** Policies kept in the table; what comes later is kept with its jobs. */
const POLICIES = 1_000;
/** Of our own, to take back what was done since the last `begin`. */
const ONCE_MORE = "JW001";
/** NOTIFY takes less than 8,000 bytes. */
const NOTIFY_BYTES = 7_000;

/** Storing jobs, and telling those who wait. */
export function enqueueFunctions(s: string): string {
  return [
    `
create or replace function ${s}.channel() returns text language sql immutable
as $jobwright$ select 'jobwright_' || left(encode(sha256(convert_to(${quoteLiteral(s)}, 'UTF8')), 'hex'), 32) $jobwright$;
`,
    innerFunction(
      s,
      "lane_of(p_queue text, p_name text) returns integer",
      `
declare
  v_lane integer;
begin
  select id into v_lane from ${s}.lane where queue = p_queue and name = p_name;
  if v_lane is null then
    insert into ${s}.lane (queue, name) values (p_queue, p_name) on conflict do nothing returning id into v_lane;
  end if;
  -- Another transaction was quicker.
  if v_lane is null then
    select id into v_lane from ${s}.lane where queue = p_queue and name = p_name;
  end if;
  return v_lane;
end`,
    ),
    innerFunction(
      s,
      "knows_policy(p_id bigint, p_text text) returns boolean",
      `
begin
  if exists (select from ${s}.policy where id = p_id) then
    return true;
  end if;
  -- Options that differ from job to job must not fill a table that is never emptied.
  if (select count(*) from ${s}.policy) >= ${POLICIES} then
    return false;
  end if;
  insert into ${s}.policy (id, text) values (p_id, p_text) on conflict do nothing;
  return true;
end`,
    ),
    // Told with the commit, and only when somebody waits: a NOTIFY takes a lock that all committing transactions share.
    innerFunction(
      s,
      "tell_available(p_queues text[], p_names text[]) returns void",
      `
begin
  if exists (select from ${s}.waiter where queues && p_queues) then
    perform ${s}.tell_lanes(p_queues, p_names);
  end if;
end`,
    ),
    innerFunction(
      s,
      "tell_lanes(p_queues text[], p_names text[]) returns void",
      `
declare
  v_payload text;
begin
  select json_agg(distinct_lane.pair)::text into v_payload
    from (select distinct jsonb_build_array(queue, name) as pair from unnest(p_queues, p_names) as u (queue, name)) as distinct_lane;
  if octet_length(v_payload) > ${NOTIFY_BYTES} then
    v_payload := '*';
  end if;
  perform pg_notify(${s}.channel(), 'a' || v_payload);
end`,
    ),
    innerFunction(
      s,
      "tell_finished(p_ids bigint[]) returns void",
      `
declare
  v_ids text;
begin
  if not exists (select from ${s}.awaited) then
    return;
  end if;
  select string_agg(id::text, ',') into v_ids
    from unnest(p_ids) as u (id) where exists (select from ${s}.awaited where job = id);
  if v_ids is null then
    return;
  end if;
  if octet_length(v_ids) > ${NOTIFY_BYTES} then
    v_ids := '*';
  end if;
  perform pg_notify(${s}.channel(), 'f' || v_ids);
end`,
    ),
    // Sorted, so that two batches with common ids wait for each other in one order only.
    plannedFunction(
      s,
      "take_given(p_batch text, p_names text[], p_given text[], p_hashes text[]) returns text",
      `
declare
  v_answer text;
  v_found bigint;
begin
  select answer into v_answer from ${s}.batch where id = p_batch;
  if found then
    return v_answer;
  end if;
  -- Again when one that was in the way has gone before it could be looked at. What was taken is let go of first:
  -- to hold it and take the missing ones would be out of order.
  for v_try in 1 .. 100 loop
    begin
      insert into ${s}.given (job, name, given_id, hash)
      select distinct on (name, given_id) 0, name, given_id, hash
      from unnest(p_names, p_given, p_hashes) as u (name, given_id, hash)
      order by name, given_id
      on conflict do nothing;
      select string_agg(u.ord || ' ' || g.job || ' ' || g.hash, ',' order by u.ord), count(*) into v_answer, v_found
      from unnest(p_names, p_given) with ordinality as u (name, given_id, ord)
      join ${s}.given as g on g.name = u.name and g.given_id = u.given_id;
      if v_found = cardinality(p_names) then
        return v_answer;
      end if;
      raise 'once more' using errcode = '${ONCE_MORE}';
    exception when sqlstate '${ONCE_MORE}' then
      -- All of it is taken back.
    end;
  end loop;
  raise 'given ids come and go too fast' using errcode = 'serialization_failure';
end`,
    ),
    plannedFunction(
      s,
      "keep_given(p_batch text, p_now double precision, p_answer text, p_jobs bigint[], p_names text[], p_given text[], p_hashes text[]) returns text",
      `
begin
  update ${s}.given as g set job = u.job, hash = u.hash
  from unnest(p_jobs, p_names, p_given, p_hashes) as u (job, name, given_id, hash)
  where u.job > 0 and g.name = u.name and g.given_id = u.given_id;
  delete from ${s}.given as g using unnest(p_jobs, p_names, p_given) as u (job, name, given_id)
  where u.job = 0 and g.name = u.name and g.given_id = u.given_id;
  if p_batch is not null then
    insert into ${s}.batch (id, at, answer) values (p_batch, ${NOW}, p_answer) on conflict do nothing;
    if not found then
      raise 'batch % was stored meanwhile', p_batch using errcode = 'serialization_failure';
    end if;
  end if;
  return '';
end`,
    ),
    plannedFunction(s, ENQUEUE_SIGNATURE, enqueueBody(s)),
    plannedFunction(s, ENQUEUE_ONE, enqueueOneBody(s)),
  ].join("");
}

/**
 * Segments are runs of jobs that differ in nothing but payload and caller-given id. Of each, in parallel arrays:
 * a header `{q: queue, n: name, p: priority, o: policy id, O: policy, k: keep_ms, t: tags, d: delay, a: instant}`,
 * its payloads as strings, and its given ids or null. The answer is the ids, as `first-last` for each run of them.
 *
 * Jobs with a unique key, a limit key or a trace are segments of their own: `x` of their header has, for each,
 * `[extra, id of the unique key, id of the limit key, its concurrency]`, and `l` is there when they have limit keys.
 * These jobs wait for `promote`, which is where their keys are counted.
 *
 * `O` is left out by those who know the policy to be stored.
 *
 * `p_joins`: in a transaction of somebody else, of which nobody knows how long it takes. Then the policy goes with
 * the job, because others would wait for a new row of the table, and everybody is told, because who begins to
 * wait before the commit cannot be seen yet.
 */
const ENQUEUE_SIGNATURE =
  "enqueue_batch(p_batch text, p_now double precision, p_headers json, p_payloads json, p_given json, p_joins boolean) returns text";

function enqueueBody(s: string): string {
  const seq = `nextval(${quoteRelation(s, "seq")}::regclass)`;
  const columns =
    "id, lane, priority, created_at, run_at, policy, policy_text, keep_ms, tags, given_id, payload";
  const values = `${seq}, v_lane, v_priority, v_now, v_run_at, v_policy, v_policy_text, v_keep_ms, v_tags, u.given_id, u.payload`;
  const plain = `
      with stored as (
        insert into ${s}.job (${columns})
        select ${values}
        from rows from (json_array_elements_text(v_payloads), json_array_elements_text(v_given)) as u (payload, given_id)
        returning id
      )`;
  const keyed = `
      with stored as (
        insert into ${s}.job (${columns}, extra, key_id, limit_id, concurrency)
        select ${values}, u.x ->> 0, (u.x ->> 1)::uuid, (u.x ->> 2)::uuid, (u.x ->> 3)::smallint
        from rows from (json_array_elements_text(v_payloads), json_array_elements_text(v_given), json_array_elements(v_extras))
          as u (payload, given_id, x)
        returning id, limit_id, concurrency
      )`;
  const scheduled = (stored: string, more = ""): string => `${stored.trim()}, placed as (
        insert into ${s}.scheduled (run_at, id, lane, generation, priority${more})
        select v_run_at, id, v_lane, 0, v_priority${more} from stored
      ), counted as (
        insert into ${s}.tally (lane, src, dst, n, minute) select v_lane, 0, 1, count(*), ${minuteOf("v_now")} from stored
      )${answer};`;
  const ready = (stored: string): string => `${stored.trim()}, placed as (
        insert into ${s}.ready (seq, id, lane, generation, priority)
        select id, id, v_lane, 0, v_priority from stored
      ), counted as (
        insert into ${s}.tally (lane, src, dst, n, minute) select v_lane, 0, 2, count(*), ${minuteOf("v_now")} from stored
      )${answer};`;
  const answer = `
      select case when max(id) - min(id) = count(*) - 1 then min(id) || '-' || max(id)
        else string_agg(id || '-' || id, ',') end into v_some from stored`;
  return `
declare
  v_now double precision := ${NOW};
  v_header json;
  v_payloads json;
  v_given json;
  v_extras json;
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
    select answer into v_answer from ${s}.batch where id = p_batch;
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
    select id into v_lane from ${s}.lane where queue = v_queue and name = v_name;
    if not found then
      v_lane := ${s}.lane_of(v_queue, v_name);
    end if;
    v_policy_text := null;
    if not exists (select from ${s}.policy where id = v_policy)
      and (p_joins or not ${s}.knows_policy(v_policy, v_header ->> 'O')) then
      v_policy := null;
      v_policy_text := v_header ->> 'O';
    end if;
    v_run_at := least(
      coalesce((v_header ->> 'a')::double precision, v_now + coalesce((v_header ->> 'd')::double precision, 0)),
      ${limits.instantMax});
    v_extras := v_header -> 'x';
    if v_extras is not null then
      if v_run_at > v_now or v_header ->> 'l' is not null then
        ${scheduled(keyed, ", limit_id, concurrency")}
      else
        ${ready(keyed)}
      end if;
    elsif v_run_at > v_now then
      ${scheduled(plain)}
    else
      ${ready(plain)}
    end if;
    v_answer := concat_ws(',', v_answer, v_some);
    v_queues := v_queues || v_queue;
    v_names := v_names || v_name;
  end loop;
  if p_batch is not null then
    insert into ${s}.batch (id, at, answer) values (p_batch, v_now, v_answer) on conflict do nothing;
    if not found then
      raise 'batch % was stored meanwhile', p_batch using errcode = 'serialization_failure';
    end if;
  end if;
  if p_joins then
    perform ${s}.tell_lanes(v_queues, v_names);
  elsif exists (select from ${s}.waiter where queues && v_queues) then
    perform ${s}.tell_available(v_queues, v_names);
  end if;
  return coalesce(v_answer, '');
end`;
}

/** One job, without a given id: what a lone call makes, in the few and simple statements that it needs. */
const ENQUEUE_ONE =
  "enqueue_one(p_batch text, p_now double precision, p_queue text, p_name text, p_priority smallint, p_policy bigint, " +
  "p_policy_text text, p_keep_ms double precision, p_tags text, p_delay double precision, p_at double precision, " +
  "p_payload text) returns text";

function enqueueOneBody(s: string): string {
  return `
declare
  v_now double precision := ${NOW};
  v_run_at double precision;
  v_id bigint;
  v_lane integer;
  v_is_known boolean;
  v_is_awaited boolean;
  v_answer text;
begin
  select (select id from ${s}.lane where queue = p_queue and name = p_name),
    exists (select from ${s}.policy where id = p_policy),
    exists (select from ${s}.waiter where queues && array[p_queue]),
    (select answer from ${s}.batch where id = p_batch)
  into v_lane, v_is_known, v_is_awaited, v_answer;
  if v_answer is not null then
    return v_answer;
  end if;
  if v_lane is null then
    v_lane := ${s}.lane_of(p_queue, p_name);
  end if;
  v_is_known := v_is_known or ${s}.knows_policy(p_policy, p_policy_text);
  v_run_at := least(coalesce(p_at, v_now + coalesce(p_delay, 0)), ${limits.instantMax});
  v_id := nextval(${quoteRelation(s, "seq")}::regclass);
  insert into ${s}.job (id, lane, priority, created_at, run_at, policy, policy_text, keep_ms, tags, payload)
  values (v_id, v_lane, p_priority, v_now, v_run_at, case when v_is_known then p_policy end,
    case when not v_is_known then p_policy_text end, p_keep_ms, p_tags, p_payload);
  if v_run_at > v_now then
    insert into ${s}.scheduled (run_at, id, lane, generation, priority) values (v_run_at, v_id, v_lane, 0, p_priority);
    insert into ${s}.tally (lane, src, dst, n, minute) values (v_lane, 0, 1, 1, ${minuteOf("v_now")});
  else
    insert into ${s}.ready (seq, id, lane, generation, priority) values (v_id, v_id, v_lane, 0, p_priority);
    insert into ${s}.tally (lane, src, dst, n, minute) values (v_lane, 0, 2, 1, ${minuteOf("v_now")});
  end if;
  if p_batch is not null then
    insert into ${s}.batch (id, at, answer) values (p_batch, v_now, v_id || '-' || v_id) on conflict do nothing;
    if not found then
      raise 'batch % was stored meanwhile', p_batch using errcode = 'serialization_failure';
    end if;
  end if;
  if v_is_awaited then
    perform ${s}.tell_available(array[p_queue], array[p_name]);
  end if;
  return v_id || '-' || v_id;
end`;
}
