import { quoteRelation } from "../../quoting.ts";
import { innerFunction, NOW, plannedFunction } from "./planner.ts";

/** Schedules: rows that only whoever has seen them last may write. */
export function scheduleFunctions(s: string): string {
  return [dueSchedules(s), newRevision(s)].join("");
}

function newRevision(s: string): string {
  return innerFunction(
    s,
    "new_revision() returns bigint",
    `
begin
  return nextval(${quoteRelation(s, "revision_seq")}::regclass);
end`,
  );
}

function dueSchedules(s: string): string {
  return plannedFunction(
    s,
    `due_schedules(p_now double precision, p_limit integer)
    returns table (o_now double precision, o_key text, o_text text, o_next_at double precision, o_revision bigint, o_last_id bigint)
    stable`,
    `
declare
  v_now double precision := ${NOW};
begin
  return query select v_now, null::text, null::text, null::double precision, null::bigint, null::bigint;
  return query
    select v_now, x.key, x.text, x.next_at, x.revision, x.last_id from ${s}.schedule as x
    where x.next_at is not null order by x.next_at, x.key limit p_limit + 1;
end`,
  );
}
