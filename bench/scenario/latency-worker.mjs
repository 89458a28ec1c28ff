import { connect, defineJob, json, stopOnSignals } from "../../dist/index.js";

const ping = defineJob({
  name: "ping",
  payload: json(),
  run: () => {
    process.send(Number(process.hrtime.bigint()) / 1e6);
  },
});

const jobs = await connect(process.argv[2]);
const worker = jobs.worker([ping]);
await worker.start();
stopOnSignals([worker, jobs]);
process.on("disconnect", () => process.exit());
process.send("ready");
