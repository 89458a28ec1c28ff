import pg from "pg";
import { postgres } from "./server.ts";

// One pool for all storages of a test file: a new connection plans every function anew, which takes longer
// than most tests. Storages made from a URL are tested where that matters.
let pool: pg.Pool | undefined;

/** Schemas that are made, empty and nobody's: making one takes longer than many a test. */
const free: string[] = [];
/** Schemas in use. */
const taken: string[] = [];

/** A schema for one storage, of this process alone. */
export async function takeSchema(): Promise<{ readonly pool: pg.Pool; readonly schema: string }> {
  const { url, freshSchema } = await postgres();
  pool ??= new pg.Pool({ connectionString: url, max: 10, allowExitOnIdle: true });
  const schema = free.pop() ?? freshSchema();
  taken.push(schema);
  return { pool, schema };
}

/** Empty the schemas in use; whoever used them is done. */
export async function giveBackSchemas(): Promise<void> {
  for (const schema of taken.splice(0)) {
    await pool?.query(emptied(schema));
    free.push(schema);
  }
}

/** Makes it as it was after its first migration. Deletes are faster than truncation when there is little to delete. */
export function emptied(schema: string): string {
  return `do $$
declare
  one record;
begin
  for one in select relname, relkind, c.oid from pg_class as c
    where relnamespace = to_regnamespace('${schema}') and relkind in ('r', 'p', 'S') and not relispartition loop
    if one.relkind = 'S' then
      perform setval(one.oid, 1, false);
    elsif one.relname <> 'migration' and one.relname <> 'day' then
      execute format('delete from %I.%I', '${schema}', one.relname);
    end if;
  end loop;
end $$`;
}
