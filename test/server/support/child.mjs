// A process of the kill tests: `serve` a folder, `spawn` jobs, or `work` on them. It tells its parent what happened,
// and ends with it.
import { mkdirSync } from "node:fs";

const [role, target, name] = process.argv.slice(2);
const dist = (path) => import(new URL(`../../../dist/${path}`, import.meta.url).href);
const { connect, defineJob, silentLogger } = await dist("index.js");

/** Calls that one spawner has under way. */
const CALLS = 4;
const job = { name: "work", retention: { completed: Infinity } };
const tell = (message) => process.connected && process.send(message);
process.on("disconnect", () => process.exit(0));

const roles = {
  async serve() {
    const { JobServer } = await dist("server/index.js");
    const { LmdbStorage } = await dist("storage/lmdb/index.js");
    mkdirSync(target, { recursive: true });
    const server = new JobServer({ storage: new LmdbStorage({ path: target }), port: Number(name) });
    await server.start();
    tell({ what: "listens", url: server.url, port: server.port });
    return async () => server.stop();
  },

  async spawn() {
    const jobs = await connect(target, { logger: silentLogger });
    const definition = defineJob(job);
    let isOver = false;
    let made = 0;
    const line = async () => {
      // oxlint-disable-next-line no-unmodified-loop-condition -- the end of this role changes it
      while (!isOver) {
        const payload = `${name}-${(made += 1)}`;
        try {
          await jobs.enqueue(definition, payload);
          tell({ what: "acknowledged", payload });
        } catch (error) {
          tell({ what: "failed", payload, error: error.name });
        }
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    const lines = Array.from({ length: CALLS }, line);
    tell({ what: "spawns" });
    return async () => {
      isOver = true;
      await Promise.all(lines);
      tell({ what: "made", made });
      await jobs.close();
    };
  },

  async work() {
    const jobs = await connect(target, { logger: silentLogger });
    const run = (payload) => {
      tell({ what: "ran", payload });
      return `done ${payload}`;
    };
    const worker = jobs.worker([defineJob({ ...job, run })], { concurrency: 5 });
    await worker.start();
    tell({ what: "works" });
    return async () => {
      await worker.stop();
      await jobs.close();
    };
  },
};

const stop = await roles[role]();
process.once("message", async () => {
  await stop();
  tell({ what: "stopped" });
  process.disconnect();
});
