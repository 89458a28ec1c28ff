// @ts-check
// Three programs on one machine, the first: a job server. It alone opens the store; all others reach it by URL.
//   node examples/server/server.mjs [folder] [port]
// `jobwright serve lmdb:./jobs` is the same as a command. Then start worker.mjs and spawner.mjs, in any order.
import { stopOnSignals } from "jobwright";
import { LmdbStorage } from "jobwright/lmdb";
import { JobServer } from "jobwright/server";

const [, , folder = "./jobs", port = "7420"] = process.argv;
// What was stored outlives the server: start it again on the same folder, and the others go on by themselves.
const storage = new LmdbStorage({ path: folder });
const server = new JobServer({ storage, port: Number(port) });
await server.start();
console.log(`Serving jobs at ${server.url}`);

// Ctrl-C answers the calls under way, and then closes the store.
stopOnSignals([server, { [Symbol.asyncDispose]: () => storage.close() }]);

// prints:
// Serving jobs at ws://127.0.0.1:7420
