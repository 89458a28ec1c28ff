// A program as users write it: `node child.mjs <what> <url>`. It says on standard output how far it is.
import { connect, defineJob, stopOnSignals } from "jobwright";

const [what, url] = process.argv.slice(2);
const say = (text) => process.stdout.write(`${text}\n`);
const jobs = await connect(url);

const held = defineJob({
  name: "held",
  run: (_payload, ctx) =>
    new Promise((_resolve, reject) => {
      say("running");
      if (what !== "deaf") ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason));
      // Keeps the process alive, as a socket would.
      setInterval(() => undefined, 1_000);
    }),
});
const quick = defineJob({ name: "quick", run: () => say("done") });

switch (what) {
  case "idle-connect":
    await jobs.enqueue(held, 0);
    say("ready");
    break;
  case "idle":
    await jobs.worker([quick]).start();
    stopOnSignals([jobs]);
    say("ready");
    break;
  case "busy":
  case "deaf": {
    const worker = jobs.worker([held], { shutdownTimeout: what === "deaf" ? "1h" : 50 });
    await jobs.enqueue(held, 0);
    // First: the handler may run, and the signal come, before the start is known here.
    stopOnSignals([worker, jobs]);
    await worker.start();
    break;
  }
}
