// @ts-check
// One of the two workers of main.mjs.
import { connect, implement, silentLogger, stopOnSignals } from "jobwright";
import { send } from "./jobs.mjs";

const run = implement(send, async ({ what }, ctx) => {
  const packed = ctx.checkpoint.get("packed");
  if (packed !== undefined) return `sent the ${what} that the dead worker had packed`;
  // Saved at once: what was done before the crash need not be done again after it.
  await ctx.checkpoint.set("packed", true);
  process.kill(process.pid, "SIGKILL");
});

const jobs = await connect(`lmdb:${process.argv[2]}`, { logger: silentLogger });
await jobs.worker([run]).start();
stopOnSignals([jobs]);
process.once("disconnect", () => jobs.close());
process.send?.("ready");
