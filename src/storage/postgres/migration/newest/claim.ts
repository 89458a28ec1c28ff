import { LEASE_JOBS } from "../../store.ts";
import { choose, gone, tellPlaces } from "./choose.ts";
import { ALIVE, innerFunction, NOW, plannedFunction } from "./planner.ts";

/** Rows that are gone, found in one look: with more of them before the living ones the next looks begin behind. */
const GONE_ROWS = 2_000;
/** Tries, after the first one, to find rows that nobody else is taking. */
const TRIES = 7;
/** Marked jobs looked at, so that claims at the same time find one each. */
const MARKED_JOBS = 8;
/** Jobs in one row of an answer: a text has at most 1 GB. */
const ROW_JOBS = 50;

/**
 * A claimed job as text; `j` is its row: `id, lane, policy, createdAt, rest, payload`. Neither JSON nor names hold
 * the separator. The rest, a JSON array, is left out of a job with nothing special to it: making text of every
 * column costs more than finding the row.
 */
export function claimedJobText(s: string, lane: string): string {
  return `concat_ws(E'\\x1f', j.id, ${lane}, coalesce(j.policy_text, j.policy::text), j.created_at,
      case when j.generation = 0 and j.attempt = 0 and j.priority = 0 and j.run_at = j.created_at and not j.marked
          and j.checkpoint_bytes = 0 and j.tags is null and j.given_id is null and j.cancel_asked is null and j.extra is null
        then ''
        else json_build_array(j.generation, j.attempt, j.priority, j.run_at, j.marked, j.tags, j.given_id, j.cancel_asked,
          case when j.checkpoint_bytes > 0 then (
            select json_object_agg(c.key, c.value) from ${s}.checkpoint as c where c.job = j.id) end, j.extra)::text
        end,
      j.payload)`;
}

/**
 * Giving jobs out. Lanes are asked for by queue and name in parallel arrays, `p_requests` says to which
 * request each belongs, and `p_rooms` and `p_mosts` have one entry for each request.
 *
 * The answer's first row is `known, nextAt, waits, asks, places, order, next from, tickAt` (asks and places in JSON,
 * or empty), the others are jobs by id. The order is that of the ids when it is empty, else the ids in their order.
 * Places and `next from` are told when rows that are gone were in the way, see {@link tellPlaces}.
 */
export function claimFunctions(s: string): string {
  return [
    innerFunction(
      s,
      "record_starts(p_now double precision, p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[], p_positions integer[]) returns void",
      `
begin
  insert into ${s}.start (at, origin, ids, generations)
  select ${NOW}, l.origin, array_agg(u.id), array_agg(u.generation)
  from ${s}.standing(p_ids, p_generations, p_tokens, p_of, p_positions) as st (ord)
  join unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, of, ord) using (ord)
  cross join lateral (select origin from ${s}.lease where token = p_tokens[u.of] and u.id = any (ids) limit 1) as l
  group by l.origin;
end`,
    ),
    plannedFunction(s, CLAIM_JOBS, claimBody(s)),
    // A claim that is lost with the server was not settled either: its jobs are ready again, and the former
    // holder's token names no lease. So it need not wait for the disk.
    innerFunction(
      s,
      CLAIM_JOBS.replace("claim_jobs(", "claim("),
      `
begin
  perform set_config('synchronous_commit', 'off', true);
  return query select ${s}.claim_jobs(${claimArguments()});
end`,
    ),
  ].join("");
}

const CLAIM_PARAMETERS = [
  "p_now double precision",
  "p_alive double precision",
  "p_process text",
  "p_token text",
  "p_queues text[]",
  "p_names text[]",
  "p_requests integer[]",
  "p_rooms integer[]",
  "p_mosts integer[]",
  "p_part_of integer[]",
  "p_part_priorities smallint[]",
  "p_part_seqs bigint[]",
  "p_part_lasts smallint[]",
  "p_next_from double precision",
  "p_waits boolean",
  "p_start_ids bigint[]",
  "p_start_generations integer[]",
  "p_start_tokens text[]",
  "p_start_of integer[]",
  "p_start_positions integer[]",
];

const CLAIM_JOBS = `claim_jobs(${claimParameters()}) returns setof text`;

export function claimParameters(): string {
  return CLAIM_PARAMETERS.join(", ");
}

export function claimArguments(): string {
  return CLAIM_PARAMETERS.map((parameter) => parameter.slice(0, parameter.indexOf(" "))).join(", ");
}

function claimBody(s: string): string {
  /** How many of those given to this request stand before the marked job. */
  const givenBefore = `(
            select count(*) from unnest(v_priorities[v_before + 1 :], v_seqs[v_before + 1 :]) as u (priority, seq)
            where (u.priority, u.seq) < (v_marked_priority, v_marked_seq))`;
  return `
declare
  v_now double precision := ${NOW};
  v_known boolean;
  v_request integer;
  v_first integer;
  v_last integer := 0;
  v_room integer;
  v_most integer;
  v_each integer;
  v_share integer;
  v_want integer;
  v_got integer;
  v_try integer;
  v_short boolean := false;
  v_in_order boolean := cardinality(p_rooms) = 1;
  v_waits boolean := p_waits;
  v_n integer := 0;
  v_part integer;
  v_gave_marked boolean := false;
  v_lanes integer[];
  v_all_lanes integer[];
  v_all_ords integer[];
  v_parts integer[];
  v_part_priorities smallint[];
  v_part_seqs bigint[];
  v_part_lasts smallint[];
  v_places tid[];
  v_seen integer;
  v_behind integer;
  v_marked_place tid;
  v_marked_priority smallint;
  v_marked_seq bigint;
  v_marked_limited boolean;
  v_turn boolean;
  v_before integer;
  v_marked_id bigint;
  v_marked_lane integer;
  v_marked_generation integer;
  v_some_ids bigint[];
  v_some_seqs bigint[];
  v_some_lanes integer[];
  v_some_generations integer[];
  v_some_priorities smallint[];
  v_limited bigint;
  v_stripe integer := -1;
  v_parked bigint[];
  v_tick double precision;
  v_ids bigint[] := '{}';
  v_seqs bigint[] := '{}';
  v_job_lanes integer[] := '{}';
  v_generations integer[] := '{}';
  v_priorities smallint[] := '{}';
  v_last_places text;
  v_asks text;
  v_next double precision;
  v_next_from double precision;
  v_gone bigint := 0;
begin
  if exists (select from ${s}.freed) then
    v_stripe := ${s}.admit_freed();
  end if;
  if p_start_ids is not null then
    perform ${s}.record_starts(v_now, p_start_ids, p_start_generations, p_start_tokens, p_start_of, p_start_positions);
  end if;
  v_known := exists (
    select from ${s}.process
    where id = p_process and not leaving and ${ALIVE} - beat_at <= lost_after_ms);
  if v_known then
    select array_agg(l.id order by u.ord), array_agg(u.ord::integer order by u.ord) into v_all_lanes, v_all_ords
    from unnest(p_queues, p_names) with ordinality as u (queue, name, ord)
    join ${s}.lane as l on l.queue = u.queue and l.name = u.name
    where not l.paused and not exists (select from ${s}.queue as q where q.name = u.queue and q.paused);

    for v_request in 1 .. cardinality(p_rooms) loop
      v_room := p_rooms[v_request];
      v_most := p_mosts[v_request];
      -- Its lanes stand together: a look at all of them for each request would take their product in time.
      v_first := v_last + 1;
      while p_requests[v_all_ords[v_last + 1]] = v_request loop
        v_last := v_last + 1;
      end loop;
      v_lanes := case when v_last >= v_first then v_all_lanes[v_first : v_last] end;
      if v_most <= 0 then
        continue;
      end if;
      if v_lanes is null then
        v_short := true;
        continue;
      end if;

      if p_part_of is null then
        v_parts := v_lanes;
      else
        select array_agg(v_all_lanes[array_position(v_all_ords, u.ord)]), array_agg(u.priority), array_agg(u.seq), array_agg(u.last)
        into v_parts, v_part_priorities, v_part_seqs, v_part_lasts
        from unnest(p_part_of, p_part_priorities, p_part_seqs, p_part_lasts) as u (ord, priority, seq, last)
        where p_requests[u.ord] = v_request and u.ord = any (v_all_ords);
      end if;

      v_marked_place := null;
      v_marked_id := null;
      v_got := 0;
      v_before := cardinality(v_ids);
      v_try := 0;
      while v_try <= ${TRIES} loop
        -- Jobs that were lost once before their start was known: one a claim, for a free slot, in its turn.
        if v_marked_place is null and v_room > 0 and not v_gave_marked and exists (select from ${s}.ready where marked and lane = any (v_lanes)) then
          with first as materialized (
            select line.place from unnest(v_lanes) as a (lane) cross join lateral (
              select r.ctid as place, r.priority, r.seq from ${s}.ready as r where r.marked and r.lane = a.lane
              order by r.priority, r.seq limit ${MARKED_JOBS}) as line
            order by line.priority, line.seq limit ${MARKED_JOBS}
          )
          select r.ctid, r.priority, r.seq, r.limit_id is not null into v_marked_place, v_marked_priority, v_marked_seq, v_marked_limited
          from ${s}.ready as r where r.ctid = any (array (select place from first)) and r.marked
          order by r.priority, r.seq limit 1 for update skip locked;
        end if;
        v_want := v_most - v_got;
        v_turn := false;
        -- Others are choosing the same rows: look further, so that enough of them are free.
        v_each := case v_try when 0 then v_want when 1 then v_want * 4 else v_want * 16 + 200 end;
        v_gone := v_gone - ${gone(s, "ready_line")};
        ${choose(s)}
        v_gone := v_gone + ${gone(s, "ready_line")};

        if v_marked_place is not null then
          select count(*) into v_behind from ${s}.ready as r
          where r.ctid = any (v_places) and (r.priority, r.seq) < (v_marked_priority, v_marked_seq);
          -- Those before it may have its key, and then come first.
          v_turn := v_marked_limited and v_behind > 0;
          if v_turn then
            v_want := least(v_want, v_behind);
          end if;
          v_behind := v_behind + ${givenBefore};
          -- Otherwise it is asked after again when some of those before it have turned out to be blocked.
          if v_behind < v_room and not v_turn then
            delete from ${s}.ready where ctid = v_marked_place
            returning id, lane, generation, case when limit_id is not null then 1 end
            into v_marked_id, v_marked_lane, v_marked_generation, v_limited;
            if v_limited is not null then
              select * into v_stripe, v_parked from ${s}.take_slots(array[v_marked_id], v_stripe);
              if cardinality(v_parked) > 0 then
                perform ${s}.park(v_parked, array[v_marked_seq], true);
                v_marked_id := null;
                v_marked_place := null;
                -- The next one may have better luck.
                continue;
              end if;
            end if;
            v_marked_place := null;
            v_gave_marked := true;
            v_got := v_got + 1;
            v_want := v_want - 1;
          end if;
        end if;

        exit when v_want <= 0 or cardinality(v_places) = 0;
        -- Those of one lane are locked already.
        v_seen := cardinality(v_places);
        if p_part_of is not null or cardinality(v_parts) > 1 then
          v_places := array (
            select r.ctid from ${s}.ready as r where r.ctid = any (v_places)
            order by r.priority, r.seq limit v_want for update skip locked);
        end if;
        with taken as (
          delete from ${s}.ready where ctid = any (v_places[1 : v_want])
          returning id, seq, lane, generation, priority, limit_id
        )
        select array_agg(id), array_agg(seq), array_agg(lane), array_agg(generation), array_agg(priority), count(limit_id)
        into v_some_ids, v_some_seqs, v_some_lanes, v_some_generations, v_some_priorities, v_limited
        from (select * from taken order by priority, seq) as in_order;
        v_parked := null;
        if v_limited > 0 then
          select * into v_stripe, v_parked from ${s}.take_slots(v_some_ids, v_stripe);
          if cardinality(v_parked) > 0 then
            perform ${s}.park(array_agg(id), array_agg(seq), false)
              from unnest(v_some_ids, v_some_seqs) as u (id, seq) where id = any (v_parked);
            select array_agg(id order by ord), array_agg(seq order by ord), array_agg(lane order by ord),
              array_agg(generation order by ord), array_agg(priority order by ord)
            into v_some_ids, v_some_seqs, v_some_lanes, v_some_generations, v_some_priorities
            from unnest(v_some_ids, v_some_seqs, v_some_lanes, v_some_generations, v_some_priorities) with ordinality
              as u (id, seq, lane, generation, priority, ord)
            where id <> all (v_parked);
          end if;
        end if;
        if v_some_ids is not null then
          v_in_order := v_in_order and v_try = 0;
          v_got := v_got + cardinality(v_some_ids);
          v_ids := v_ids || v_some_ids;
          v_seqs := v_seqs || v_some_seqs;
          v_job_lanes := v_job_lanes || v_some_lanes;
          v_generations := v_generations || v_some_generations;
          v_priorities := v_priorities || v_some_priorities;
        end if;
        exit when v_got >= v_most or not v_turn and v_seen < v_each and coalesce(cardinality(v_parked), 0) = 0;
        -- Those that were parked are out of the way, so the same look finds others: nobody was in the way of this one.
        v_try := case when cardinality(v_parked) > 0 or v_turn and v_some_ids is not null then v_try else v_try + 1 end;
      end loop;
      if v_marked_id is not null then
        v_behind := v_before + ${givenBefore};
        v_ids := v_ids[1 : v_behind] || v_marked_id || v_ids[v_behind + 1 :];
        v_seqs := v_seqs[1 : v_behind] || v_marked_seq || v_seqs[v_behind + 1 :];
        v_job_lanes := v_job_lanes[1 : v_behind] || v_marked_lane || v_job_lanes[v_behind + 1 :];
        v_generations := v_generations[1 : v_behind] || v_marked_generation || v_generations[v_behind + 1 :];
        v_priorities := v_priorities[1 : v_behind] || v_marked_priority || v_priorities[v_behind + 1 :];
      end if;
      if v_got < v_most then
        v_short := true;
      end if;
    end loop;

    v_n := cardinality(v_ids);
    for v_part in 0 .. (v_n - 1) / ${LEASE_JOBS} loop
      exit when v_n = 0;
      v_some_ids := v_ids[v_part * ${LEASE_JOBS} + 1 : (v_part + 1) * ${LEASE_JOBS}];
      v_some_seqs := v_seqs[v_part * ${LEASE_JOBS} + 1 : (v_part + 1) * ${LEASE_JOBS}];
      v_some_generations := v_generations[v_part * ${LEASE_JOBS} + 1 : (v_part + 1) * ${LEASE_JOBS}];
      insert into ${s}.lease (token, part, process_id, claimed_by, origin, claimed_at, lo, hi, ids, generations, seqs)
      select p_token, v_part, p_process, p_process, p_token, v_now, min(id), max(id), v_some_ids,
        case when not 0 = all (v_some_generations) then v_some_generations end,
        case when v_some_ids <> v_some_seqs then v_some_seqs end
      from unnest(v_some_ids) as u (id);
    end loop;
    if v_n > 0 and cardinality(v_all_lanes) = 1 then
      insert into ${s}.tally (lane, src, dst, n) values (v_all_lanes[1], 2, 4, v_n);
    elsif v_n > 0 then
      insert into ${s}.tally (lane, src, dst, n) select lane, 2, 4, count(*) from unnest(v_job_lanes) as u (lane) group by lane;
    end if;

    -- Only when it changes: who is busy is not told of what comes. Who asks for nothing waits as before.
    v_waits := case when cardinality(p_rooms) = 0 then p_waits else v_short end;
    if v_waits and not p_waits then
      insert into ${s}.waiter (process_id, queues)
      select p_process, array (select served ->> 'queue' from json_array_elements(queues::json) as u (served))
      from ${s}.process where id = p_process
      on conflict (process_id) do update set queues = excluded.queues;
    elsif p_waits and not v_waits then
      delete from ${s}.waiter where process_id = p_process;
    end if;
    -- Old snapshots keep rows that are gone before the living ones: tell where these begin.
    if v_gone > ${GONE_ROWS} then
      ${tellPlaces(s)}
    end if;
    if exists (select from ${s}.ask where process_id = p_process) then
      select json_agg(json_build_array(a.job, a.generation, a.reason))::text into v_asks
      from ${s}.ask as a where a.process_id = p_process;
    end if;
  end if;
  v_gone := - ${gone(s, "scheduled_pkey")};
  select (select min(run_at) from ${s}.scheduled where run_at >= coalesce(p_next_from, '-infinity')),
    (select min(next_at) from ${s}.schedule)
  into v_next, v_tick;
  -- Here too. What is yet to come lies behind now: nothing new is overlooked, unless what lies there is gone as well.
  if v_gone + ${gone(s, "scheduled_pkey")} > ${GONE_ROWS} then
    v_next_from := case when p_next_from is null then least(v_next, v_now) else coalesce(v_next, 'infinity') end;
  end if;

  return next concat_ws(E'\\x1f', case when v_known then 1 else 0 end, coalesce(v_next::text, ''),
    case when v_waits then 1 else 0 end, coalesce(v_asks, ''), coalesce(v_last_places, ''),
    case when not v_in_order or v_ids <> v_seqs or not v_priorities[1] = all (v_priorities)
      then array_to_string(v_ids, ',') else '' end,
    coalesce(v_next_from::text, ''), coalesce(v_tick::text, ''));
  if v_n > 0 then
    return query
      select string_agg(one.job, E'\\x1e') from (
        select ${claimedJobText(s, "v_all_ords[array_position(v_all_lanes, j.lane)]")} as job, row_number() over () - 1 as nth
        from ${s}.job as j where j.id = any (v_ids)) as one
      group by one.nth / ${ROW_JOBS};
  end if;
end`;
}
