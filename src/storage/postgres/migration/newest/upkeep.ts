import { limits } from "../../../../job/limits.ts";
import { quoteRelation } from "../../quoting.ts";
import { claimedJobText } from "./claim.ts";
import { dayFunctions } from "./days.ts";
import { forgetGiven } from "./finish.ts";
import { holdsRuns, reportsRuns } from "./heads.ts";
import { ALIVE, innerFunction, NOW, plannedFunction } from "./planner.ts";
import { isHeld, stateOfJob } from "./unique.ts";

/**
 * What any process may do at any time, several at once: whatever another one has locked is passed by, so that
 * upkeep waits for nobody and nobody waits long for it.
 */
export function upkeepFunctions(s: string): string {
  return [promote(s), rescue(s), prune(s), tidyKeys(s), tidy(s), dayFunctions(s)].join("");
}

// ── From scheduled to available ──────────────────────────────────────────────

/** Answers how many became available or blocked, when the first that is left is due, and the first schedule. */
function promote(s: string): string {
  return plannedFunction(
    s,
    `promote_due(p_now double precision, p_limit integer)
    returns table (promoted integer, next_at double precision, tick_at double precision)`,
    `
declare
  v_now double precision := ${NOW};
  v_freed uuid[] := '{}';
  v_keyed bigint[];
  v_seqs bigint[];
  v_lanes integer[];
  v_let_in integer[];
  v_queues text[];
  v_names text[];
begin
  promoted := 0;
  select (select min(run_at) from ${s}.scheduled), (select min(s.next_at) from ${s}.schedule as s) into next_at, tick_at;
  if next_at <= v_now and p_limit > 0 then
    with due as materialized (
      select ctid as place, run_at, id, lane, generation, priority, marked, limit_id from ${s}.scheduled
      where run_at <= v_now order by run_at, id limit p_limit for update skip locked
    ), gone as (
      delete from ${s}.scheduled where ctid = any (array (select place from due))
    ), numbered as materialized (
      select nextval(${quoteRelation(s, "seq")}::regclass) as seq, d.* from (select * from due order by run_at, id) as d
    ), placed as (
      insert into ${s}.ready (seq, id, lane, generation, priority, marked)
      select seq, id, lane, generation, priority, marked from numbered where limit_id is null order by seq
    ), counted as (
      insert into ${s}.tally (lane, src, dst, n)
      select lane, 1, 2, count(*) from numbered where limit_id is null group by lane
    )
    select count(*), array_agg(distinct lane) filter (where limit_id is null),
        array_agg(id order by seq) filter (where limit_id is not null),
        array_agg(seq order by seq) filter (where limit_id is not null)
      into promoted, v_lanes, v_keyed, v_seqs from numbered;
  end if;
  if v_keyed is not null or exists (select from ${s}.freed) then
    -- All keys in one go, as their locks have an order.
    v_freed := ${s}.take_freed();
    perform ${s}.lock_limits(v_freed || array (select j.limit_id from ${s}.job as j where j.id = any (v_keyed)));
    perform ${s}.admit(v_freed);
    v_let_in := ${s}.let_in(v_keyed, v_seqs);
  end if;
  if promoted > 0 then
    select array_agg(l.queue), array_agg(l.name) into v_queues, v_names
      from ${s}.lane as l where l.id = any (v_lanes || v_let_in);
    if v_queues is not null then
      perform ${s}.tell_available(v_queues, v_names);
    end if;
    next_at := (select min(run_at) from ${s}.scheduled);
  end if;
  return next;
end`,
  );
}

// ── From lost processes ──────────────────────────────────────────────────────

/** Leases looked at beyond the limit of jobs, to find out that nothing is left of a process. */
const LEASES_BEYOND = 100;

/**
 * Rows of processes are locked before those of their leases, as by whoever leaves. Which leases have no process
 * is found by steps from one process to the next: there may be many leases.
 */
function rescue(s: string): string {
  const isLost = "(p.leaving or v_alive - p.beat_at > p.lost_after_ms)";
  return plannedFunction(
    s,
    `rescue(p_alive double precision, p_process text, p_token text, p_limit integer)
    returns table (c_process text, c_started boolean, c_at double precision, c_queue text, c_name text, c_job text)`,
    `
declare
  v_alive double precision := ${ALIVE};
  v_lost text[];
  v_key record;
  v_lease ${s}.lease;
  v_left integer := p_limit;
  v_beyond integer := ${LEASES_BEYOND};
  v_part integer;
  v_ids bigint[];
  v_ords integer[];
begin
  -- Who is lost itself could not be trusted to decide about the jobs.
  if not exists (select from ${s}.process as p where p.id = p_process and not ${isLost}) then
    return;
  end if;
  v_lost := array (select p.id from ${s}.process as p where ${isLost} for update skip locked);
  with recursive holder (id) as (
    select min(x.process_id) from ${s}.lease as x
    union all
    select (select min(x.process_id) from ${s}.lease as x where x.process_id > h.id) from holder as h where h.id is not null
  )
  select v_lost || coalesce(array_agg(h.id), '{}') into v_lost
    from holder as h where h.id is not null and not exists (select from ${s}.process as p where p.id = h.id);
  if cardinality(v_lost) = 0 then
    return;
  end if;

  select coalesce(max(x.part) + 1, 0) into v_part from ${s}.lease as x where x.token = p_token;
  for v_key in
    select x.token, x.part from ${s}.lease as x where x.process_id = any (v_lost) order by x.claimed_at, x.token, x.part
  loop
    select * into v_lease from ${s}.lease as x where x.token = v_key.token and x.part = v_key.part for update skip locked;
    continue when not found;
    if v_left < 1 then
      exit when v_beyond < 1;
      v_beyond := v_beyond - 1;
    end if;

    with mine as materialized (
      select j.id, u.ord
      from unnest(v_lease.ids) with ordinality as u (id, ord)
      join ${s}.job as j on j.id = u.id and j.generation = coalesce(v_lease.generations[u.ord], 0)
        and (j.token is null or j.token = v_lease.token)
      order by j.id limit greatest(v_left, 0) for update of j skip locked
    ), moved as (
      update ${s}.job as j set token = p_token from mine where j.id = mine.id
    )
    select array_agg(id order by ord), array_agg(ord::integer order by ord) into v_ids, v_ords from mine;

    if v_ids is not null then
      insert into ${s}.lease (claimed_at, lo, hi, part, token, process_id, claimed_by, origin, ids, generations, seqs)
      select v_lease.claimed_at, min(u.id), max(u.id), v_part, p_token, p_process, v_lease.claimed_by, v_lease.origin,
        v_ids,
        case when v_lease.generations is not null then array_agg(v_lease.generations[u.at] order by u.ord) end,
        case when v_lease.seqs is not null then array_agg(v_lease.seqs[u.at] order by u.ord) end
      from unnest(v_ids, v_ords) with ordinality as u (id, at, ord);
      update ${s}.ask set process_id = p_process where ask.job = any (v_ids);
      v_part := v_part + 1;
      v_left := v_left - cardinality(v_ids);
      return query
        with started as materialized (
          select u.id, u.generation, min(y.at) as at
          from ${s}.start as y, unnest(y.ids, y.generations) as u (id, generation)
          where y.origin = v_lease.origin group by u.id, u.generation
        )
        select v_lease.claimed_by, j.marked or st.at is not null, coalesce(st.at, v_lease.claimed_at), l.queue, l.name,
          ${claimedJobText(s, "1")}
        from unnest(v_ids) with ordinality as u (id, ord)
        cross join lateral (select * from ${s}.job where job.id = u.id offset 0) as j
        join ${s}.lane as l on l.id = j.lane
        left join started as st on st.id = j.id and st.generation = j.generation
        order by u.ord;
    end if;

    if not exists (select from ${s}.lease as x where x.token = v_key.token and x.part = v_key.part and ${holdsRuns(s)}) then
      delete from ${s}.start as y where y.origin = v_lease.origin and not ${reportsRuns(s)};
      delete from ${s}.lease as x where x.token = v_key.token and x.part = v_key.part;
    end if;
  end loop;

  with gone as (
    delete from ${s}.process as p
    where p.id = any (v_lost) and ${isLost} and not exists (select from ${s}.lease as x where x.process_id = p.id)
    returning p.id
  )
  delete from ${s}.waiter as w using gone where w.process_id = gone.id;
end`,
  );
}

// ── Out ──────────────────────────────────────────────────────────────────────

/** Remove finished jobs that go row by row, those that expired first. */
function prune(s: string): string {
  return plannedFunction(
    s,
    "prune(p_now double precision, p_limit integer) returns integer",
    `
declare
  v_now double precision := ${NOW};
  v_n integer;
  v_keys uuid[];
  v_jobs bigint[];
begin
  with old as materialized (
    select f.ctid as place from ${s}.finished_row as f where f.expires_at <= v_now
    order by f.expires_at limit p_limit for update skip locked
  ), gone as materialized (
    delete from ${s}.finished_row where ctid = any (array (select place from old)) returning id, lane, state, given_id, key_id
  ), counted as (
    insert into ${s}.tally (lane, src, dst, n) select lane, state, 0, count(*) from gone group by lane, state
  ), forgotten as (
    ${forgetGiven(s, "gone")}
  )
  select count(*), array_agg(key_id) filter (where key_id is not null), array_agg(id) filter (where key_id is not null)
    into v_n, v_keys, v_jobs from gone;
  if v_keys is not null then
    perform ${s}.free_keys(v_keys, v_jobs, v_now, true);
  end if;
  return v_n;
end`,
  );
}

/** Old rows of each kind forgotten in one step. */
const TIDY_ROWS = 1_000;
/** The first of all. */
const NO_UUID = "00000000-0000-0000-0000-000000000000";
/** Leases, and reports of starts, looked at in one step. */
const TIDY_LEASES = 50;
/** A lease is the business of those who hold it for a while. */
const LEASE_REST_MS = 60_000;

/** Pages of keys looked at in one step, as long as most of each were to be forgotten. */
const TIDY_PAGES = 10;

/** Keys that neither a job nor a time holds, and that have nothing for an heir. Answers from which id to go on. */
function tidyKeys(s: string): string {
  const isOver = `not ${isHeld("k", "k.state", "p_now")} and (k.state is null or not k.inherits and k.state > 4)`;
  const judged = (which: string): string =>
    `(select x.ctid as place, x.*, ${stateOfJob(s, "x.job")} as state from ${s}.unique_key as x where ${which})`;
  return innerFunction(
    s,
    "tidy_keys(p_from uuid, p_now double precision) returns uuid",
    `
declare
  v_from uuid := p_from;
  v_ids uuid[];
  v_places tid[];
begin
  for v_page in 1 .. ${TIDY_PAGES} loop
    v_ids := array (select k.id from ${s}.unique_key as k where k.id > v_from order by k.id limit ${TIDY_ROWS});
    v_ids := array (select k.id from ${judged("x.id = any (v_ids)")} as k where ${isOver}) || v_ids[${TIDY_ROWS}];
    v_from := v_ids[cardinality(v_ids)];
    v_places := array (select k.ctid from ${s}.unique_key as k where k.id = any (v_ids) for update skip locked);
    -- Once more, in a statement that sees who has taken them until they were locked.
    delete from ${s}.unique_key where ctid = any (array (
      select k.place from ${judged("x.ctid = any (v_places)")} as k where ${isOver}));
    exit when v_from is null or cardinality(v_ids) < ${TIDY_ROWS / 2};
  end loop;
  return v_from;
end`,
  );
}

/**
 * Forget what is over: batches, waiting that nobody ended, asks of runs that ended meanwhile, unique keys that
 * nobody let go of, and leases that a process has let go of without a word. Answers from where to go on the next time.
 */
function tidy(s: string): string {
  return plannedFunction(
    s,
    "tidy(p_now double precision, p_alive double precision, p_from text) returns text",
    `
declare
  v_now double precision := ${NOW};
  v_from text := split_part(p_from, E'\\x1f', 1);
  v_key uuid := coalesce(nullif(split_part(p_from, E'\\x1f', 2), '')::uuid, '${NO_UUID}');
  v_tokens text[];
  v_origins text[];
begin
  v_key := ${s}.tidy_keys(v_key, v_now);
  delete from ${s}.batch where ctid = any (array (
    select ctid from ${s}.batch where at <= v_now - ${limits.batchMemoryMs} order by at limit ${TIDY_ROWS} for update skip locked));
  delete from ${s}.awaited where ctid = any (array (
    select ctid from ${s}.awaited where until_at < ${ALIVE} limit ${TIDY_ROWS} for update skip locked));
  delete from ${s}.ask where ctid = any (array (
    select a.ctid from ${s}.ask as a
    where not exists (select from ${s}.job as j where j.id = a.job and j.generation = a.generation)
    limit ${TIDY_ROWS} for update of a skip locked));

  -- A start outlives its lease only where something went wrong between the two.
  v_origins := array (select y.origin from ${s}.start as y where y.origin > v_from order by y.origin limit ${TIDY_LEASES});
  delete from ${s}.start where ctid = any (array (
    select y.ctid from ${s}.start as y where y.origin = any (v_origins) and not ${reportsRuns(s)} for update skip locked));
  v_tokens := array (select x.token from ${s}.lease as x where x.token > v_from order by x.token limit ${TIDY_LEASES});
  delete from ${s}.lease where ctid = any (array (
    select x.ctid from ${s}.lease as x
    where x.token = any (v_tokens) and x.claimed_at < v_now - ${LEASE_REST_MS} and not ${holdsRuns(s)} for update skip locked));
  -- The one that got less far; from the beginning when both are through.
  return coalesce(least(v_origins[${TIDY_LEASES}], v_tokens[${TIDY_LEASES}]), '') || coalesce(E'\\x1f' || v_key, '');
end`,
  );
}
