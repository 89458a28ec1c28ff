// npm run bench -- [scenario …] [--quick]
// npm run bench -- postgres [--full] [--size n] [--json file] [--without contender] [--measures name,…]
// npm run bench -- server [--quick | --full] [--size n] [--json file] [--without storage] [--measures name,…] [--profile folder]
// npm run bench -- gate [--against HEAD] [--quick]
// Every figure stands beside its durability, and every LMDB rate beside the floor of the same run.
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { flatScenario } from "./scenario/flat.mjs";
import { gate } from "./scenario/gate.mjs";
import { latency } from "./scenario/latency.mjs";
import { lmdbRates } from "./scenario/lmdb-rates.mjs";
import { memoryLoop } from "./scenario/memory-loop.mjs";
import { postgres } from "./scenario/postgres.mjs";
import { threads } from "./scenario/threads.mjs";
import { server } from "./scenario/server.mjs";

const SCENARIOS = {
  memory: memoryLoop,
  lmdb: lmdbRates,
  latency,
  flat: flatScenario,
  postgres,
  server,
  threads,
  gate,
};
/** Only when asked for: it wants an earlier version to compare with. */
const BY_NAME = ["gate"];

const { values, positionals: chosen } = readArguments();
const unknown = chosen.filter((name) => !(name in SCENARIOS));
if (unknown.length > 0) refuse(`Unknown scenario ${unknown.join(", ")}.`);
const size = values.size === undefined ? undefined : Number(values.size);
if (size !== undefined && !(Number.isSafeInteger(size) && size >= 1_000)) {
  refuse(`--size ${values.size}: use a number of jobs, at least 1000.`);
}

console.log(`Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}`);
console.log(
  "Machines differ and drift: compare rows of one run, and trust the ratios more than the rates.\n",
);
const options = { ...values, size, measures: values.measures?.split(",") };
for (const [name, scenario] of Object.entries(SCENARIOS)) {
  if (chosen.length === 0 ? !BY_NAME.includes(name) : chosen.includes(name)) await scenario(options);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        quick: { type: "boolean", default: false },
        full: { type: "boolean", default: false },
        size: { type: "string" },
        json: { type: "string" },
        without: { type: "string", multiple: true, default: [] },
        measures: { type: "string" },
        profile: { type: "string" },
        against: { type: "string" },
      },
    });
  } catch (error) {
    return refuse(error.message);
  }
}

function refuse(why) {
  console.error(`${why} Scenarios: ${Object.keys(SCENARIOS).join(", ")}.`);
  process.exit(2);
}
