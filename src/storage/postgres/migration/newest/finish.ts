import { quoteRelation } from "../../quoting.ts";

/**
 * Where a finished job is kept, for every statement that ends one: its day, when it is kept for at least a day
 * and that day has a partition, so that it goes with the whole day; else row by row; or for ever.
 *
 * @param expires expression: when it may be pruned, in epoch ms; null: never
 * @param keep expression: how long it is kept, in ms
 * @returns an expression of type date for `finished.bucket`
 */
export function bucketOf(expires: string, keep: string, schema: string): string {
  const day = dayOf(expires);
  // The days are read once for a statement: a look into their table for each row would cost more than all the rest.
  return (
    `case when (${expires}) is null then date 'infinity'` +
    ` when (${keep}) >= ${DAY_MS} and ${day} = any (array (select day from ${schema}.day)) then ${day}` +
    ` else date '-infinity' end`
  );
}

/** The day of an instant in UTC, whatever the time zone of the session. */
export function dayOf(instant: string): string {
  return `(date '1970-01-01' + floor((${instant}) / ${DAY_MS})::integer)`;
}

/**
 * The number before those of the ends in one statement, of which there are less than 1,024: one step of the
 * sequence for all of them, as a step costs as much as an entry in an index.
 */
export function nextEndNo(schema: string): string {
  return `nextval(${quoteRelation(schema, "end_seq")}::regclass) * 1024`;
}

/** Give the caller-chosen ids of jobs free; `gone` names rows with their id, lane and given id. */
export function forgetGiven(s: string, gone: string): string {
  return `delete from ${s}.given as g using ${gone} as k, ${s}.lane as l
    where k.given_id is not null and l.id = k.lane and g.name = l.name and g.given_id = k.given_id and g.job = k.id`;
}

/** The checkpoint of a job that ends, as it is kept with it. */
export function checkpointText(s: string, job: string): string {
  return `(select json_agg(json_build_array(e.key, e.value, e.bytes))::text from ${s}.checkpoint as e where e.job = ${job})`;
}

/** Its log. The lines are not decoded: they may hold what texts cannot. */
export function logText(s: string, job: string): string {
  return `(select '[' || string_agg(o.entry, ',' order by o.number) || ']' from ${s}.log as o where o.job = ${job})`;
}

/** How long a finished job with retention 0 is kept for those who wait for its result. */
export const AWAITED_KEEP_MS = 60_000;

const DAY_MS = 86_400_000;
