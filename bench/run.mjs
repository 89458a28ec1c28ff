// npm run bench -- [scenario …] [--quick]
// Every figure stands beside its durability, and every LMDB rate beside the floor of the same run.
import { cpus } from "node:os";
import { flatScenario } from "./scenario/flat.mjs";
import { latency } from "./scenario/latency.mjs";
import { lmdbRates } from "./scenario/lmdb-rates.mjs";
import { memoryLoop } from "./scenario/memory-loop.mjs";

const SCENARIOS = { memory: memoryLoop, lmdb: lmdbRates, latency, flat: flatScenario };

const args = process.argv.slice(2);
const quick = args.includes("--quick");
const chosen = args.filter((arg) => !arg.startsWith("--"));
const unknown = chosen.filter((name) => !(name in SCENARIOS));
if (unknown.length > 0) {
  console.error(`Unknown scenario ${unknown.join(", ")}. Known: ${Object.keys(SCENARIOS).join(", ")}.`);
  process.exit(2);
}

console.log(`Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}`);
console.log(
  "Machines differ and drift: compare rows of one run, and trust the ratios more than the rates.\n",
);
for (const [name, scenario] of Object.entries(SCENARIOS)) {
  if (chosen.length === 0 || chosen.includes(name)) await scenario({ quick });
}
