import { holdsRuns, reportsRuns } from "./heads.ts";
import { ALIVE, NOW, plannedFunction } from "./planner.ts";

/** Processes showing that they live. The answer: `known, asks (JSON or empty), ordinals of the leases that stand`. */
export function beatFunctions(s: string): string {
  return plannedFunction(
    s,
    `beat(p_now double precision, p_alive double precision, p_id text, p_name text, p_host text, p_pid integer,
      p_lost_after_ms double precision, p_queues text, p_first boolean, p_leaving boolean, p_waits boolean,
      p_start_ids bigint[], p_start_generations integer[], p_start_tokens text[], p_start_of integer[], p_start_positions integer[],
      p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[], p_positions integer[], p_done text[],
      p_declares text default null) returns text`,
    `
declare
  v_alive double precision := ${ALIVE};
  v_known boolean;
  v_asks text;
  v_standing text;
  v_unknown text[];
begin
  perform set_config('synchronous_commit', 'off', true);
  if p_start_ids is not null then
    perform ${s}.record_starts(${NOW}, p_start_ids, p_start_generations, p_start_tokens, p_start_of, p_start_positions);
  end if;
  -- Who was lost may not come back to life: others may have decided about its jobs by now.
  update ${s}.process set beat_at = v_alive, name = p_name, host = p_host, pid = p_pid,
    lost_after_ms = p_lost_after_ms, queues = p_queues, leaving = p_leaving, declares = p_declares
  where id = p_id and not leaving and v_alive - beat_at <= lost_after_ms;
  v_known := found;
  if not v_known and p_first then
    insert into ${s}.process (id, name, host, pid, lost_after_ms, queues, registered_at, beat_at, leaving, declares)
    values (p_id, p_name, p_host, p_pid, p_lost_after_ms, p_queues, ${NOW}, v_alive, p_leaving, p_declares)
    on conflict do nothing;
    v_known := found;
  end if;
  if p_done is not null then
    delete from ${s}.start where origin = any (p_done);
    delete from ${s}.lease where token = any (p_done);
  end if;
  if p_ids is not null then
    select string_agg(ord::text, ',') into v_standing
    from ${s}.standing(p_ids, p_generations, p_tokens, p_of, p_positions) as st (ord);
  end if;
  if v_known then
    select json_agg(json_build_array(a.job, a.generation, a.reason))::text into v_asks
    from ${s}.ask as a where a.process_id = p_id;
    if p_leaving then
      delete from ${s}.waiter where process_id = p_id;
      ${forget(s, "p_id")}
    elsif p_waits and not exists (select from ${s}.waiter where process_id = p_id) then
      -- Lost with a crash of the server.
      insert into ${s}.waiter (process_id, queues)
      values (p_id, array (select served ->> 'queue' from json_array_elements(p_queues::json) as u (served)))
      on conflict do nothing;
    end if;
    -- Not where a clock is set forward by hand while claims are on their way.
    if not p_leaving and (p_now is null or p_alive is not null) then
      ${handOver(s)}
    end if;
  end if;
  return concat_ws(E'\\x1f', case when v_known then 1 else 0 end, coalesce(v_asks, ''), coalesce(v_standing, ''));
end`,
  );
}

/** A process that has not named a lease for so long, and for longer than it may be silent, does not know of it. */
const UNKNOWN_MS = 60_000;

/**
 * A network can hold a claim back until after its caller has given it up, and looked for what it may have leased.
 * Nobody knows of those runs: as leases of a process that does not exist they are there for rescue.
 */
function handOver(s: string): string {
  return `v_unknown := array (
        select x.token from ${s}.lease as x
        where x.process_id = p_id and x.claimed_at < ${NOW} - greatest(p_lost_after_ms, ${UNKNOWN_MS})
        except select u.token from unnest(p_tokens) as u (token));
      if cardinality(v_unknown) > 0 then
        update ${s}.lease as x set process_id = p_id || '?' where x.token = any (v_unknown) and ${holdsRuns(s)};
      end if;`;
}

/** Forget a process that holds nothing any more, with its leases of which nothing is left. */
function forget(s: string, id: string): string {
  return `
      delete from ${s}.start as y
        where y.origin in (select x.origin from ${s}.lease as x where x.process_id = ${id}) and not ${reportsRuns(s)};
      -- Each by what it holds: a claim of this process may be on its way, and its lease come only now.
      delete from ${s}.lease as x where x.process_id = ${id} and not ${holdsRuns(s)};
      if not exists (select from ${s}.lease as x where x.process_id = ${id}) then
        delete from ${s}.process where id = ${id};
      end if;`;
}
