import { quoteLiteral, quoteRelation } from "../../quoting.ts";

/**
 * Processes may run under a role that owns nothing. Whoever may write jobs may write the new tables too, and call the
 * functions that were made anew: without that a migration by the owner would stop the others.
 */
export function rights(s: string, tables: readonly string[], sequences: readonly string[]): string {
  const named = (names: readonly string[]): string => names.map((name) => `${s}.${name}`).join(", ");
  return `
do $jobwright$
declare
  v_role text;
begin
  for v_role in
    select distinct case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
    from pg_class as c cross join lateral aclexplode(c.relacl) as a
    where c.oid = ${quoteRelation(s, "job")}::regclass and a.grantee <> c.relowner and a.privilege_type = 'INSERT'
  loop
    execute ${quoteLiteral(`grant all on ${named(tables)} to `)} || v_role;
    execute ${quoteLiteral(`grant all on sequence ${named(sequences)} to `)} || v_role;
  end loop;
  for v_role in
    select distinct case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
    from pg_proc as p cross join lateral aclexplode(p.proacl) as a
    where p.oid = to_regproc(${quoteRelation(s, "claim")}) and a.grantee <> p.proowner
  loop
    execute ${quoteLiteral(`grant execute on all functions in schema ${s} to `)} || v_role;
  end loop;
end
$jobwright$;
`;
}
