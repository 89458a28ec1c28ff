import { quoteLiteral, quoteRelation } from "../../quoting.ts";
import { dayOf, forgetGiven } from "./finish.ts";
import { plannedFunction } from "./planner.ts";

/** Partitions of finished jobs, which come before their day and go with all that they hold when it is over. */
export function dayFunctions(s: string): string {
  return [dropDay(s), ensureDays(s)].join("");
}

/** How long a change of partitions waits for others, who wait behind it meanwhile. */
const LOCK_TIMEOUT = "100ms";
/** How far ahead of today days have a partition: the built-in retention and some time to be heard of. */
export const DAYS_AHEAD = 9;

const DAY_TABLE = "'finished_' || to_char(v_day, 'YYYYMMDD')";

/** The days that have a partition, whoever made it. */
function daysOf(s: string): string {
  return `(
    select to_date(substr(c.relname, 10), 'YYYYMMDD') as day
    from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = ${quoteRelation(s, "finished")}::regclass and c.relname ~ '^finished_[0-9]{8}$')`;
}

/**
 * Drop the oldest day that is over, with all its jobs. Answers how many went, or null when there is no such day,
 * or it is in use: then it is tried again later. Who may not drop tables removes up to \`p_limit\` of its jobs.
 */
function dropDay(s: string): string {
  const [before = "", after = ""] = forgetGiven(s, "\0").split("\0");
  return plannedFunction(
    s,
    "drop_day(p_limit integer) returns bigint",
    `
declare
  v_day date;
  v_table regclass;
  v_n bigint;
begin
  select min(d.day) into v_day from ${daysOf(s)} as d where d.day < ${dayOf("extract(epoch from clock_timestamp()) * 1000")};
  if v_day is null then
    return null;
  end if;
  v_table := to_regclass(${quoteRelation(s, "")} || ${DAY_TABLE});
  if not pg_has_role((select relowner from pg_class where oid = v_table), 'USAGE') then
    with old as materialized (
      select f.id from ${s}.finished as f where f.bucket = v_day limit p_limit for update skip locked
    ), gone as materialized (
      delete from ${s}.finished as f using old where f.id = old.id and f.bucket = v_day
      returning f.id, f.lane, f.state, f.given_id
    ), counted as (
      insert into ${s}.tally (lane, src, dst, n) select lane, state, 0, count(*) from gone group by lane, state
    ), forgotten as (
      ${forgetGiven(s, "gone")}
    )
    select nullif(count(*), 0) into v_n from gone;
    return v_n;
  end if;
  -- This one is read from end to end.
  perform set_config('enable_seqscan', 'on', true);
  -- Nobody takes jobs out from now on, so the count is what goes; whoever is about to, makes us give up below.
  perform set_config('lock_timeout', '${LOCK_TIMEOUT}', true);
  execute ${around("lock table ", " in share row exclusive mode")};
  execute ${around(
    `with counted as (insert into ${s}.tally (lane, src, dst, n) select lane, state, 0, count(*) from `,
    ` group by lane, state returning n), forgotten as (${before}`,
    `${after}) select coalesce(sum(n), 0) from counted`,
  )} into v_n;
  delete from ${s}.day where day = v_day;
  execute ${around("drop table ")};
  return v_n;
exception
  when lock_not_available or deadlock_detected then
    return null;
end`,
  );
}

/** A statement with the name of the table between its parts, as an expression. */
function around(...parts: string[]): string {
  const [last = "", ...rest] = parts.map(quoteLiteral).reverse();
  return rest.length === 0
    ? `${last} || v_table::text`
    : [...rest.reverse(), last].join(" || v_table::text || ");
}

/**
 * Give the days to come their partitions. One counts only from the next call on: by then whoever remembers
 * which partitions there are has heard of it. Does nothing for who may not make tables: then jobs go row by row.
 */
function ensureDays(s: string): string {
  return plannedFunction(
    s,
    "ensure_days() returns void",
    `
declare
  v_today date := ${dayOf("extract(epoch from clock_timestamp()) * 1000")};
  v_day date;
begin
  if not pg_try_advisory_xact_lock(hashtextextended(${quoteRelation(s, "finished")}, 0)) then
    return;
  end if;
  insert into ${s}.day (day)
    select d.day from ${daysOf(s)} as d
    where d.day > v_today and not exists (select from ${s}.day as known where known.day = d.day)
    on conflict do nothing;
  -- Somebody may have dropped or detached one by hand.
  delete from ${s}.day where day not in (select d.day from ${daysOf(s)} as d);
  if (select count(*) from ${daysOf(s)} as d where d.day > v_today and d.day <= v_today + ${DAYS_AHEAD}) = ${DAYS_AHEAD} then
    return;
  end if;
  begin
    perform set_config('lock_timeout', '${LOCK_TIMEOUT}', true);
    for v_day in select v_today + n from generate_series(1, ${DAYS_AHEAD}) as n loop
      if to_regclass(${quoteRelation(s, "")} || ${DAY_TABLE}) is null then
        execute ${quoteLiteral(`create table ${s}.`)} || ${DAY_TABLE} || ${quoteLiteral(
          ` (like ${s}.finished including defaults including storage)`,
        )};
        execute ${quoteLiteral(`alter table ${s}.finished attach partition ${s}.`)} || ${DAY_TABLE}
          || format(' for values from (%L) to (%L)', to_char(v_day, 'YYYY-MM-DD'), to_char(v_day + 1, 'YYYY-MM-DD'));
      end if;
    end loop;
  exception
    when insufficient_privilege or lock_not_available or deadlock_detected then
      return;
  end;
end`,
  );
}
