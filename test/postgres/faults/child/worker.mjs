// A worker process. What a handler does stands in the payload: it takes its time, or completes itself in a
// transaction of the application, with one row of the application's own.

import { connect, jobwright, leave, listen, log, options, pause, pool, poolOf, tell } from "./member.mjs";

const { jobs } = await connect();
/** As an application has one beside the jobs, or the same. */
const application = poolOf(options.application) ?? pool;

const work = jobwright.defineJob({
  name: "work",
  maxRetries: Number.POSITIVE_INFINITY,
  backoff: jobwright.fixed(5),
  async run({ batch, number, ms = 0, transact = false, fails = 0 }, ctx) {
    const { id, attempt } = ctx.job;
    const process = worker.processId;
    log("start", { process, id, batch, number, attempt });
    try {
      if (transact) return await completeInTransaction(ctx, { process, attempt }, ms);
      if (ms > 0) await pause(ms);
      if (attempt <= fails) throw new Error("as it was told to");
      return { process, attempt };
    } finally {
      log("end", { process, id, attempt });
    }
  },
});

/** The pauses are where the test breaks connections: in a statement and between two. */
async function completeInTransaction(ctx, result, ms) {
  const client = await application.connect();
  let problem;
  try {
    await client.query("begin");
    await client.query("insert into effect (job) values ($1::bigint)", [ctx.job.id]);
    await pause(ms);
    await ctx.completeIn(client, result);
    await client.query("select pg_sleep($1::float8)", [ms / 1_000]);
    await pause(ms);
    await client.query("commit");
    return result;
  } catch (error) {
    problem = error;
    throw error;
  } finally {
    client.release(problem);
  }
}

const worker = jobs.worker([work]);
worker.on("fenced", ({ processId }) => log("fenced", { process: processId }));
worker.on("stale", ({ id }) => tell("stale", id));
await worker.start();
tell("ready");
listen({
  async end() {
    await leave(jobs);
    if (application !== pool) await application?.end();
  },
});
