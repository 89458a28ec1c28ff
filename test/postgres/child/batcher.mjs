// A worker whose batches write a row for each job in one transaction and complete the jobs with it. Some jobs fail
// the first time. It kills itself in the middle of some batches; `BATCHER` says where it works.

import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import pg from "pg";

/** A build other than the checkout's own, to try a mutant. */
const dist = process.env.JOBWRIGHT_DIST;
const base = dist === undefined ? new URL("../../../dist/", import.meta.url) : pathToFileURL(`${dist}/`);
const { connect, defineBatchJob, fixed, silentLogger } = await import(new URL("index.js", base).href);

const { url, schema, lostAfterMs } = JSON.parse(process.env.BATCHER);
const pool = new pg.Pool({ connectionString: url, max: 8 });
const die = () => process.kill(process.pid, "SIGKILL");
// The test is gone: so are we.
process.on("disconnect", die);

/** Kill this process at a place that the payload of some job names, the first time it is there. */
const dieAt = (items, place) => {
  if (items.some(({ payload, job }) => payload.dieAt === place && job.attempt === 1)) die();
};

const insert = (client, item) =>
  client.query("insert into row (n, attempt, by) values ($1, $2, $3)", [
    item.payload.n,
    item.job.attempt,
    process.pid,
  ]);

async function inTransaction(work) {
  const client = await pool.connect();
  try {
    await client.query("begin");
    await work(client);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

const batch = defineBatchJob({
  name: "batch",
  maxBatch: 8,
  async run(items, ctx) {
    await inTransaction(async (client) => {
      dieAt(items, "begin");
      const [isolated, together] = [items.slice(0, 3), items.slice(3)];
      for (const item of isolated) {
        await ctx.isolate(client, item, async () => {
          await insert(client, item);
          if (item.payload.fails && item.job.attempt === 1) throw new Error("fails once");
        });
      }
      await ctx.bisect(client, together, async (_tx, some) => {
        for (const item of some) {
          await insert(client, item);
          if (item.payload.fails && item.job.attempt === 1) throw new Error("fails once");
        }
      });
      await pause(Math.random() * 20);
      dieAt(items, "written");
    });
    dieAt(items, "committed");
    await pause(Math.random() * 20);
  },
});

const jobs = await connect(`${url}?schema=${schema}`, {
  ...{ logger: silentLogger, beatEvery: lostAfterMs / 5, lostAfter: lostAfterMs },
  defaults: { maxRetries: Infinity, backoff: fixed(5) },
});
const worker = jobs.worker([batch], { concurrency: 3 });
await worker.start();
process.send("ready");
