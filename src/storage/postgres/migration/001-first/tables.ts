export const tables: string = String.raw`
create sequence «schema».seq;
create sequence «schema».end_seq;

-- One queue × one name: what is claimed, paused and counted.
create table «schema».lane (
  id integer generated always as identity primary key,
  queue text not null,
  name text not null,
  paused boolean not null default false,
  unique (queue, name)
);

-- Queues with a setting of their own.
create table «schema».queue (
  name text primary key,
  paused boolean not null
);

-- Retries, backoff, timeout and retention, as JSON; the id is a hash of the text, so it means the same everywhere.
create table «schema».policy (
  id bigint primary key,
  text text not null
);

-- Options of definitions, as their workers told them: for the function enqueue.
create table «schema».definition (
  name text primary key,
  queue text not null,
  priority smallint not null,
  policy text not null,
  tags text
);

create table «schema».job (
  id bigint primary key,
  created_at double precision not null,
  run_at double precision not null,
  started_at double precision,
  policy bigint,
  keep_ms double precision,
  lane integer not null,
  generation integer not null default 0,
  attempt integer not null default 0,
  failures integer not null default 0,
  snoozes integer not null default 0,
  releases integer not null default 0,
  settled_generation integer,
  checkpoint_bytes integer not null default 0,
  priority smallint not null,
  marked boolean not null default false,
  token text,
  settled_by text,
  policy_text text,
  tags text,
  given_id text,
  cancel_asked text,
  error text,
  result text,
  payload text not null
);
comment on column «schema».job.keep_ms is 'Retention of the completed job; null: for ever.';
comment on column «schema».job.token is 'The lease that took the run over from a lost process; null: the lease of the claim.';
comment on column «schema».job.policy_text is 'The policy itself, when it is not in the table of policies.';

-- Jobs that can be claimed, and nothing else. seq is the job's id the first time.
create table «schema».ready (
  seq bigint not null,
  id bigint not null,
  lane integer not null,
  generation integer not null,
  priority smallint not null,
  marked boolean not null default false
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create unique index ready_line on «schema».ready (lane, priority, seq) where not marked;
create unique index ready_marked on «schema».ready (lane, priority, seq) where marked;
create unique index ready_moved on «schema».ready (id) where id <> seq;

create table «schema».scheduled (
  run_at double precision not null,
  id bigint not null,
  lane integer not null,
  generation integer not null,
  priority smallint not null,
  marked boolean not null default false,
  primary key (run_at, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- One row for up to 500 jobs of a claim. Never updated: a row that changed would make whoever settles one of
-- its jobs in a long transaction hold up all the others.
create table «schema».lease (
  claimed_at double precision not null,
  lo bigint not null,
  hi bigint not null,
  part integer not null,
  token text not null,
  process_id text not null,
  claimed_by text not null,
  origin text not null,
  ids bigint[] not null,
  generations integer[],
  seqs bigint[],
  primary key (token, part)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
alter table «schema».lease alter column ids set storage plain;
create index lease_process on «schema».lease (process_id);
create index lease_span on «schema».lease using gist (int8range(lo, hi, '[]'));
comment on column «schema».lease.origin is 'The token of the claim; another than token when it was taken over.';
comment on column «schema».lease.generations is 'By position in ids; null: all 0.';
comment on column «schema».lease.seqs is 'By position in ids; null: as the ids.';

-- Reported starts of handlers, by the token of the claim.
create table «schema».start (
  at double precision not null,
  origin text not null,
  ids bigint[] not null,
  generations integer[] not null
);
create index start_origin on «schema».start (origin);

create table «schema».process (
  beat_at double precision not null,
  registered_at double precision not null,
  lost_after_ms double precision not null,
  pid integer not null,
  leaving boolean not null default false,
  id text primary key,
  name text,
  host text not null,
  queues text not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Runs that someone wants cancelled.
create table «schema».ask (
  job bigint primary key,
  generation integer not null,
  process_id text not null,
  reason text not null
);
create index ask_process on «schema».ask (process_id);

-- Processes that found less than they asked for: they are told when something comes. Lost with a crash: a hint.
create unlogged table «schema».waiter (
  process_id text primary key,
  queues text[] not null
);

-- Jobs whose end someone waits for, here until then or until the waiting is over.
create table «schema».awaited (
  job bigint not null,
  instance text not null,
  until_at double precision not null,
  primary key (job, instance)
);

create table «schema».attempt (
  job bigint not null,
  number integer not null,
  entry text not null,
  primary key (job, number)
);

create table «schema».checkpoint (
  job bigint not null,
  bytes integer not null,
  key text not null,
  value text not null,
  primary key (job, key)
);

-- Ids chosen by callers: one per job name, as long as the job is kept.
create table «schema».given (
  job bigint not null,
  name text not null,
  given_id text not null,
  hash text not null,
  primary key (name, given_id)
);

-- Answers to batches of late, so that a repeated one is answered as the first time.
create table «schema».batch (
  at double precision not null,
  id text primary key,
  answer text
);
create index batch_at on «schema».batch (at);

-- Moves of jobs from state to state, n at a time: the counts are sums over them. Upkeep folds them together.
create table «schema».tally (
  lane integer not null,
  n integer not null,
  src smallint not null,
  dst smallint not null
);

-- The end of a job's life, by the day of its expiry. What is kept for less than a day, or has no day of its
-- own, is in finished_row and removed row by row; what is kept for ever is in finished_ever.
create table «schema».finished (
  id bigint not null,
  end_no bigint not null,
  ended_at double precision not null,
  created_at double precision not null,
  run_at double precision not null,
  started_at double precision,
  expires_at double precision,
  policy bigint,
  keep_ms double precision,
  bucket date not null,
  lane integer not null,
  generation integer not null,
  attempt integer not null,
  failures integer not null,
  snoozes integer not null,
  releases integer not null,
  settled_generation integer,
  priority smallint not null,
  state smallint not null,
  marked boolean not null,
  settled_by text,
  policy_text text,
  tags text,
  given_id text,
  error text,
  reason text,
  result text,
  attempts text,
  checkpoint text,
  payload text not null
) partition by range (bucket);
create index finished_id on «schema».finished (id);
create index finished_end on «schema».finished (state, end_no);
create table «schema».finished_row partition of «schema».finished for values from (minvalue) to ('1970-01-01');
create table «schema».finished_ever partition of «schema».finished for values from ('infinity') to (maxvalue);
create index finished_row_expiry on «schema».finished_row (expires_at);

-- Days that have a partition of finished.
create table «schema».day (
  day date primary key
);

`;
