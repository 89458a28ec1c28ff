export const days: string = String.raw`
create function «schema».drop_day(p_limit integer) returns bigint
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
  v_day date;
  v_table regclass;
  v_n bigint;
begin
  select min(d.day) into v_day from (
    select to_date(substr(c.relname, 10), 'YYYYMMDD') as day
    from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = «relation finished»::regclass and c.relname ~ '^finished_[0-9]{8}$') as d where d.day < (date '1970-01-01' + floor((extract(epoch from clock_timestamp()) * 1000) / 86400000)::integer);
  if v_day is null then
    return null;
  end if;
  v_table := to_regclass(«relation » || 'finished_' || to_char(v_day, 'YYYYMMDD'));
  if not pg_has_role((select relowner from pg_class where oid = v_table), 'USAGE') then
    with old as materialized (
      select f.id from «schema».finished as f where f.bucket = v_day limit p_limit for update skip locked
    ), gone as materialized (
      delete from «schema».finished as f using old where f.id = old.id and f.bucket = v_day
      returning f.id, f.lane, f.state, f.given_id
    ), counted as (
      insert into «schema».tally (lane, src, dst, n) select lane, state, 0, count(*) from gone group by lane, state
    ), forgotten as (
      delete from «schema».given as g using gone as k, «schema».lane as l
    where k.given_id is not null and l.id = k.lane and g.name = l.name and g.given_id = k.given_id and g.job = k.id
    )
    select nullif(count(*), 0) into v_n from gone;
    return v_n;
  end if;
  -- This one is read from end to end.
  perform set_config('enable_seqscan', 'on', true);
  -- Nobody takes jobs out from now on, so the count is what goes; whoever is about to, makes us give up below.
  perform set_config('lock_timeout', '100ms', true);
  execute 'lock table ' || v_table::text || ' in share row exclusive mode';
  execute «text with counted as (insert into «schema».tally (lane, src, dst, n) select lane, state, 0, count(*) from » || v_table::text || «text  group by lane, state returning n), forgotten as (delete from «schema».given as g using » || v_table::text || «text  as k, «schema».lane as l
    where k.given_id is not null and l.id = k.lane and g.name = l.name and g.given_id = k.given_id and g.job = k.id) select coalesce(sum(n), 0) from counted» into v_n;
  delete from «schema».day where day = v_day;
  execute 'drop table ' || v_table::text;
  return v_n;
exception
  when lock_not_available or deadlock_detected then
    return null;
end
$jobwright$;

create function «schema».ensure_days() returns void
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
  v_today date := (date '1970-01-01' + floor((extract(epoch from clock_timestamp()) * 1000) / 86400000)::integer);
  v_day date;
begin
  if not pg_try_advisory_xact_lock(hashtextextended(«relation finished», 0)) then
    return;
  end if;
  insert into «schema».day (day)
    select d.day from (
    select to_date(substr(c.relname, 10), 'YYYYMMDD') as day
    from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = «relation finished»::regclass and c.relname ~ '^finished_[0-9]{8}$') as d
    where d.day > v_today and not exists (select from «schema».day as known where known.day = d.day)
    on conflict do nothing;
  -- Somebody may have dropped or detached one by hand.
  delete from «schema».day where day not in (select d.day from (
    select to_date(substr(c.relname, 10), 'YYYYMMDD') as day
    from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = «relation finished»::regclass and c.relname ~ '^finished_[0-9]{8}$') as d);
  if (select count(*) from (
    select to_date(substr(c.relname, 10), 'YYYYMMDD') as day
    from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = «relation finished»::regclass and c.relname ~ '^finished_[0-9]{8}$') as d where d.day > v_today and d.day <= v_today + 9) = 9 then
    return;
  end if;
  begin
    perform set_config('lock_timeout', '100ms', true);
    for v_day in select v_today + n from generate_series(1, 9) as n loop
      if to_regclass(«relation » || 'finished_' || to_char(v_day, 'YYYYMMDD')) is null then
        execute «text create table «schema».» || 'finished_' || to_char(v_day, 'YYYYMMDD') || «text  (like «schema».finished including defaults including storage)»;
        execute «text alter table «schema».finished attach partition «schema».» || 'finished_' || to_char(v_day, 'YYYYMMDD')
          || format(' for values from (%L) to (%L)', to_char(v_day, 'YYYY-MM-DD'), to_char(v_day + 1, 'YYYY-MM-DD'));
      end if;
    end loop;
  exception
    when insufficient_privilege or lock_not_available or deadlock_detected then
      return;
  end;
end
$jobwright$;

`;
