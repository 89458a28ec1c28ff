import type { Migration } from "../../src/storage/postgres/migration/migration.ts";
import { quoteIdentifier } from "../../src/storage/postgres/quoting.ts";

/** A migration as data, so that another process can be given it. */
export interface MigrationText {
  readonly version: number;
  readonly name: string;
  /** With `:"schema"` for the schema, as `psql` would have it. */
  readonly text: string;
}

export function fromTexts(texts: readonly MigrationText[]): Migration[] {
  return texts.map(({ version, name, text }) => ({
    version,
    name,
    sql: (schema) => text.replaceAll(':"schema"', () => schema),
  }));
}

/** The same for a text that is no migration. */
export function inSchema(text: string, schema: string): string {
  return text.replaceAll(':"schema"', () => quoteIdentifier(schema));
}

/**
 * A schema with a history, to prove the runner with: data that move, and bodies and comments that hold
 * every mark the runner quotes with.
 */
export const SAMPLE_TEXTS: readonly MigrationText[] = [
  {
    version: 1,
    name: "first",
    text: `
create table :"schema".note (id bigint generated always as identity primary key, body text not null)
with (fillfactor = 70);
comment on table :"schema".note is 'It''s a \\ "note"; $text$ $step$ $guard$ $$ -- no comment';
create function :"schema".notes() returns bigint language plpgsql set plan_cache_mode = force_generic_plan as $text$
begin
  return (select count(*) from :"schema".note); -- $step$ $guard$
end $text$;
do $$ begin perform :"schema".notes(); end $$;
create type :"schema".colour as enum ('red', 'green') -- the text ends in a comment`,
  },
  {
    version: 2,
    name: "colours",
    text: `
alter table :"schema".note add column colour :"schema".colour not null default 'green';
update :"schema".note set colour = 'red' where body like 'red%';
create index note_colour on :"schema".note (colour, id) where colour = 'red';
create or replace function :"schema".notes() returns bigint language sql as $$ select count(*) from :"schema".note $$;`,
  },
  {
    version: 3,
    name: "split-parts",
    text: `
create table :"schema".part (note bigint not null references :"schema".note on delete cascade, word text not null)
partition by hash (note);
create table :"schema".part_0 partition of :"schema".part for values with (modulus 2, remainder 0);
create table :"schema".part_1 partition of :"schema".part for values with (modulus 2, remainder 1);
insert into :"schema".part select id, word from :"schema".note, regexp_split_to_table(body, '\\s+') word;
drop type if exists :"schema".shade;
grant select on :"schema".part to public;`,
  },
];

export const SAMPLE: readonly Migration[] = fromTexts(SAMPLE_TEXTS);

/** A second step that stops in its middle while the table `public.gate` has a row. */
export const GATED_TEXT: MigrationText = {
  version: 2,
  name: "gated",
  text: `
create table :"schema".early (id bigint);
do $$ begin while exists (select from public.gate) loop perform pg_sleep(0.01); end loop; end $$;
create table :"schema".late (id bigint);`,
};
export const CLOSED_GATE = "create table public.gate as select 1 as row";
export const OPEN_GATE = "delete from public.gate";
/** Of a session in `pg_stat_activity` that stands there. */
export const AT_THE_GATE = "state = 'active' and wait_event = 'PgSleep'";
