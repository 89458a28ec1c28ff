/**
 * What version 2 adds to the tables: unique and limit keys, schedules, statistics, logs, progress and history.
 * Additive, and each step is one look at the catalog: new columns are null where nobody has written them.
 */
export function tables(s: string): string {
  const busy =
    "with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0)";
  const ofJob = `
  add column key_id uuid,
  add column limit_id uuid,
  add column concurrency smallint,
  add column lines integer,
  add column extra text,
  add column events text,
  add column progress text`;
  return `
alter table ${s}.job ${ofJob.trim()};
comment on column ${s}.job.key_id is 'The row of unique_key that it took, if its key is still its own.';
comment on column ${s}.job.limit_id is 'A hash of the limit key, which means the same everywhere and needs no table.';
comment on column ${s}.job.lines is 'The number of its last log line; null: none.';
comment on column ${s}.job.extra is 'Unique key, limit key and trace, as JSON; null: none of them.';
alter table ${s}.finished ${ofJob.trim()},
  add column log text;
alter table ${s}.ready add column limit_id uuid, add column concurrency smallint;
create index ready_limit on ${s}.ready (limit_id, lane) where limit_id is not null;
alter table ${s}.scheduled add column limit_id uuid, add column concurrency smallint;
alter table ${s}.process add column declares text;
alter table ${s}.tally add column minute integer;
comment on column ${s}.tally.minute is 'When jobs came or ended, in minutes since 1970; null: counted in stat already, or not to be counted.';

-- Unique keys: the job that took each last. Whether it holds the key is judged by the state of that job, so a row
-- that is left behind does no harm. The id is a hash of scope and key.
create table ${s}.unique_key (
  id uuid primary key,
  job bigint not null,
  until_at double precision,
  holds smallint not null,
  inherits boolean not null,
  scope text not null,
  key text not null
) ${busy};
create index unique_key_scope on ${s}.unique_key (scope collate "C", id);
comment on column ${s}.unique_key.job is '0: nobody''s yet.';
comment on column ${s}.unique_key.until_at is 'Held until then whatever becomes of the job; infinity: for ever; null: no time.';
comment on column ${s}.unique_key.holds is '0: by time only, 1: while the job waits, 2: until it ends.';

-- Runs of jobs with a limit key: in the table from the claim to the end of the run.
create table ${s}.slot (
  job bigint primary key,
  limit_id uuid not null
) ${busy};
create index slot_limit on ${s}.slot (limit_id);

-- Jobs that are due, while so many of their limit key run or stand in line that they cannot.
create table ${s}.blocked (
  seq bigint not null,
  id bigint primary key,
  lane integer not null,
  generation integer not null,
  priority smallint not null,
  concurrency smallint not null,
  marked boolean not null,
  limit_id uuid not null
) ${busy};
create index blocked_line on ${s}.blocked (limit_id, lane, priority, seq);

-- Limit keys of which a run has ended, or a job has left the line: whoever comes next lets blocked ones in.
create table ${s}.freed (
  limit_id uuid not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- What came and how it ended, in minutes, hours and days since 1970, and ever.
create table ${s}.stat (
  unit smallint not null,
  at integer not null,
  lane integer not null,
  enqueued bigint not null,
  completed bigint not null,
  cancelled bigint not null,
  dead bigint not null,
  primary key (unit, at, lane)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on column ${s}.stat.unit is '0: ever, 1: a minute, 2: an hour, 3: a day of UTC.';

create sequence ${s}.revision_seq;
create table ${s}.schedule (
  revision bigint not null,
  next_at double precision,
  last_id bigint,
  key text collate "C" primary key,
  text text not null
);
create index schedule_due on ${s}.schedule (next_at, key) where next_at is not null;

-- Log lines of jobs that are not finished, each as \`[number, attempt, line]\`.
create table ${s}.log (
  job bigint not null,
  number integer not null,
  entry text not null,
  primary key (job, number)
);
`;
}
