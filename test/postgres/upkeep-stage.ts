import pg from "pg";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { silentLogger } from "../../src/logger.ts";
import { PostgresStorage, type PostgresStorageOptions } from "../../src/storage/postgres/index.ts";
import { quoteIdentifier } from "../../src/storage/postgres/quoting.ts";
import { Stage } from "../../src/testing/storage-suite/stage.ts";
import { type LocalServer, startServer } from "../support/postgres/server.ts";

/** A storage with its time, and its tables. */
export interface Place {
  readonly stage: Stage;
  readonly schema: string;
  /** Columns of the rows as text; `$s` stands for the schema. */
  sql(text: string, values?: readonly unknown[]): Promise<string[][]>;
  /** Another connection, on which a transaction can be left open. */
  client(): Promise<{ sql: Place["sql"]; pid: number; heard: string[] }>;
  /** Another storage on the same schema. */
  other(options?: Partial<PostgresStorageOptions>): Promise<PostgresStorage>;
  /** Wait until a connection waits for a lock. */
  untilWaits(pid?: number): Promise<void>;
}

/** Places on one server for the tests of a file, which must leave no deadlock in its log. */
export function places(): (options?: Partial<PostgresStorageOptions>) => Promise<Place> {
  let server: LocalServer;
  let n = 0;
  const open: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    server = await startServer();
  });
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close();
  });
  afterAll(async () => {
    const log = server.log();
    await server[Symbol.asyncDispose]();
    expect(log).not.toContain("deadlock detected");
  });

  return async (options = {}) => {
    n += 1;
    // A name that has to be quoted wherever it stands, and that `format` and literals could trip over.
    const schema = `Jobs %s %1$s ' \\ @ ${n}`;
    const base = { url: server.url, schema, logger: silentLogger, ...options };
    const storage = async (more: Partial<PostgresStorageOptions>): Promise<PostgresStorage> => {
      const made = new PostgresStorage({ ...base, ...more });
      open.push(() => made.close());
      await made.open();
      return made;
    };
    const connect = async (): Promise<pg.Client> => {
      const client = new pg.Client({ connectionString: server.url });
      client.on("error", () => undefined);
      await client.connect();
      open.push(() => client.end());
      return client;
    };
    const over =
      (client: pg.Client): Place["sql"] =>
      async (text, values = []) => {
        const filled = text.replaceAll("$s", () => quoteIdentifier(schema));
        const types = { getTypeParser: () => (value: string) => value };
        const { rows } = await client.query<string[]>({
          text: filled,
          values: [...values],
          rowMode: "array",
          types,
        });
        return rows;
      };

    const stage = await Stage.open(async (time) => storage({ ...time, ...options }));
    let own: Promise<pg.Client> | undefined;
    const sql: Place["sql"] = async (...args) => over(await (own ??= connect()))(...args);
    return {
      stage,
      schema,
      sql,
      client: async () => {
        const connection = await connect();
        const client = over(connection);
        const heard: string[] = [];
        connection.on("notification", ({ payload }) => heard.push(payload ?? ""));
        const [row] = await client("select pg_backend_pid()");
        return { sql: client, pid: Number(row?.[0]), heard };
      },
      other: (more = {}) => storage({ clock: stage.clock, ...options, ...more }),
      untilWaits: async (pid) => {
        for (;;) {
          const waiting = await sql(
            `select from pg_stat_activity where wait_event_type = 'Lock' and ($1::int is null or pid = $1::int)
             and datname = current_database()`,
            [pid ?? null],
          );
          if (waiting.length > 0) return;
        }
      },
    };
  };
}

/** Each job is in exactly one place, its copies agree, and the tally says the same. */
export async function expectWhole({ sql }: Place): Promise<void> {
  const jobs = await sql(`
    select j.id, (select count(*) from $s.scheduled as w where w.id = j.id) +
      (select count(*) from $s.ready as r where r.id = j.id) +
      (select count(*) from $s.blocked as b where b.id = j.id) +
      (select count(*) from $s.lease as x where j.id = any (x.ids)
        and coalesce(x.generations[array_position(x.ids, j.id)], 0) = j.generation
        and (j.token is null or j.token = x.token)) as places
    from $s.job as j`);
  expect(jobs.filter(([, number]) => number !== "1")).toEqual([]);
  const differing = await sql(`
    select p.* from (
      select id, lane, generation, priority, marked, run_at from $s.scheduled
      union all select id, lane, generation, priority, marked, null from $s.ready
      union all select id, lane, generation, priority, marked, null from $s.blocked) as p
    left join $s.job as j on j.id = p.id and j.lane = p.lane and j.generation = p.generation
      and j.priority = p.priority and j.marked = p.marked and j.run_at = coalesce(p.run_at, j.run_at)
    where j.id is null`);
  expect(differing).toEqual([]);
  const tallied = await sql(`
    select state, sum(n) from (
      select dst as state, n from $s.tally union all select src, -n from $s.tally) as moves
    where state > 0 group by state having sum(n) <> 0 order by state`);
  const counted = await sql(`
    select state, count(*) from (
      select 1 as state from $s.scheduled union all select 2 from $s.ready union all select 3 from $s.blocked
      union all select state from $s.finished
      union all select 4 from $s.job as j where not exists (select from $s.scheduled as w where w.id = j.id)
        and not exists (select from $s.ready as r where r.id = j.id)
        and not exists (select from $s.blocked as b where b.id = j.id)) as places
    group by state order by state`);
  expect(tallied).toEqual(counted);
  const strays = await sql(`
    select 'attempt', job from $s.attempt union all select 'checkpoint', job from $s.checkpoint
    union all select 'ask', job from $s.ask union all select 'log', job from $s.log
    union all select 'slot', job from $s.slot
    except (
      select kind, id from $s.job, unnest(array['attempt', 'checkpoint', 'ask', 'log', 'slot']) as kind)`);
  expect(strays).toEqual([]);
  const limited = await sql(`
    select 'a run without a slot', id from $s.job where limit_id is not null
      and id not in (select job from $s.slot union all select id from $s.scheduled union all select id from $s.ready
        union all select id from $s.blocked)
    union all select 'a slot of what waits', job from $s.slot
      where job in (select id from $s.scheduled union all select id from $s.ready union all select id from $s.blocked)
    union all select 'another key', p.id from (
        select id, limit_id from $s.scheduled union all select id, limit_id from $s.ready
        union all select id, limit_id from $s.blocked union all select job, limit_id from $s.slot) as p
      join $s.job as j on j.id = p.id where p.limit_id is distinct from j.limit_id`);
  expect(limited).toEqual([]);
  const given = await sql(`
    select job from $s.given where job not in (select id from $s.job union all select id from $s.finished)`);
  expect(given).toEqual([]);
}
