export const claim: string = String.raw`
create function «schema».record_starts(p_now double precision, p_ids bigint[], p_generations integer[], p_tokens text[], p_of integer[], p_positions integer[]) returns void
language plpgsql
as $jobwright$
begin
  insert into «schema».start (at, origin, ids, generations)
  select coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision), l.origin, array_agg(u.id), array_agg(u.generation)
  from «schema».standing(p_ids, p_generations, p_tokens, p_of, p_positions) as st (ord)
  join unnest(p_ids, p_generations, p_of) with ordinality as u (id, generation, of, ord) using (ord)
  cross join lateral (select origin from «schema».lease where token = p_tokens[u.of] and u.id = any (ids) limit 1) as l
  group by l.origin;
end
$jobwright$;

create function «schema».claim_jobs(p_now double precision, p_alive double precision, p_process text, p_token text, p_queues text[], p_names text[], p_requests integer[], p_rooms integer[], p_mosts integer[], p_part_of integer[], p_part_priorities smallint[], p_part_seqs bigint[], p_part_lasts smallint[], p_next_from double precision, p_waits boolean, p_start_ids bigint[], p_start_generations integer[], p_start_tokens text[], p_start_of integer[], p_start_positions integer[]) returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_indexscan = on
set enable_tidscan = on
set enable_nestloop = on
set random_page_cost = 2
set jit = off
as $jobwright$
declare
  v_now double precision := coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision);
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
  v_before integer;
  v_marked_id bigint;
  v_marked_lane integer;
  v_marked_generation integer;
  v_some_ids bigint[];
  v_some_seqs bigint[];
  v_some_lanes integer[];
  v_some_generations integer[];
  v_some_priorities smallint[];
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
  if p_start_ids is not null then
    perform «schema».record_starts(v_now, p_start_ids, p_start_generations, p_start_tokens, p_start_of, p_start_positions);
  end if;
  v_known := exists (
    select from «schema».process
    where id = p_process and not leaving and coalesce(p_alive, (extract(epoch from clock_timestamp()) * 1000)::double precision) - beat_at <= lost_after_ms);
  if v_known then
    select array_agg(l.id order by u.ord), array_agg(u.ord::integer order by u.ord) into v_all_lanes, v_all_ords
    from unnest(p_queues, p_names) with ordinality as u (queue, name, ord)
    join «schema».lane as l on l.queue = u.queue and l.name = u.name
    where not l.paused and not exists (select from «schema».queue as q where q.name = u.queue and q.paused);

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

      -- Jobs that were lost once before their start was known: one a claim, for a free slot, in its turn.
      v_marked_place := null;
      v_marked_id := null;
      if v_room > 0 and not v_gave_marked and exists (select from «schema».ready where marked and lane = any (v_lanes)) then
        with first as materialized (
          select line.place from unnest(v_lanes) as a (lane) cross join lateral (
            select r.ctid as place, r.priority, r.seq from «schema».ready as r where r.marked and r.lane = a.lane
            order by r.priority, r.seq limit 8) as line
          order by line.priority, line.seq limit 8
        )
        select r.ctid, r.priority, r.seq into v_marked_place, v_marked_priority, v_marked_seq
        from «schema».ready as r where r.ctid = any (array (select place from first)) and r.marked
        order by r.priority, r.seq limit 1 for update skip locked;
      end if;

      v_got := 0;
      v_before := cardinality(v_ids);
      for v_try in 0 .. 7 loop
        v_want := v_most - v_got;
        -- Others are choosing the same rows: look further, so that enough of them are free.
        v_each := case v_try when 0 then v_want when 1 then v_want * 4 else v_want * 16 + 200 end;
        v_gone := v_gone - (pg_stat_get_xact_tuples_returned(«relation ready_line»::regclass) - pg_stat_get_xact_tuples_fetched(«relation ready_line»::regclass));
        
        if p_part_of is null and cardinality(v_parts) = 1 then
          select coalesce(array_agg(place), '{}') into v_places from (
            select r.ctid as place from «schema».ready as r where r.lane = v_parts[1] and not r.marked
            order by r.priority, r.seq limit v_each for update skip locked) as line;
        elsif p_part_of is null and v_try = 0 then
          v_share := least(v_each, 1 + (v_each + cardinality(v_lanes) - 1) / cardinality(v_lanes));
          with shares as materialized (
            select a.ord, a.lane, null::smallint as last, line.*
            from unnest(v_parts) with ordinality as a (lane, ord) cross join lateral (
              select r.ctid as place, r.priority, r.seq from «schema».ready as r
              where r.lane = a.lane and true and not r.marked
              order by r.priority, r.seq limit v_share) as line
          ), first as materialized (
            select *, row_number() over (order by priority, seq) as rank from shares order by priority, seq limit v_each
          ), exhausted as materialized (
            select ord, lane, last, max(array[priority, seq]) as place, max(rank) as rank
            from first group by ord, lane, last having count(*) = v_share and v_share < v_each
          ), more as (
            select line.* from exhausted as e left join first as b on b.rank = v_each cross join lateral (
              select r.ctid as place, r.priority, r.seq from «schema».ready as r
              where r.lane = e.lane and (r.priority, r.seq) > (e.place[1]::smallint, e.place[2])
                and (r.priority, r.seq) < (coalesce(b.priority, 1001::smallint), coalesce(b.seq, 0))
                and not r.marked
              order by r.priority, r.seq limit v_each - e.rank) as line
          )
          select coalesce(array_agg(place order by priority, seq), '{}') into v_places from (
            select place, priority, seq from first
            union all select place, priority, seq from more
            order by priority, seq limit v_each) as chosen;
        else
          v_share := least(v_each, 1 + (v_each + cardinality(v_lanes) - 1) / cardinality(v_lanes));
          with shares as materialized (
            select a.ord, a.lane, coalesce(a.last, 1000::smallint) as last, line.*
            from unnest(v_parts, v_part_priorities, v_part_seqs, v_part_lasts) with ordinality as a (lane, priority, seq, last, ord) cross join lateral (
              select r.ctid as place, r.priority, r.seq from «schema».ready as r
              where r.lane = a.lane and (r.priority, r.seq) >= (coalesce(a.priority, -1000::smallint), coalesce(a.seq, 0)) and not r.marked and r.priority <= coalesce(a.last, 1000::smallint) and (v_try = 0 or r.xmax = 0)
              order by r.priority, r.seq limit v_share) as line
          ), first as materialized (
            select *, row_number() over (order by priority, seq) as rank from shares order by priority, seq limit v_each
          ), exhausted as materialized (
            select ord, lane, last, max(array[priority, seq]) as place, max(rank) as rank
            from first group by ord, lane, last having count(*) = v_share and v_share < v_each
          ), more as (
            select line.* from exhausted as e left join first as b on b.rank = v_each cross join lateral (
              select r.ctid as place, r.priority, r.seq from «schema».ready as r
              where r.lane = e.lane and (r.priority, r.seq) > (e.place[1]::smallint, e.place[2])
                and (r.priority, r.seq) < (coalesce(b.priority, 1001::smallint), coalesce(b.seq, 0))
                and not r.marked and r.priority <= e.last and (v_try = 0 or r.xmax = 0)
              order by r.priority, r.seq limit v_each - e.rank) as line
          )
          select coalesce(array_agg(place order by priority, seq), '{}') into v_places from (
            select place, priority, seq from first
            union all select place, priority, seq from more
            order by priority, seq limit v_each) as chosen;
        end if;
        v_gone := v_gone + (pg_stat_get_xact_tuples_returned(«relation ready_line»::regclass) - pg_stat_get_xact_tuples_fetched(«relation ready_line»::regclass));

        if v_marked_place is not null then
          select count(*) into v_behind from «schema».ready as r
          where r.ctid = any (v_places) and (r.priority, r.seq) < (v_marked_priority, v_marked_seq);
          if v_behind < v_room then
            delete from «schema».ready where ctid = v_marked_place
            returning id, lane, generation into v_marked_id, v_marked_lane, v_marked_generation;
            if v_marked_id is not null then
              v_gave_marked := true;
              v_got := 1;
              v_want := v_want - 1;
            end if;
          end if;
          v_marked_place := null;
        end if;

        exit when v_want <= 0 or cardinality(v_places) = 0;
        -- Those of one lane are locked already.
        v_seen := cardinality(v_places);
        if p_part_of is not null or cardinality(v_parts) > 1 then
          v_places := array (
            select r.ctid from «schema».ready as r where r.ctid = any (v_places)
            order by r.priority, r.seq limit v_want for update skip locked);
        end if;
        with taken as (
          delete from «schema».ready where ctid = any (v_places[1 : v_want])
          returning id, seq, lane, generation, priority
        )
        select array_agg(id), array_agg(seq), array_agg(lane), array_agg(generation), array_agg(priority)
        into v_some_ids, v_some_seqs, v_some_lanes, v_some_generations, v_some_priorities
        from (select * from taken order by priority, seq) as in_order;
        if v_some_ids is not null then
          v_in_order := v_in_order and v_try = 0;
          v_got := v_got + cardinality(v_some_ids);
          v_ids := v_ids || v_some_ids;
          v_seqs := v_seqs || v_some_seqs;
          v_job_lanes := v_job_lanes || v_some_lanes;
          v_generations := v_generations || v_some_generations;
          v_priorities := v_priorities || v_some_priorities;
        end if;
        exit when v_got >= v_most or v_seen < v_each;
      end loop;
      if v_marked_id is not null then
        v_behind := v_before + least(v_behind, cardinality(v_ids) - v_before);
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
    for v_part in 0 .. (v_n - 1) / 500 loop
      exit when v_n = 0;
      v_some_ids := v_ids[v_part * 500 + 1 : (v_part + 1) * 500];
      v_some_seqs := v_seqs[v_part * 500 + 1 : (v_part + 1) * 500];
      v_some_generations := v_generations[v_part * 500 + 1 : (v_part + 1) * 500];
      insert into «schema».lease (token, part, process_id, claimed_by, origin, claimed_at, lo, hi, ids, generations, seqs)
      select p_token, v_part, p_process, p_process, p_token, v_now, min(id), max(id), v_some_ids,
        case when not 0 = all (v_some_generations) then v_some_generations end,
        case when v_some_ids <> v_some_seqs then v_some_seqs end
      from unnest(v_some_ids) as u (id);
    end loop;
    if v_n > 0 and cardinality(v_all_lanes) = 1 then
      insert into «schema».tally (lane, src, dst, n) values (v_all_lanes[1], 2, 4, v_n);
    elsif v_n > 0 then
      insert into «schema».tally (lane, src, dst, n) select lane, 2, 4, count(*) from unnest(v_job_lanes) as u (lane) group by lane;
    end if;

    -- Only when it changes: who is busy is not told of what comes. Who asks for nothing waits as before.
    v_waits := case when cardinality(p_rooms) = 0 then p_waits else v_short end;
    if v_waits and not p_waits then
      insert into «schema».waiter (process_id, queues)
      select p_process, array (select served ->> 'queue' from json_array_elements(queues::json) as u (served))
      from «schema».process where id = p_process
      on conflict (process_id) do update set queues = excluded.queues;
    elsif p_waits and not v_waits then
      delete from «schema».waiter where process_id = p_process;
    end if;
    -- Old snapshots keep rows that are gone before the living ones: tell where these begin.
    if v_gone > 2000 then
      
      with given as materialized (
        select distinct on (lane) lane, priority, seq from unnest(v_job_lanes, v_priorities, v_seqs) as u (lane, priority, seq)
        order by lane, priority desc, seq desc
      )
      select json_build_array((select last_value from «schema».seq),
        json_agg(json_build_array(u.ord, line.priority, line.seq)))::text into v_last_places
      from unnest(v_all_lanes, v_all_ords) as u (lane, ord)
      left join lateral (
        select priority, seq from given where given.lane = u.lane
        union all
        (select r.priority, r.seq from «schema».ready as r
          where r.lane = u.lane and not r.marked and u.lane <> all (v_job_lanes) and p_part_of is null
          order by r.priority, r.seq limit 1)
      ) as line on true
      where p_mosts[p_requests[u.ord]] > 0 and (p_part_of is null or line.priority is not null);
    end if;
    if exists (select from «schema».ask where process_id = p_process) then
      select json_agg(json_build_array(a.job, a.generation, a.reason))::text into v_asks
      from «schema».ask as a where a.process_id = p_process;
    end if;
  end if;
  v_gone := - (pg_stat_get_xact_tuples_returned(«relation scheduled_pkey»::regclass) - pg_stat_get_xact_tuples_fetched(«relation scheduled_pkey»::regclass));
  select min(run_at) into v_next from «schema».scheduled where run_at >= coalesce(p_next_from, '-infinity');
  -- Here too. What is yet to come lies behind now: nothing new is overlooked, unless what lies there is gone as well.
  if v_gone + (pg_stat_get_xact_tuples_returned(«relation scheduled_pkey»::regclass) - pg_stat_get_xact_tuples_fetched(«relation scheduled_pkey»::regclass)) > 2000 then
    v_next_from := case when p_next_from is null then least(v_next, v_now) else coalesce(v_next, 'infinity') end;
  end if;

  return next concat_ws(E'\x1f', case when v_known then 1 else 0 end, coalesce(v_next::text, ''),
    case when v_waits then 1 else 0 end, coalesce(v_asks, ''), coalesce(v_last_places, ''),
    case when not v_in_order or v_ids <> v_seqs or not v_priorities[1] = all (v_priorities)
      then array_to_string(v_ids, ',') else '' end,
    coalesce(v_next_from::text, ''));
  if v_n > 0 then
    return query
      select string_agg(one.job, E'\x1e') from (
        select concat_ws(E'\x1f', j.id, v_all_ords[array_position(v_all_lanes, j.lane)], coalesce(j.policy_text, j.policy::text), j.created_at,
      case when j.generation = 0 and j.attempt = 0 and j.priority = 0 and j.run_at = j.created_at and not j.marked
          and j.checkpoint_bytes = 0 and j.tags is null and j.given_id is null and j.cancel_asked is null
        then ''
        else json_build_array(j.generation, j.attempt, j.priority, j.run_at, j.marked, j.tags, j.given_id, j.cancel_asked,
          case when j.checkpoint_bytes > 0 then (
            select json_object_agg(c.key, c.value) from «schema».checkpoint as c where c.job = j.id) end)::text
        end,
      j.payload) as job, row_number() over () - 1 as nth
        from «schema».job as j where j.id = any (v_ids)) as one
      group by one.nth / 50;
  end if;
end
$jobwright$;

create function «schema».claim(p_now double precision, p_alive double precision, p_process text, p_token text, p_queues text[], p_names text[], p_requests integer[], p_rooms integer[], p_mosts integer[], p_part_of integer[], p_part_priorities smallint[], p_part_seqs bigint[], p_part_lasts smallint[], p_next_from double precision, p_waits boolean, p_start_ids bigint[], p_start_generations integer[], p_start_tokens text[], p_start_of integer[], p_start_positions integer[]) returns setof text
language plpgsql
as $jobwright$
begin
  perform set_config('synchronous_commit', 'off', true);
  return query select «schema».claim_jobs(p_now, p_alive, p_process, p_token, p_queues, p_names, p_requests, p_rooms, p_mosts, p_part_of, p_part_priorities, p_part_seqs, p_part_lasts, p_next_from, p_waits, p_start_ids, p_start_generations, p_start_tokens, p_start_of, p_start_positions);
end
$jobwright$;

`;
