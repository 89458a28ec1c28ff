import { plannedFunction } from "./planner.ts";

/**
 * What processes of the version before call, while a deploy goes on: functions that have got another name because
 * they answer more. What they answer is what it was; what they do is right for jobs with keys too. Other functions of
 * that version are there as it made them: those look, or call what is replaced.
 */
export function earlierFunctions(s: string): string {
  return [
    plannedFunction(
      s,
      "promote(p_now double precision, p_limit integer) returns table (promoted integer, next_at double precision)",
      `
begin
  return query select p.promoted, p.next_at from ${s}.promote_due(p_now, p_limit) as p;
end`,
    ),
    // A blocked job is in none of the places that the version before knows: it would count as running.
    plannedFunction(
      s,
      `lock_jobs(p_now double precision, p_ids bigint[])
    returns table (at double precision, place integer, tid text, place_seq bigint, holder text, ${LOCKED})`,
      `
begin
  return query select ${NAMES.map((name) => `h.${name}`).join(", ")} from ${s}.hold_jobs(p_now, p_ids) as h;
end`,
    ),
  ].join("");
}

const TYPES =
  "bigint integer text text text double double double integer integer integer integer integer integer integer " +
  "smallint boolean text text text text text text text text smallint double double text";

const LOCKED = TYPES.split(" ")
  .map((type, index) => `c${index} ${type === "double" ? "double precision" : type}`)
  .join(", ");

const NAMES = [
  "at",
  "place",
  "tid",
  "place_seq",
  "holder",
  ...TYPES.split(" ").map((_, index) => `c${index}`),
];
