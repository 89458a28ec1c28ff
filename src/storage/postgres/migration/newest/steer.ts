import { limits } from "../../../../job/limits.ts";
import { headFunctions } from "./heads.ts";
import { lockFunctions } from "./lock.ts";
import { plannedFunction } from "./planner.ts";

/**
 * Ends that need the rules, and what operators do. Everyone takes locks in one order: rows of jobs by id, those of
 * `scheduled`, those of `ready`, those of `blocked`, those of `finished` by id, and then keys. Claims pass by what is locked and lock no jobs, so they
 * wait for nobody. Under these locks a job stays where it is; each look is a statement of its own, because only
 * then it sees what was committed while the lock before it was waited for.
 */
export function steerFunctions(s: string): string {
  return [lockFunctions(s), headFunctions(s), note(s), configure(s)].join("");
}

/**
 * Entries are \`{k: key as JSON, v: value or null, b: bytes}\`, lines of the log JSON objects. The answer is \`saved\`,
 * \`stale\`, or how many bytes the checkpoint would have had, when that is too many.
 */
function note(s: string): string {
  const entries = "json_to_recordset(p_entries) as e (k text, v text, b integer)";
  return plannedFunction(
    s,
    `save_note(p_id bigint, p_generation integer, p_token text, p_position integer, p_entries json, p_result text,
    p_progress text, p_log json) returns text`,
    `
declare
  v_bytes integer;
  v_lines integer;
begin
  perform from ${s}.job where id = p_id for update;
  if not exists (
    select from ${s}.standing(array[p_id], array[p_generation], array[p_token], array[1], array[p_position])
  ) then
    return 'stale';
  end if;
  if p_entries is not null then
    select j.checkpoint_bytes
      - coalesce((select sum(c.bytes) from ${entries} join ${s}.checkpoint as c on c.job = p_id and c.key = e.k), 0)
      + coalesce((select sum(e.b) from ${entries} where e.v is not null), 0)
    into v_bytes from ${s}.job as j where j.id = p_id;
    if v_bytes > ${limits.checkpointBytes} then
      return v_bytes::text;
    end if;
    delete from ${s}.checkpoint as c using ${entries} where c.job = p_id and c.key = e.k;
    insert into ${s}.checkpoint (job, key, value, bytes) select p_id, e.k, e.v, e.b from ${entries} where e.v is not null;
  end if;
  if p_log is not null then
    select coalesce(j.lines, 0) + json_array_length(p_log) into v_lines from ${s}.job as j where j.id = p_id;
    insert into ${s}.log (job, number, entry)
      select p_id, j.lines_before + u.ord, '[' || j.lines_before + u.ord || ',' || j.attempt + 1 || ',' || u.line || ']'
      from (select coalesce(x.lines, 0) as lines_before, x.attempt from ${s}.job as x where x.id = p_id) as j,
        json_array_elements(p_log) with ordinality as u (line, ord)
      where j.lines_before + u.ord > v_lines - ${limits.logLines};
    delete from ${s}.log where job = p_id and number <= v_lines - ${limits.logLines};
  end if;
  update ${s}.job set checkpoint_bytes = coalesce(v_bytes, checkpoint_bytes), result = coalesce(p_result, result),
    progress = coalesce(p_progress, progress), lines = coalesce(v_lines, lines)
    where id = p_id;
  return 'saved';
end`,
  );
}

/** Pause and resume. Whoever waits for jobs hears of those that can be claimed again. */
function configure(s: string): string {
  return plannedFunction(
    s,
    "configure(p_queue text, p_name text, p_paused boolean) returns void",
    `
declare
  v_queues text[];
  v_names text[];
begin
  if p_name is null then
    insert into ${s}.queue (name, paused) values (p_queue, p_paused)
      on conflict (name) do update set paused = excluded.paused;
  else
    perform ${s}.lane_of(p_queue, p_name);
    update ${s}.lane set paused = p_paused where queue = p_queue and name = p_name;
  end if;
  if p_paused then
    return;
  end if;
  select array_agg(l.queue), array_agg(l.name) into v_queues, v_names
    from ${s}.lane as l
    where l.queue = p_queue and (p_name is null or l.name = p_name)
      and (exists (select from ${s}.ready as r where r.lane = l.id and not r.marked)
        or exists (select from ${s}.ready as r where r.lane = l.id and r.marked));
  if v_queues is not null then
    perform ${s}.tell_available(v_queues, v_names);
  end if;
end`,
  );
}
