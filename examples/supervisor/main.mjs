// @ts-check
// Managed threads: a Supervisor runs worker modules in several threads, or processes, of this program, and starts
// those anew that die. Their jobs are run by others at once. What happens is said on standard error, too.
//   node examples/supervisor/main.mjs
import { connect, Supervisor } from "jobwright";
import { MemoryStorage } from "jobwright/memory";
import { add, fragile } from "./jobs.mjs";

// Threads share the storage of the main thread. Processes open it themselves: { url: "lmdb:./jobs", processes: 4 }.
const storage = new MemoryStorage();
const jobs = await connect(storage);
const supervisor = new Supervisor({
  modules: new URL("./jobs.mjs", import.meta.url),
  storage,
  threads: 2,
});
supervisor.on("exited", ({ code }) => code !== 0 && console.log(`a thread ended with ${code}`));
supervisor.on("restarting", () => console.log("and is started again"));
await supervisor.start();
console.log("threads:", supervisor.children.length);

const handle = await jobs.enqueue(add, { a: 2, b: 3 });
console.log("2 + 3 =", await handle.result({ timeout: "30s" }));
console.log(await (await jobs.enqueue(fragile)).result({ timeout: "30s" }));

// One stop for all; stopOnSignals([supervisor, jobs]) does it on SIGTERM and SIGINT.
await supervisor.stop();
await jobs.close();

// prints:
// threads: 2
// 2 + 3 = 5
// a thread ended with 3
// and is started again
// ran again in another thread
