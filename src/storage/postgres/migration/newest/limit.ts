import { limits } from "../../../../job/limits.ts";
import { quoteLiteral } from "../../quoting.ts";
import { innerFunction, plannedFunction } from "./planner.ts";

/** Limit keys are locked by the first byte of their hash: a transaction holds no more locks than that has values. */
const stripeOf = (limit: string): string => `get_byte(uuid_send(${limit}), 0)`;
/** Marks of keys that are taken up in one call. */
const FREED_ROWS = 5_000;

/**
 * Keys of which only so many jobs run at a time.
 *
 * Running are the rows of `slot`: a claim inserts them and whatever ends the run deletes them, both in their own
 * transaction. Candidates are the rows of `ready` with the key, at most as many in a lane as may run; all others are
 * in `blocked`, where no claim looks.
 *
 * **Never too many run**: a claim counts the slots of a key under the lock of the key, in a statement that begins
 * behind the lock, and holds the lock until its slots are committed. Too many in line do no harm: claims park them.
 *
 * **Nothing is left behind**: whoever makes a job blocked counts, behind the lock of its key, the slots and the
 * candidates that it sees. Each of them goes by a transaction that commits later than the count, and that leaves a
 * row in `freed`; so there is a row in `freed` that is committed after the job was blocked, or at least after the
 * lock was had. Whoever takes such a row up locks the key afterwards, and so waits for the one who blocks, sees the
 * job, and counts again. A candidate that is claimed becomes a slot in the same step, which changes no sum; one that
 * is parked is so because slots alone fill the key. Rows that somebody else holds are passed over, and the mark
 * stays, because that somebody may leave them as they are.
 *
 * Nobody holds the lock of a key beyond a short transaction of ours: in a transaction of the user, ends only leave
 * their mark. It comes last: who has it waits for nothing but the locks of further keys, in the order of stripes.
 */
export function limitFunctions(s: string): string {
  return [admit(s), lockLimits(s), takeFreed(s), admitFreed(s), takeSlots(s), park(s), letIn(s)].join("");
}

function lockOf(s: string, stripe: string): string {
  return `hashtextextended(${quoteLiteral(`${s} limit `)} || ${stripe}, 0)`;
}

/** Lets blocked jobs of locked keys into line, at their places. */
function admit(s: string): string {
  return innerFunction(
    s,
    "admit(p_limits uuid[]) returns void",
    `
declare
  v_limit uuid;
  v_lane integer;
  v_used integer;
  v_row record;
  v_places tid[];
  v_lanes integer[] := '{}';
  v_queues text[];
  v_names text[];
begin
  foreach v_limit in array p_limits loop
    v_lane := null;
    loop
      select min(b.lane) into v_lane from ${s}.blocked as b
        where b.limit_id = v_limit and b.lane > coalesce(v_lane, -2147483648);
      exit when v_lane is null;
      v_used := (select count(*) from ${s}.slot where limit_id = v_limit)
        + (select count(*) from ${s}.ready where limit_id = v_limit and lane = v_lane);
      v_places := '{}';
      for v_row in
        select b.ctid as place, b.concurrency from ${s}.blocked as b
        where b.limit_id = v_limit and b.lane = v_lane
        order by b.priority, b.seq limit ${limits.limitConcurrency} for update skip locked
      loop
        exit when v_used >= v_row.concurrency;
        v_places := v_places || v_row.place;
        v_used := v_used + 1;
      end loop;
      if cardinality(v_places) > 0 then
        with let_in as (
          delete from ${s}.blocked where ctid = any (v_places)
          returning seq, id, lane, generation, priority, marked, limit_id, concurrency
        )
        insert into ${s}.ready (seq, id, lane, generation, priority, marked, limit_id, concurrency) select * from let_in;
        insert into ${s}.tally (lane, src, dst, n) values (v_lane, 3, 2, cardinality(v_places));
        v_lanes := v_lanes || v_lane;
      end if;
      -- Somebody holds the row of the best one, and may leave it as it is.
      if (select b.concurrency > v_used from ${s}.blocked as b
          where b.limit_id = v_limit and b.lane = v_lane order by b.priority, b.seq limit 1) then
        insert into ${s}.freed (limit_id) values (v_limit);
      end if;
    end loop;
  end loop;
  if cardinality(v_lanes) > 0 then
    select array_agg(l.queue), array_agg(l.name) into v_queues, v_names from ${s}.lane as l where l.id = any (v_lanes);
    perform ${s}.tell_available(v_queues, v_names);
  end if;
end`,
  );
}

/** Locks keys in the one order. Answers the last stripe, or −1 for no keys. */
function lockLimits(s: string): string {
  return innerFunction(
    s,
    "lock_limits(p_limits uuid[]) returns integer",
    `
declare
  v_stripe integer;
  v_last integer := -1;
begin
  for v_stripe in select distinct ${stripeOf("u.id")} as stripe from unnest(p_limits) as u (id) order by 1 loop
    perform pg_advisory_xact_lock(${lockOf(s, "v_stripe")});
    v_last := v_stripe;
  end loop;
  return v_last;
end`,
  );
}

/** The keys that were marked, each once. The marks are gone with this transaction, and come back if it does not commit. */
function takeFreed(s: string): string {
  return innerFunction(
    s,
    "take_freed() returns uuid[]",
    `
declare
  v_limits uuid[];
begin
  with gone as (
    delete from ${s}.freed where ctid = any (array (select ctid from ${s}.freed limit ${FREED_ROWS} for update skip locked))
    returning limit_id
  )
  select coalesce(array_agg(distinct limit_id), '{}') into v_limits from gone;
  return v_limits;
end`,
  );
}

/** Takes up what was freed. Answers the last stripe that it locked, or −1. */
function admitFreed(s: string): string {
  return plannedFunction(
    s,
    "admit_freed() returns integer",
    `
declare
  v_limits uuid[] := ${s}.take_freed();
  v_stripe integer := ${s}.lock_limits(v_limits);
begin
  perform ${s}.admit(v_limits);
  return v_stripe;
end`,
  );
}

/**
 * Slots for claimed jobs, in their order: answers those that get none. Locks are waited for in the order of stripes
 * only; a key whose lock would be out of order is tried, and when somebody else has it, its jobs are parked and it is
 * marked, so that they are looked at again.
 */
function takeSlots(s: string): string {
  return innerFunction(
    s,
    "take_slots(p_ids bigint[], inout p_stripe integer, out p_parked bigint[])",
    `
declare
  v_row record;
  v_limit uuid;
  v_used integer;
begin
  p_parked := '{}';
  for v_row in
    select j.id, j.limit_id, j.concurrency, ${stripeOf("j.limit_id")} as stripe
    from unnest(p_ids) with ordinality as u (id, ord)
    join ${s}.job as j on j.id = u.id
    where j.limit_id is not null
    order by stripe, j.limit_id, u.ord
  loop
    if v_row.limit_id is distinct from v_limit then
      v_limit := v_row.limit_id;
      v_used := null;
      if v_row.stripe > p_stripe then
        perform pg_advisory_xact_lock(${lockOf(s, "v_row.stripe")});
        p_stripe := v_row.stripe;
      elsif not pg_try_advisory_xact_lock(${lockOf(s, "v_row.stripe")}) then
        insert into ${s}.freed (limit_id) values (v_limit);
        v_used := ${limits.limitConcurrency};
      end if;
      if v_used is null then
        v_used := (select count(*) from ${s}.slot where limit_id = v_limit);
      end if;
    end if;
    if v_used < v_row.concurrency then
      insert into ${s}.slot (job, limit_id) values (v_row.id, v_limit);
      v_used := v_used + 1;
    else
      p_parked := p_parked || v_row.id;
    end if;
  end loop;
end`,
  );
}

/** Jobs that were taken out of line and get no slot wait at their places. */
function park(s: string): string {
  return innerFunction(
    s,
    "park(p_ids bigint[], p_seqs bigint[], p_marked boolean) returns void",
    `
begin
  with parked as (
    insert into ${s}.blocked (seq, id, lane, generation, priority, concurrency, marked, limit_id)
    select u.seq, j.id, j.lane, j.generation, j.priority, j.concurrency, p_marked, j.limit_id
    from unnest(p_ids, p_seqs) as u (id, seq) join ${s}.job as j on j.id = u.id
    returning lane
  )
  insert into ${s}.tally (lane, src, dst, n) select lane, 2, 3, count(*) from parked group by lane;
end`,
  );
}

/** Due jobs with limit keys that are locked, in order: into line while there is room, else blocked. Answers the lanes that got some. */
function letIn(s: string): string {
  return innerFunction(
    s,
    "let_in(p_ids bigint[], p_seqs bigint[]) returns integer[]",
    `
declare
  v_row record;
  v_limit uuid;
  v_lane integer;
  v_used integer;
  v_ids bigint[] := '{}';
  v_lanes integer[];
begin
  for v_row in
    select j.id, j.limit_id, j.lane, j.concurrency
    from unnest(p_ids) with ordinality as u (id, ord) join ${s}.job as j on j.id = u.id
    order by j.limit_id, j.lane, u.ord
  loop
    if v_row.limit_id is distinct from v_limit or v_row.lane is distinct from v_lane then
      v_limit := v_row.limit_id;
      v_lane := v_row.lane;
      v_used := (select count(*) from ${s}.slot where limit_id = v_limit)
        + (select count(*) from ${s}.ready where limit_id = v_limit and lane = v_lane);
    end if;
    if v_used < v_row.concurrency then
      v_ids := v_ids || v_row.id;
      v_used := v_used + 1;
    end if;
  end loop;
  with placed as materialized (
    select u.seq, j.id, j.lane, j.generation, j.priority, j.concurrency, j.marked, j.limit_id
    from unnest(p_ids, p_seqs) as u (id, seq) join ${s}.job as j on j.id = u.id
  ), in_line as (
    insert into ${s}.ready (seq, id, lane, generation, priority, marked, limit_id, concurrency)
    select seq, id, lane, generation, priority, marked, limit_id, concurrency from placed where id = any (v_ids)
  ), waiting as (
    insert into ${s}.blocked (seq, id, lane, generation, priority, concurrency, marked, limit_id)
    select seq, id, lane, generation, priority, concurrency, marked, limit_id from placed where id <> all (v_ids)
  ), counted as (
    insert into ${s}.tally (lane, src, dst, n)
    select lane, 1, case when id = any (v_ids) then 2 else 3 end, count(*) from placed group by 1, 3
  )
  select array_agg(distinct lane) into v_lanes from placed where id = any (v_ids);
  return v_lanes;
end`,
  );
}
