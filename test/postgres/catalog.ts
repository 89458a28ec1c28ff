import type { Client } from "pg";

/**
 * Everything a schema is made of, as `pg_dump -s` would tell it: one line a thing, sorted. Two schemas of
 * one name are the same if and only if these are.
 */
export async function catalogOf(client: Client, schema: string): Promise<string[]> {
  const { rows } = await client.query<{ line: string }>(CATALOG, [schema]);
  return rows.map(({ line }) => line);
}

/** The version rows, without the time. */
export async function versionsOf(client: Client, schema: string): Promise<string[]> {
  const { rows } = await client.query<{ row: string }>(
    `select version || ' ' || name as row from "${schema.replaceAll('"', '""')}".migration order by version`,
  );
  return rows.map(({ row }) => row);
}

const CATALOG = `
with s as (select oid, nspname, nspacl from pg_namespace where nspname = $1::text),
r as (select c.* from pg_class c join s on s.oid = c.relnamespace)
select line from (
  select 'schema ' || coalesce(nspacl::text, '') as line from s
  union all
  select format('relation %s %s %s %s %s partition %s of %s comment %s acl %s', relname, relkind, relpersistence,
    reloptions, (select amname from pg_am where oid = relam), pg_get_expr(relpartbound, r.oid),
    coalesce(pg_get_partkeydef(case relkind when 'p' then r.oid end), ''), obj_description(r.oid, 'pg_class'), relacl)
  from r
  union all
  select format('column %s.%s %s %s not null %s default %s identity %s generated %s storage %s compression %s comment %s',
    relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attidentity,
    attgenerated, attstorage, attstattarget, col_description(r.oid, attnum))
  from r join pg_attribute a on attrelid = r.oid and attnum > 0 and not attisdropped
  left join pg_attrdef d on adrelid = r.oid and adnum = attnum
  where relkind <> 'i'
  union all
  select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(c.oid))
  from pg_constraint c join s on connamespace = s.oid
  union all
  select format('index %s valid %s clustered %s', pg_get_indexdef(indexrelid), indisvalid, indisclustered)
  from pg_index join r on r.oid = indexrelid
  union all
  select format('function %s acl %s comment %s', pg_get_functiondef(p.oid), proacl, obj_description(p.oid, 'pg_proc'))
  from pg_proc p join s on s.oid = pronamespace where prokind <> 'a'
  union all
  select format('sequence %s %s %s %s %s %s %s', relname, seqtypid::regtype, seqstart, seqincrement, seqmax, seqcache, seqcycle)
  from r join pg_sequence on seqrelid = r.oid
  union all
  select format('trigger %s', pg_get_triggerdef(t.oid)) from pg_trigger t join r on r.oid = tgrelid where not tgisinternal
  union all
  select format('type %s %s %s %s', typname, typtype, format_type(typbasetype, typtypmod),
    (select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid = t.oid))
  from pg_type t join s on s.oid = typnamespace
  union all
  select format('view %s %s', relname, pg_get_viewdef(oid)) from r where relkind in ('v', 'm')
  union all
  select format('rule %s %s', relname, rulename) from pg_rewrite w join r on r.oid = ev_class
  union all
  select format('statistics %s', pg_get_statisticsobjdef(e.oid)) from pg_statistic_ext e join s on s.oid = stxnamespace
) all_of_it
order by line collate "C"`;
