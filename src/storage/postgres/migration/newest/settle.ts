import { AWAITED_KEEP_MS, bucketOf, checkpointText, logText, nextEndNo } from "./finish.ts";
import { LEASE_JOBS } from "../../store.ts";
import { claimArguments, claimParameters } from "./claim.ts";
import { minuteOf, NOW, plannedFunction } from "./planner.ts";

/** Whether lease `h` holds the run `u (id, generation, position)`. A known position is one look into an array. */
const HOLDS = `case when u.position > 0
    then h.ids[(u.position - 1) % ${LEASE_JOBS} + 1] = u.id
      and coalesce(h.generations[(u.position - 1) % ${LEASE_JOBS} + 1], 0) = u.generation
    else u.id = any (h.ids) and coalesce(h.generations[array_position(h.ids, u.id)], 0) = u.generation end
  and (u.position = 0 or h.part = (u.position - 1) / ${LEASE_JOBS})`;

/**
 * The end of runs. A run is named by its job, generation and token; `p_of` points into the tokens, and
 * `p_positions` says where in the lease the job stands, or 0. `p_ids` grow: everyone locks jobs in that order.
 */
export function settleFunctions(s: string): string {
  return [
    plannedFunction(
      s,
      "standing(p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[], p_positions integer[]) returns setof bigint",
      `
begin
  return query
    with held as materialized (
      select t.ord as token_index, t.token, l.part, l.ids, l.generations
      from unnest(p_tokens) with ordinality as t (token, ord)
      join ${s}.lease as l on l.token = t.token
    )
    select u.ord
    from unnest(p_ids, p_generations, p_of, p_positions) with ordinality as u (id, generation, token_index, position, ord)
    join held as h on h.token_index = u.token_index and ${HOLDS}
    join ${s}.job as j on j.id = u.id and j.generation = u.generation and (j.token is null or j.token = h.token);
end`,
    ),
    // A run that returned: by far the most frequent end, so it is one statement that reads and writes each row once.
    plannedFunction(
      s,
      `complete(${COMPLETE_PARAMETERS.join(", ")}, p_joins boolean default true) returns text`,
      `
declare
  v_now double precision := ${NOW};
  v_end_no bigint := ${nextEndNo(s)};
  v_held bigint[];
  v_results text[];
  v_reasons text[];
  v_n integer;
  v_settled bigint[];
  v_has_checkpoint boolean;
  v_has_failed boolean;
  v_has_ask boolean;
  v_has_more boolean;
  v_limits uuid[];
  v_queues text[];
  v_names text[];
  v_keys uuid[];
  v_free_lanes integer[];
  v_free_given text[];
begin
  v_held := array (
    with held as materialized (
      select t.ord as token_index, t.token, l.part, l.ids, l.generations
      from unnest(p_tokens) with ordinality as t (token, ord)
      join ${s}.lease as l on l.token = t.token
    )
    select u.id
    from unnest(p_ids, p_generations, p_of, p_positions) as u (id, generation, token_index, position)
    join held as h on h.token_index = u.token_index and ${HOLDS});
  if p_results is not null then
    v_results := array (select value from json_array_elements_text(p_results));
  end if;
  if p_reasons is not null then
    v_reasons := array (select value from json_array_elements_text(p_reasons));
  end if;
  -- The ids are sorted: width_bucket finds a job's place among the parameters.
  with judged as (
    delete from ${s}.job as j
    where j.id = any (v_held) and j.generation = p_generations[width_bucket(j.id, p_ids)]
      and (j.token is null or j.token = p_tokens[p_of[width_bucket(j.id, p_ids)]])
    returning j.id, j.created_at, j.run_at, j.policy, j.keep_ms, j.lane, j.generation, j.attempt, j.failures, j.snoozes,
      j.releases, j.checkpoint_bytes, j.priority, j.marked, j.policy_text, j.tags, j.given_id, j.cancel_asked, j.payload,
      j.result, j.key_id, j.limit_id, j.concurrency, j.lines, j.extra, j.events, j.progress, width_bucket(j.id, p_ids) as ord,
      case when j.keep_ms > 0 or j.keep_ms is null then j.keep_ms
        when exists (select from ${s}.awaited where job = j.id) then ${AWAITED_KEEP_MS} else 0 end as kept_ms
  ), kept as (
    insert into ${s}.finished (id, end_no, ended_at, created_at, run_at, started_at, expires_at, policy, keep_ms, bucket, lane,
      generation, attempt, failures, snoozes, releases, settled_generation, priority, state, marked, settled_by, policy_text,
      tags, given_id, reason, result, attempts, payload, key_id, limit_id, concurrency, lines, extra, events, progress,
      checkpoint, log)
    select id, v_end_no + ord, v_now, created_at, run_at, p_started[ord], v_now + kept_ms, policy, keep_ms,
      ${bucketOf("(v_now + kept_ms)", "kept_ms", s)}, lane,
      generation, attempt + 1, failures, snoozes, releases, generation, priority, 7, marked, p_tokens[p_of[ord]], policy_text,
      tags, given_id, v_reasons[ord], coalesce(v_results[ord], result),
      case when failures > 0 then (select json_agg(a.entry::json order by a.number)::text from ${s}.attempt as a where a.job = judged.id) end,
      payload, key_id, limit_id, concurrency, lines, extra, events, progress,
      case when checkpoint_bytes > 0 and key_id is not null and extra::json -> 'unique' ->> 'inherit' = 'true'
        then ${checkpointText(s, "judged.id")} end,
      case when lines is not null then ${logText(s, "judged.id")} end
    from judged where kept_ms is null or kept_ms > 0
  ), counted as (
    insert into ${s}.tally (lane, src, dst, n, minute)
    select lane, 4, case when kept_ms = 0 then 0 else 7 end, count(*), ${minuteOf("v_now")} from judged group by 1, 3
  )
  select count(*), array_agg(id),
    bool_or(checkpoint_bytes > 0), bool_or(failures > 0), bool_or(cancel_asked is not null),
    bool_or(limit_id is not null or lines is not null), array_agg(key_id) filter (where key_id is not null),
    array_agg(lane) filter (where kept_ms = 0 and given_id is not null),
    array_agg(given_id) filter (where kept_ms = 0 and given_id is not null)
  into v_n, v_settled, v_has_checkpoint, v_has_failed, v_has_ask, v_has_more, v_keys, v_free_lanes, v_free_given from judged;

  if v_has_checkpoint then
    delete from ${s}.checkpoint where job = any (v_settled);
  end if;
  if v_has_failed then
    delete from ${s}.attempt where job = any (v_settled);
  end if;
  if v_free_lanes is not null then
    delete from ${s}.given as g using unnest(v_free_lanes, v_free_given) as u (lane, given_id), ${s}.lane as l
    where l.id = u.lane and g.name = l.name and g.given_id = u.given_id;
  end if;
  if v_has_ask then
    delete from ${s}.ask where job = any (v_settled);
  end if;
  -- Not in a transaction of somebody else, where those who take the key would wait for its end: the row does no harm.
  if v_keys is not null and p_joins is not true then
    perform ${s}.free_keys(v_keys, v_settled, v_now, false);
  end if;
  if v_has_more then
    delete from ${s}.log where job = any (v_settled);
    with gone as (
      delete from ${s}.slot where job = any (v_settled) returning limit_id
    ), marked as (
      insert into ${s}.freed (limit_id) select distinct limit_id from gone
    )
    select array_agg(distinct limit_id) into v_limits from gone;
  end if;
  if p_done is not null then
    delete from ${s}.start where origin = any (p_done);
    delete from ${s}.lease where token = any (p_done);
  end if;
  if v_n > 0 and exists (select from ${s}.awaited) then
    perform ${s}.tell_finished(v_settled);
  end if;
  if v_limits is not null and not p_joins then
    perform ${s}.admit_freed();
  elsif v_limits is not null and p_joins then
    -- In a transaction of somebody else nobody may hold the lock of a key: whoever is told of it then lets others in.
    select array_agg(l.queue), array_agg(l.name) into v_queues, v_names
      from ${s}.lane as l where (select true from ${s}.blocked as b where b.limit_id = any (v_limits) and b.lane = l.id limit 1);
    if v_queues is not null then
      perform ${s}.tell_lanes(v_queues, v_names);
    end if;
  end if;
  if v_n = cardinality(p_ids) then
    return '';
  end if;
  -- What was not settled now may have been settled by the same lease before, its answer lost.
  return (
    select string_agg(case
        when u.id = any (v_settled) then '1'
        when exists (
            select from ${s}.finished as f
            where f.id = u.id and f.settled_by = p_tokens[u.token_index] and f.settled_generation = u.generation)
          or exists (
            select from ${s}.job as j
            where j.id = u.id and j.settled_by = p_tokens[u.token_index] and j.settled_generation = u.generation)
        then '1' else '0' end, '' order by u.ord)
    from unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, token_index, ord));
end`,
    ),
    plannedFunction(
      s,
      `exchange(${[...COMPLETE_PARAMETERS, claimParameters().replace("p_now double precision, ", "")].join(", ")}) returns setof text`,
      `
begin
  return next ${s}.complete(${COMPLETE_PARAMETERS.map((one) => one.slice(0, one.indexOf(" "))).join(", ")}, null);
  return query select ${s}.claim_jobs(${claimArguments()});
end`,
    ),
  ].join("");
}

const COMPLETE_PARAMETERS = [
  "p_now double precision",
  "p_ids bigint[]",
  "p_generations integer[]",
  "p_tokens text[]",
  "p_of integer[]",
  "p_positions integer[]",
  "p_started double precision[]",
  "p_results json",
  "p_reasons json",
  "p_done text[]",
];
