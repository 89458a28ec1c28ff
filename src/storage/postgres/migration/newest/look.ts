import { jobColumns } from "../../record.ts";
import { innerFunction, NOW, plannedFunction } from "./planner.ts";
import { readyPlacesBody } from "./ready-places.ts";
import { isHeld, stateOfJob } from "./unique.ts";

/** What {@link jobColumns} names, by type. */
const JOB_TYPES = [
  ...["bigint", "integer", "text", "text", "text"],
  ...["double precision", "double precision", "double precision"],
  ...["integer", "integer", "integer", "integer", "integer", "integer", "integer"],
  ...["smallint", "boolean"],
  ...["text", "text", "text", "text", "text", "text", "text", "text"],
  ...["smallint", "double precision", "double precision", "text"],
  ...["text", "text", "text"],
];

const JOB_OUT = JOB_TYPES.map((type, index) => `o_${index + 1} ${type}`).join(", ");

/** The shared rest of a job's row `j`. */
function lanesAndPolicies(s: string): string {
  return `left join lateral (select x.* from ${s}.lane as x where x.id = j.lane limit 1) as l on true
    left join lateral (select x.* from ${s}.policy as x where x.id = j.policy limit 1) as p on true`;
}

/**
 * Looking at what is stored. All are stable: whatever they ask, they see one snapshot, that of the call. Row by
 * row, each look into a table is a `limit 1` of its own, so that there is but one way to plan it.
 */
export function lookFunctions(s: string): string {
  return [
    lookFunction(
      s,
      `look_jobs(p_ids bigint[]) returns table (o_n bigint, o_state smallint, o_process text, ${JOB_OUT})`,
      getBody(s),
    ),
    lookFunction(
      s,
      "job_attempts(p_job bigint) returns table (o_entry text, o_entries text)",
      `
begin
  return query select a.entry, null::text from ${s}.attempt as a where a.job = p_job order by a.number;
  return query select null::text, f.attempts from ${s}.finished as f where f.id = p_job and f.attempts is not null;
end`,
    ),
    lookFunction(
      s,
      "job_log(p_job bigint) returns table (o_entry text, o_entries text)",
      `
begin
  return query select a.entry, null::text from ${s}.log as a where a.job = p_job order by a.number;
  return query select null::text, f.log from ${s}.finished as f where f.id = p_job and f.log is not null;
end`,
    ),
    lookFunction(
      s,
      `look_keys(p_now double precision, p_scope text, p_id uuid, p_after uuid, p_rows integer)
  returns table (o_id uuid, o_key text, o_job bigint, o_until double precision, o_held boolean)`,
      `
declare
  v_now double precision := ${NOW};
begin
  return query
  select k.id, k.key, k.job, k.until_at, ${isHeld("k", "k.state", "v_now")}
  from (
    select x.*, ${stateOfJob(s, "x.job")} as state
    from (
      select y.* from ${s}.unique_key as y
      where y.scope collate "C" = p_scope collate "C" and (p_id is null or y.id = p_id) and y.id > p_after
      order by y.scope collate "C", y.id limit p_rows
    ) as x
  ) as k order by k.id;
end`,
    ),
    lookFunction(
      s,
      `see_processes(p_alive double precision) returns table (o_id text, o_name text, o_host text, o_pid integer,
  o_queues text, o_lost_after_ms double precision, o_registered_at double precision, o_silent_ms double precision,
  o_lost boolean, o_running bigint, o_declares text)`,
      `
declare
  v_alive double precision := coalesce(p_alive, (extract(epoch from clock_timestamp()) * 1000)::double precision);
begin
  return query
  select p.id, p.name, p.host, p.pid, p.queues, p.lost_after_ms, p.registered_at, greatest(0, v_alive - p.beat_at),
    p.leaving or v_alive - p.beat_at > p.lost_after_ms, held.n, p.declares
  from ${s}.process as p
  cross join lateral (
    select count(*) as n
    from ${s}.lease as h
    cross join lateral unnest(h.ids, h.generations) as u (id, generation)
    cross join lateral (${runOf(s, "1", "u.id", "coalesce(u.generation, 0)", "h.token")}) as j
    where h.process_id = p.id
  ) as held
  order by p.registered_at, p.id;
end`,
    ),
    innerFunction(
      s,
      "ready_places(p_lanes integer[], p_after bigint, p_rows integer) returns table (o_seq bigint, o_id bigint) stable",
      readyPlacesBody(s),
    ),
    listFunction(
      s,
      "available",
      `
    select 0::double precision as at, r.o_seq as place, null::text as held_by, j.*
    from ${s}.ready_places(v_lanes, p_place, p_rows) as r
    cross join lateral (select x.* from ${s}.job as x where x.id = r.o_id limit 1) as j`,
      (row) => `${row}.place`,
    ),
    listFunction(
      s,
      "scheduled",
      `
    select r.run_at as at, r.id as place, null::text as held_by, j.*
    from (
      select x.run_at, x.id from ${s}.scheduled as x
      where (x.run_at, x.id) > (p_at, p_place) order by x.run_at, x.id limit p_rows
    ) as r
    cross join lateral (select x.* from ${s}.job as x where x.id = r.id limit 1) as j`,
      (row) => `${row}.at, ${row}.place`,
    ),
    listFunction(
      s,
      "blocked",
      `
    select 0::double precision as at, r.id as place, null::text as held_by, j.*
    from (select x.id from ${s}.blocked as x where x.id > p_place order by x.id limit p_rows) as r
    cross join lateral (select x.* from ${s}.job as x where x.id = r.id limit 1) as j`,
      (row) => `${row}.place`,
    ),
    // The ids in all leases are sorted first, so that jobs are looked up only until the page is full.
    listFunction(
      s,
      "running",
      `
    select 0::double precision as at, r.id as place, r.process_id as held_by, j.*
    from (
      select u.id, coalesce(u.generation, 0) as generation, h.token, h.process_id
      from ${s}.lease as h cross join lateral unnest(h.ids, h.generations) as u (id, generation)
      where h.hi > p_place and u.id > p_place order by u.id
    ) as r
    cross join lateral (${runOf(s, "x.*", "r.id", "r.generation", "r.token")}) as j
    order by r.id limit p_rows`,
      (row) => `${row}.place`,
    ),
    listFunction(
      s,
      "finished",
      `
    select 0::double precision as at, j.end_no as place, null::text as held_by, j.*
    from ${s}.finished as j
    where j.state = p_state and j.end_no < p_place order by j.end_no desc limit p_rows`,
      (row) => `${row}.place desc`,
    ),
  ].join("");
}

/** Order and access are given by the indexes; what is asked for is never worth a sort or a bitmap of a table. */
function lookFunction(s: string, signature: string, body: string): string {
  return plannedFunction(s, `${signature}\nstable\nset enable_sort = off\nset enable_bitmapscan = off`, body);
}

/** The job, if its run under this lease goes on. */
function runOf(s: string, columns: string, id: string, generation: string, token: string): string {
  return `select ${columns} from ${s}.job as x where x.id = ${id} and x.generation = ${generation}
      and (x.token is null or x.token = ${token}) limit 1`;
}

// ── Jobs by id ───────────────────────────────────────────────────────────────

function getBody(s: string): string {
  const readyIf = (condition: string): string =>
    `(select true from ${s}.ready as x where ${condition} limit 1)`;
  return `
declare
  v_found bigint;
begin
  return query
  select u.n, w.state, h.process_id, ${jobColumns("job")}
  from unnest(p_ids) with ordinality as u (id, n)
  cross join lateral (select x.* from ${s}.job as x where x.id = u.id limit 1) as j
  cross join lateral (
    select (case
      when (select true from ${s}.scheduled as x where x.run_at = j.run_at and x.id = j.id limit 1) then 1
      when ${readyIf("not x.marked and x.lane = j.lane and x.priority = j.priority and x.seq = j.id")} then 2
      when ${readyIf("x.marked and x.lane = j.lane and x.priority = j.priority and x.seq = j.id")} then 2
      when ${readyIf("x.id = j.id and x.id <> x.seq")} then 2
      when j.limit_id is not null and (select true from ${s}.blocked as x where x.id = j.id limit 1) then 3
      else 4 end)::smallint as state offset 0
  ) as w
  left join lateral (
    select x.process_id from ${s}.lease as x
    where w.state = 4 and int8range(x.lo, x.hi, '[]') @> j.id and j.id = any (x.ids)
      and coalesce(x.generations[array_position(x.ids, j.id)], 0) = j.generation
      and (j.token is null or j.token = x.token)
    limit 1
  ) as h on true
  ${lanesAndPolicies(s)};
  get diagnostics v_found = row_count;
  if v_found < cardinality(p_ids) then
    return query
    select u.n, null::smallint, null::text, ${jobColumns("finished")}
    from unnest(p_ids) with ordinality as u (id, n)
    cross join lateral (
      select x.* from ${s}.finished as x
      where x.id = u.id and (select true from ${s}.job as y where y.id = u.id limit 1) is null limit 1
    ) as j
    ${lanesAndPolicies(s)};
  end if;
end`;
}

// ── Pages ────────────────────────────────────────────────────────────────────

/**
 * One page of a listing: a row for each job that is looked at, in order, and one for a job behind the page when
 * there is one. What is not on the page has a place and nothing else, so a page's texts are bounded by `p_text`.
 *
 * @param candidates `at, place, held_by` and the columns of the jobs, at most `p_rows` of them
 */
function listFunction(
  s: string,
  kind: "available" | "scheduled" | "blocked" | "running" | "finished",
  candidates: string,
  order: (row: string) => string,
): string {
  const signature = `page_${kind}(${kind === "finished" ? "p_state smallint, " : ""}p_queue text, p_name text, p_tag text,
  p_at double precision, p_place bigint, p_limit integer, p_rows integer, p_text bigint)
  returns table (o_at double precision, o_place bigint, o_length bigint, o_process text, ${JOB_OUT})`;
  return lookFunction(
    s,
    signature,
    `
declare
  v_lanes integer[];
begin
  if p_queue is not null or p_name is not null then
    v_lanes := array(
      select l.id from ${s}.lane as l
      where (p_queue is null or l.queue = p_queue) and (p_name is null or l.name = p_name));
    if cardinality(v_lanes) = 0 then
      return;
    end if;
  end if;
  return query
  with candidate as materialized (${candidates}
  ), measured as materialized (
    select c.*, octet_length(c.payload)::bigint + coalesce(octet_length(c.result), 0) as length,
      (v_lanes is null or c.lane = any (v_lanes)) and (p_tag is null or exists (
        select from json_array_elements(c.tags::json) as e (tag) where e.tag::text = p_tag)) as fits
    from candidate as c
  ), summed as (
    select m.*, count(*) filter (where m.fits) over before as jobs_before,
      coalesce(sum(m.length) filter (where m.fits) over before, 0) as length_before
    from measured as m
    window before as (order by ${order("m")} rows between unbounded preceding and 1 preceding)
  )
  select c.at, c.place, c.length, c.held_by, ${jobColumns(kind === "finished" ? "finished" : "job")}
  from summed as c
  left join lateral (select c.* where c.fits and c.jobs_before < p_limit and c.length_before < p_text) as j on true
  ${lanesAndPolicies(s)}
  order by ${order("c")};
end`,
  );
}
