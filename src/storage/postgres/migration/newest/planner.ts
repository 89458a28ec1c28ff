import { quoteBody } from "../../quoting.ts";

/** The instant of a call: the one handed in by a test, or the database's. */
export const NOW =
  "coalesce(p_now, floor(extract(epoch from statement_timestamp()) * 1000)::double precision)";

/** The minute of an instant, for what is counted in `stat`. */
export function minuteOf(instant: string): string {
  return `floor((${instant}) / 60000)::integer`;
}

/** The time that liveness is judged by. */
export const ALIVE = "coalesce(p_alive, (extract(epoch from clock_timestamp()) * 1000)::double precision)";

/**
 * A function of ours. Its plans are made once and for index access by nested loops, whatever the statistics
 * say (those of an empty table would ask for scans of it when it is full), and whatever the session is set
 * to: connections belong to the user's pool. Each setting costs every call about a microsecond.
 *
 * @param signature `name(parameters) returns type`
 */
export function plannedFunction(schema: string, signature: string, body: string): string {
  return `
create or replace function ${schema}.${signature}
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
as ${quoteBody("jobwright", `\n${body.trim()}\n`)};
`;
}

/** A function that only planned ones call: it runs under their settings. */
export function innerFunction(schema: string, signature: string, body: string): string {
  return `
create or replace function ${schema}.${signature}
language plpgsql
as ${quoteBody("jobwright", `\n${body.trim()}\n`)};
`;
}
