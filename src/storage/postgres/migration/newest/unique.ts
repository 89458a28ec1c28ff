import { innerFunction, NOW, plannedFunction } from "./planner.ts";

/** Of our own, to take back what was done since the last `begin`. */
const ONCE_MORE = "JW001";
const TRIES = 100;

/**
 * Unique keys. A key is held as the state of the job says that took it last, so nobody has to let go of it: rows that
 * are deleted with their job's end are only tidied up, and whoever does it passes by what others have locked.
 *
 * Who finds a key held answers so without a lock, for that was true while he looked. Where it is held only as long
 * as its job waits, he locks the job's row and place for key share until his transaction ends: a claim passes by,
 * and comes after what he has written. Who finds keys free locks their rows in one order, and looks again behind
 * the locks. The order of all locks is: rows of jobs by id, `scheduled`, `ready`, `blocked`, `finished`, rows of keys
 * by id, locks of limit keys.
 */
export function uniqueFunctions(s: string): string {
  return [keyHolders(s), takeKeys(s), keepKeys(s), freeKeys(s), retakeKeys(s)].join("");
}

/** States as they stand in one snapshot; null when the job is not kept. */
export function stateOfJob(s: string, job: string): string {
  // Not `exists`: some plans would read the whole table to answer it.
  const readyIf = (condition: string): string =>
    `(select true from ${s}.ready as x where ${condition} limit 1)`;
  return `coalesce(
      (select case
          when (select true from ${s}.scheduled as x where x.run_at = j.run_at and x.id = j.id limit 1) then 1
          when ${readyIf("not x.marked and x.lane = j.lane and x.priority = j.priority and x.seq = j.id")} then 2
          when ${readyIf("x.marked and x.lane = j.lane and x.priority = j.priority and x.seq = j.id")} then 2
          when ${readyIf("x.id = j.id and x.id <> x.seq")} then 2
          when j.limit_id is not null and (select true from ${s}.blocked as x where x.id = j.id limit 1) then 3
          else 4 end::smallint
        from ${s}.job as j where j.id = ${job}),
      (select f.state from ${s}.finished as f where f.id = ${job} limit 1))`;
}

/** Whether a key is held, as \`isHeld\` in \`job/key.ts\` says. */
export function isHeld(key: string, state: string, now: string): string {
  return `(coalesce(${key}.until_at > ${now}, false)
      or coalesce(${state} < 5 and ${key}.holds <> 0 and (${key}.holds = 2 or ${state} <> 4), false))`;
}

function keyHolders(s: string): string {
  return innerFunction(
    s,
    `key_holders(p_ids uuid[], p_now double precision)
    returns table (o_id uuid, o_job bigint, o_holds smallint, o_state smallint, o_held boolean)`,
    `
begin
  return query
    select h.id, h.job, h.holds, h.state, ${isHeld("h", "h.state", "p_now")}
    from (
      select k.*, ${stateOfJob(s, "k.job")} as state from ${s}.unique_key as k where k.id = any (p_ids)
    ) as h;
end`,
  );
}

/**
 * Keys are \`{i: id, s: scope, k: key, r: whether a holder that waits would be replaced}\`, each once. Those that are
 * free are taken: their rows are locked, and made where there were none. The answer is, for each in the order of ids,
 * \`[job, state, whether it is held, queue, name]\`, with nulls for what is not there; or the answer to the batch.
 */
function takeKeys(s: string): string {
  return plannedFunction(
    s,
    "take_keys(p_batch text, p_now double precision, p_keys json) returns text",
    `
declare
  v_answer text;
  v_now double precision := ${NOW};
  v_ids uuid[];
  v_replaces boolean[];
  v_held uuid[];
  v_looked uuid[];
  v_jobs bigint[];
  v_row record;
begin
  select answer into v_answer from ${s}.batch where id = p_batch;
  if found then
    return v_answer;
  end if;
  select array_agg(k.i order by k.i), array_agg(k.r order by k.i) into v_ids, v_replaces
    from json_to_recordset(p_keys) as k (i uuid, r boolean);
  -- Again when somebody else was quicker. What was locked is let go of first: to hold it and take the missing ones
  -- would be out of order.
  for v_try in 1 .. ${TRIES} loop
    begin
      v_held := array (select h.o_id from ${s}.key_holders(v_ids, v_now) as h where h.o_held order by h.o_id);
      v_jobs := '{}';
      for v_row in
        select h.o_job, bool_or(v_replaces[width_bucket(h.o_id, v_ids)]) as replaces
        from ${s}.key_holders(v_held, v_now) as h
        where h.o_state < 4 and (h.o_holds = 1 or v_replaces[width_bucket(h.o_id, v_ids)])
        group by h.o_job order by h.o_job
      loop
        v_jobs := v_jobs || v_row.o_job;
        if v_row.replaces then
          perform from ${s}.job where id = v_row.o_job for update;
        else
          perform from ${s}.job where id = v_row.o_job for key share;
        end if;
      end loop;
      if cardinality(v_jobs) > 0 then
        perform from ${s}.job as j join ${s}.scheduled as w on w.run_at = j.run_at and w.id = j.id
          where j.id = any (v_jobs) for key share of w;
        perform from ${s}.job as j join ${s}.ready as r on r.lane = j.lane and r.priority = j.priority and r.seq = j.id
          where j.id = any (v_jobs) and not r.marked for key share of r;
        perform from ${s}.job as j join ${s}.ready as r on r.lane = j.lane and r.priority = j.priority and r.seq = j.id
          where j.id = any (v_jobs) and r.marked for key share of r;
        perform from ${s}.ready where id = any (v_jobs) and id <> seq for key share;
        perform from ${s}.blocked where id = any (v_jobs) for key share;
      end if;
      -- Rows that will be written are locked, all of them together; of the others the answer is all that is wanted.
      v_looked := array (
        select h.o_id from ${s}.key_holders(v_held, v_now) as h
        where not coalesce(h.o_state < 4 and v_replaces[width_bucket(h.o_id, v_ids)], false) order by h.o_id);
      insert into ${s}.unique_key as k (id, job, holds, inherits, scope, key)
        select u.i, 0, 0, false, u.s, u.k from json_to_recordset(p_keys) as u (i uuid, s text, k text)
        where coalesce(v_looked[width_bucket(u.i, v_looked)] <> u.i, true) order by u.i
        on conflict (id) do update set job = k.job;
      -- A statement of its own: it sees what was committed while a lock was waited for.
      select count(*) as found, count(*) filter (
          where h.o_held <> coalesce(v_held[width_bucket(h.o_id, v_held)] = h.o_id, false)
            or h.o_held and h.o_state < 4 and h.o_job <> all (v_jobs)
              and (h.o_holds = 1 or v_replaces[width_bucket(h.o_id, v_ids)])
            or h.o_job = any (v_jobs) and coalesce(h.o_state, 7) > 3) as changed,
        json_agg(json_build_array(nullif(h.o_job, 0), h.o_state, h.o_held, l.queue, l.name) order by h.o_id)::text as answer
      into v_row
      from ${s}.key_holders(v_ids, v_now) as h
      left join ${s}.job as j on j.id = h.o_job
      left join ${s}.lane as l on l.id = j.lane;
      if v_row.changed = 0 and v_row.found = cardinality(v_ids) then
        return v_row.answer;
      end if;
      raise 'once more' using errcode = '${ONCE_MORE}';
    exception when sqlstate '${ONCE_MORE}' then
      -- All of it is taken back.
    end;
  end loop;
  raise 'unique keys come and go too fast' using errcode = 'serialization_failure';
end`,
  );
}

/**
 * The keys of stored and replaced jobs; of job 0 those that were taken for nobody. Times are in ms from now, or
 * infinity, or null for none. What the job before left is handed on.
 */
function keepKeys(s: string): string {
  return plannedFunction(
    s,
    `keep_keys(p_batch text, p_now double precision, p_answer text, p_jobs bigint[], p_ids uuid[], p_holds smallint[],
      p_for double precision[], p_inherits boolean[], p_heirs boolean[]) returns text`,
    `
declare
  v_now double precision := ${NOW};
begin
  delete from ${s}.unique_key as k using unnest(p_jobs, p_ids) as u (job, id)
    where u.job = 0 and k.id = u.id and k.job = 0;
  if true = any (p_heirs) then
    with heir as materialized (
      select u.job, f.checkpoint::json as checkpoint
      from unnest(p_jobs, p_ids, p_heirs) as u (job, id, is_heir)
      join ${s}.unique_key as k on k.id = u.id
      join ${s}.finished as f on f.id = k.job
      where u.is_heir and u.job > 0 and k.job <> u.job and f.checkpoint is not null
    ), handed as (
      insert into ${s}.checkpoint (job, key, value, bytes)
      select h.job, e.entry ->> 0, e.entry ->> 1, (e.entry ->> 2)::integer
      from heir as h cross join lateral json_array_elements(h.checkpoint) as e (entry)
      returning job, bytes
    )
    update ${s}.job as j set checkpoint_bytes = b.bytes
      from (select job, sum(bytes) as bytes from handed group by job) as b where j.id = b.job;
  end if;
  update ${s}.unique_key as k
    set job = u.job, holds = u.holds, until_at = v_now + u.for_ms, inherits = u.inherits
    from unnest(p_jobs, p_ids, p_holds, p_for, p_inherits) as u (job, id, holds, for_ms, inherits)
    where u.job > 0 and k.id = u.id;
  if p_batch is not null then
    insert into ${s}.batch (id, at, answer) values (p_batch, v_now, p_answer) on conflict do nothing;
    if not found then
      raise 'batch % was stored meanwhile', p_batch using errcode = 'serialization_failure';
    end if;
  end if;
  return '';
end`,
  );
}

/** The rows of jobs that have ended are tidied up, unless time needs them, or an heir for whom the job is still kept. */
function freeKeys(s: string): string {
  return innerFunction(
    s,
    "free_keys(p_ids uuid[], p_jobs bigint[], p_now double precision, p_gone boolean) returns void",
    `
begin
  delete from ${s}.unique_key where ctid = any (array (
    select k.ctid from ${s}.unique_key as k
    where k.id = any (p_ids) and k.job = any (p_jobs) and (p_gone or not k.inherits) and coalesce(k.until_at <= p_now, true)
    for update skip locked));
end`,
  );
}

/** Finished jobs that run again hold their keys again. Answers those whose key another job holds. */
function retakeKeys(s: string): string {
  return plannedFunction(
    s,
    "retake_keys(p_now double precision, p_jobs bigint[]) returns setof bigint",
    `
declare
  v_now double precision := ${NOW};
  v_ids uuid[];
begin
  v_ids := array (
    select f.key_id from ${s}.finished as f
    where f.id = any (p_jobs) and f.key_id is not null and f.extra::json -> 'unique' ->> 'while' is not null
    order by f.key_id);
  if cardinality(v_ids) = 0 then
    return;
  end if;
  insert into ${s}.unique_key as k (id, job, holds, inherits, scope, key)
    select distinct on (f.key_id) f.key_id, 0, 0, false,
      f.extra::json -> 'unique' ->> 'scope', f.extra::json -> 'unique' ->> 'key'
    from ${s}.finished as f where f.id = any (p_jobs) and f.key_id = any (v_ids) order by f.key_id
    on conflict (id) do update set job = k.job;
  update ${s}.unique_key as k
    set job = f.id, holds = case f.extra::json -> 'unique' ->> 'while' when 'live' then 2 else 1 end,
      inherits = coalesce(f.extra::json -> 'unique' ->> 'inherit' = 'true', false),
      until_at = case when k.job = f.id then k.until_at end
    from (
      select distinct on (f.key_id) f.* from ${s}.finished as f
      where f.id = any (p_jobs) and f.key_id = any (v_ids) order by f.key_id, array_position(p_jobs, f.id)
    ) as f
    where k.id = f.key_id and (k.job = f.id or not (select h.o_held from ${s}.key_holders(array[k.id], v_now) as h));
  return query
    select f.id from ${s}.finished as f join ${s}.unique_key as k on k.id = f.key_id
    where f.id = any (p_jobs) and f.key_id = any (v_ids) and k.job <> f.id;
end`,
  );
}
