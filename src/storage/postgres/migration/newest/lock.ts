import { jobColumns } from "../../record.ts";
import { plannedFunction } from "./planner.ts";

/** Looking at jobs that nobody else may move meanwhile. */
export function lockFunctions(s: string): string {
  return [holdJobs(s), holdRuns(s), settledBefore(s)].join("");
}

/** The instant of a change: after its locks, so that what waited for another has a later one. */
const NOW_LOCKED = "coalesce(p_now, floor(extract(epoch from clock_timestamp()) * 1000)::double precision)";

/** The columns of a job without the texts that no rule reads; of a result only whether there is one. */
function headColumns(from: "job" | "finished"): string {
  return jobColumns(from)
    .replace("j.payload", "''::text")
    .replace("j.result", "case when j.result is not null then ''::text end");
}

/** The types of these columns, for the functions that answer with them after columns of their own. */
const JOB_RESULT = (
  "bigint integer text text text double double double integer integer integer integer integer integer integer " +
  "smallint boolean text text text text text text text text smallint double double text text text text"
)
  .split(" ")
  .map((type, index) => `c${index} ${type === "double" ? "double precision" : type}`)
  .join(", ");

/**
 * Jobs, wherever they are, locked. `place` is a state's number, or 0 for an unfinished job that is nowhere, which
 * only damage can bring about. `tid` is the row of `scheduled` or `ready`.
 */
function holdJobs(s: string): string {
  return plannedFunction(
    s,
    `hold_jobs(p_now double precision, p_ids bigint[])
    returns table (at double precision, place integer, tid text, place_seq bigint, holder text, ${JOB_RESULT})`,
    `
declare
  v_locked bigint[];
  v_ended bigint[];
begin
  v_locked := array (select id from ${s}.job where id = any (p_ids) order by id for update);
  perform from ${s}.job as j join ${s}.scheduled as w on w.run_at = j.run_at and w.id = j.id
    where j.id = any (v_locked) for update of w;
  perform from ${s}.job as j join ${s}.ready as r on r.lane = j.lane and r.priority = j.priority and r.seq = j.id
    where j.id = any (v_locked) and not r.marked for update of r;
  perform from ${s}.job as j join ${s}.ready as r on r.lane = j.lane and r.priority = j.priority and r.seq = j.id
    where j.id = any (v_locked) and r.marked for update of r;
  perform from ${s}.ready where id = any (v_locked) and id <> seq for update;
  perform from ${s}.blocked where id = any (v_locked) for update;
  v_ended := array (select id from ${s}.finished where id = any (p_ids) and id <> all (v_locked) order by id for update);
  -- It was finished when we looked among the others, and someone brought it back before we looked there.
  if exists (select from ${s}.job where id = any (p_ids) and id <> all (v_locked)) then
    raise 'a job was retried while it was looked for' using errcode = 'serialization_failure';
  end if;

  return query
    select ${NOW_LOCKED},
      case when w.id is not null then 1 when r.seq is not null then 2 when b.seq is not null then 3
        when x.process_id is not null then 4 else 0 end,
      coalesce(w.ctid, r.ctid)::text, coalesce(r.seq, b.seq), x.process_id, ${headColumns("job")}
    from ${s}.job as j
    join ${s}.lane as l on l.id = j.lane
    left join ${s}.policy as p on p.id = j.policy
    left join ${s}.scheduled as w on w.run_at = j.run_at and w.id = j.id
    left join lateral (
      select r.ctid, r.seq from ${s}.ready as r
      where r.lane = j.lane and r.priority = j.priority and r.seq = j.id and not r.marked
      union all
      select r.ctid, r.seq from ${s}.ready as r
      where r.lane = j.lane and r.priority = j.priority and r.seq = j.id and r.marked
      union all
      select r.ctid, r.seq from ${s}.ready as r where r.id = j.id and r.id <> r.seq
    ) as r on w.id is null
    left join ${s}.blocked as b on b.id = j.id and j.limit_id is not null
    left join lateral (
      select x.process_id from ${s}.lease as x
      where int8range(x.lo, x.hi, '[]') @> j.id and j.id = any (x.ids)
        and coalesce(x.generations[array_position(x.ids, j.id)], 0) = j.generation
        and (j.token is null or j.token = x.token)
      limit 1
    ) as x on w.id is null and r.seq is null and b.seq is null
    where j.id = any (v_locked);
  if cardinality(v_ended) > 0 then
    return query
      select ${NOW_LOCKED}, j.state::integer, null::text, null::bigint, null::text, ${headColumns("finished")}
      from ${s}.finished as j
      join ${s}.lane as l on l.id = j.lane
      left join ${s}.policy as p on p.id = j.policy
      where j.id = any (v_ended);
  end if;
end`,
  );
}

/** The runs that stand among those named, with their jobs, locked: by ordinal. */
function holdRuns(s: string): string {
  return plannedFunction(
    s,
    `hold_runs(p_now double precision, p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[])
    returns table (ordinal bigint, at double precision, place_seq bigint, holder text, ran_by text, ${JOB_RESULT})`,
    `
begin
  perform from ${s}.job where id = any (p_ids) order by id for update;
  return query
    select u.ord, ${NOW_LOCKED}, x.seq, x.process_id, x.claimed_by, ${headColumns("job")}
    from unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, token_index, ord)
    join ${s}.job as j on j.id = u.id and j.generation = u.generation
      and (j.token is null or j.token = p_tokens[u.token_index])
    cross join lateral (
      select x.process_id, x.claimed_by, coalesce(x.seqs[array_position(x.ids, j.id)], j.id) as seq
      from ${s}.lease as x
      where x.token = p_tokens[u.token_index] and j.id between x.lo and x.hi and j.id = any (x.ids)
        and coalesce(x.generations[array_position(x.ids, j.id)], 0) = j.generation
      limit 1
    ) as x
    join ${s}.lane as l on l.id = j.lane
    left join ${s}.policy as p on p.id = j.policy;
end`,
  );
}

/** Which of these leases ended the last run of their jobs: their settles are repeated because an answer was lost. */
function settledBefore(s: string): string {
  return plannedFunction(
    s,
    "settled_before(p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[]) returns setof bigint",
    `
begin
  return query
    -- Joins: some versions answer \`exists … or exists …\` by reading both tables from end to end.
    select u.ord
    from unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, token_index, ord)
    join ${s}.job as j on j.id = u.id
    where j.settled_by = p_tokens[u.token_index] and j.settled_generation = u.generation
    union all
    select u.ord
    from unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, token_index, ord)
    join ${s}.finished as f on f.id = u.id
    where f.settled_by = p_tokens[u.token_index] and f.settled_generation = u.generation;
end`,
  );
}
