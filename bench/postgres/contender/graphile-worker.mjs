// graphile-worker as it comes, and in the fastest set-up its "Performance" page documents: 24 slots, a pool
// of 25, a local queue of 500 and completions gathered without delay. Finished jobs are deleted.
import { makeWorkerUtils, run, runMigrations } from "graphile-worker";
import pg from "pg";

const TUNED = {
  concurrentJobs: 24,
  maxPoolSize: 25,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

export function create({ tuned }) {
  let options;
  let utils;
  let looker;
  const optionsFor = (url) => ({ preset: { worker: { connectionString: url, ...(tuned ? TUNED : {}) } } });

  return {
    install: (url) => runMigrations(optionsFor(url)),
    async open(url) {
      options = optionsFor(url);
      utils = await makeWorkerUtils(options);
      looker = new pg.Client({ connectionString: url });
      await looker.connect();
    },
    one: (payload) => utils.addJob("noop", payload),
    bulk: (payloads) => utils.addJobs(payloads.map((payload) => ({ identifier: "noop", payload }))),
    async work(onRun) {
      const runner = await run({
        ...options,
        noHandleSignals: true,
        parsedCronItems: [],
        taskList: {
          noop: async (payload) => {
            onRun(payload);
          },
        },
      });
      return () => runner.stop();
    },
    async unfinished() {
      const { rows } = await looker.query(
        "select exists (select from graphile_worker._private_jobs) as some",
      );
      return rows[0].some;
    },
    async close() {
      await utils.release();
      await looker.end();
    },
  };
}
