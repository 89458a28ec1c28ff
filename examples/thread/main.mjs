// @ts-check
// A handler that blocks. In a thread it holds up nobody: other jobs run meanwhile, heartbeats go out, and a timeout
// ends it even in the middle of a loop.
//   node examples/thread/main.mjs
import { connect, silentLogger } from "jobwright";
import { countPrimes, greet } from "./jobs.mjs";

const jobs = await connect("memory:", { logger: silentLogger });
await jobs.worker([countPrimes, greet]).start();

// This one would count for hours.
const endless = await jobs.enqueue(countPrimes, { below: 1e12 }, { timeout: "1s", maxRetries: 0 });
console.log(await (await jobs.enqueue(greet)).result({ timeout: "10s" }), "says the main thread meanwhile");

const some = await jobs.enqueue(countPrimes, { below: 100_000 });
console.log(await some.result({ timeout: "30s" }), "primes below 100000");

await endless
  .result({ timeout: "30s" })
  .catch((error) => console.log(`${error.cause.name} for the endless one`));
await jobs.close();

// prints:
// Hello! says the main thread meanwhile
// 9592 primes below 100000
// TimeoutError for the endless one
