// The floor: the bare driver on a table with a primary key and one index of what is ready. Everything is
// prepared; enqueues that meet a commit in flight share the next one; workers take 500 at a time with
// `for update skip locked`, run them and delete them in one transaction. No history, no fence, no retries,
// no schedule, no names, no heartbeat: a job of a dead worker comes back only because its transaction dies.
import pg from "pg";

const BATCH = 500;
const POLL_MS = 200;

const INSERT_ONE = "insert into floor_job (queue, payload) values ($1, $2::text::json)";
const INSERT_MANY =
  "insert into floor_job (queue, payload) select $1, value from json_array_elements($2::text::json)";
const CLAIM = `select id, payload::text from floor_job where queue = $1 and ready
  order by priority, id limit ${BATCH} for update skip locked`;
const DELETE = "delete from floor_job where id = any($1::bigint[])";

export function create() {
  let client;
  let url;
  let waiting = [];
  let flushing = false;

  const insert = (payloads) =>
    payloads.length === 1
      ? client.query({ name: "one", text: INSERT_ONE, values: ["bench", JSON.stringify(payloads[0])] })
      : client.query({ name: "many", text: INSERT_MANY, values: ["bench", JSON.stringify(payloads)] });

  const flush = async () => {
    flushing = true;
    // One turn later, so that calls made together go together.
    await undefined;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        await insert(batch.map(({ payload }) => payload));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    flushing = false;
  };

  return {
    async install(target) {
      const installer = await connected(target);
      await installer.query(`
        create table floor_job (
          id bigint generated always as identity primary key,
          queue text not null, priority int not null default 0, ready boolean not null default true,
          payload json not null);
        create index floor_ready on floor_job (queue, priority, id) where ready`);
      await installer.end();
    },
    async open(target) {
      url = target;
      client = await connected(url);
    },
    one: (payload) =>
      new Promise((resolve, reject) => {
        waiting.push({ payload, resolve, reject });
        if (!flushing) void flush();
      }),
    bulk: insert,
    /** With the wake-up in the same commit. */
    async send(payload) {
      const text = `with added as (${INSERT_ONE}) select pg_notify('floor', '')`;
      await client.query({ name: "send", text, values: ["bench", JSON.stringify(payload)] });
    },
    async work(onRun) {
      const worker = await connected(url);
      let wake = () => undefined;
      const state = { stopping: false };
      worker.on("notification", () => wake());
      await worker.query("listen floor");
      const claim = { name: "claim", text: CLAIM, values: ["bench"], rowMode: "array" };
      const loop = (async () => {
        while (!state.stopping) {
          let woken = false;
          const wakeUp = new Promise((resolve) => {
            wake = () => {
              woken = true;
              resolve();
            };
          });
          await worker.query("begin");
          const { rows } = await worker.query(claim);
          for (const row of rows) onRun(JSON.parse(row[1]));
          if (rows.length > 0) {
            await worker.query({ name: "delete", text: DELETE, values: [rows.map(([id]) => id)] });
          }
          await worker.query("commit");
          if (rows.length > 0 || woken || state.stopping) continue;
          const timer = setTimeout(() => wake(), POLL_MS);
          await wakeUp;
          clearTimeout(timer);
        }
      })();
      return async () => {
        state.stopping = true;
        wake();
        await loop;
        await worker.end();
      };
    },
    async unfinished() {
      const { rows } = await client.query("select exists (select from floor_job) as some");
      return rows[0].some;
    },
    close: () => client.end(),
  };
}

async function connected(url) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}
