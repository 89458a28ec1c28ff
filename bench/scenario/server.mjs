// A storage through a job server against the same storage used directly: the same client processes, the same
// calls, in turns in one run. The server is a process of its own and reached over the loopback. "Direct" opens
// the same folder or database in each client process.
import { writeFileSync } from "node:fs";
import { Client } from "../postgres/client.mjs";
import { MEASURES } from "../server/measures.mjs";
import { openPlaces } from "../server/places.mjs";
import { printReport, rowsOf } from "../server/report.mjs";

/** Most client processes a measure uses. */
const PROCESSES = 4;
const CLIENT = { title: "jobwright", file: "jobwright.mjs" };
const HOST = { title: "the job server", file: "../../server/host.mjs" };
const WAYS = ["direct", "server"];

// `npm test` runs the quick one: a twentieth of the full one at least.
const QUICK = {
  rounds: 1,
  looks: 50,
  warmUp: 3,
  latency: 5,
  one: 50,
  concurrent: 1_000,
  bulk: 2_000,
  drain: 2_000,
};
const SMOKE = {
  rounds: 3,
  looks: 500,
  latency: 50,
  one: 200,
  concurrent: 5_000,
  bulk: 20_000,
  drain: 20_000,
};
const FULL = {
  rounds: 3,
  looks: 1_000,
  latency: 100,
  one: 1_000,
  concurrent: 20_000,
  bulk: 40_000,
  drain: 40_000,
};
const WARM_UP = { ...QUICK, drain: 10_000, limitMs: 2_000 };
const LIMIT_MS = { quick: 3_000, smoke: 10_000, full: 30_000 };

/**
 * @param {{ full?: boolean, quick?: boolean, size?: number, json?: string, measures?: string[], without?: string[],
 * profile?: string }} options `without` leaves out a storage, `profile` is a folder for a CPU profile of the server
 */
export async function server({ full, quick, size, json, measures: only, without = [], profile }) {
  const kind = full ? "full" : quick ? "quick" : "smoke";
  const sizes = { ...{ full: FULL, quick: QUICK, smoke: SMOKE }[kind], limitMs: LIMIT_MS[kind] };
  if (size !== undefined) Object.assign(sizes, { bulk: size, drain: size });
  const measures = MEASURES.filter(({ key }) => only === undefined || only.includes(key));
  const execArgv = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
  const start = (contender, more) => Client.start(contender, { node: process.execPath, ...more });
  const clients = [];
  const rows = [];
  try {
    clients.push(...(await Promise.all(Array.from({ length: PROCESSES }, () => start(CLIENT)))));
    const places = openPlaces((url) => clients[0].do("install", url));
    for (const [name, open] of Object.entries(places)) {
      if (without.includes(name)) continue;
      const place = await open();
      // One for each storage: it has learned nothing from the other.
      const host = await start(HOST, { execArgv });
      try {
        const run = { place, host, clients };
        const drains = MEASURES.filter(({ key }) => key === "drain-4" || key === "concurrent");
        if (!quick)
          await aRound({ ...run, measures: drains, sizes: WARM_UP, round: 0, heard: () => undefined });
        const samples = new Map();
        for (let round = 0; round < sizes.rounds; round += 1) {
          const heard = (measure, way, sample) => {
            const key = `${name} ${measure.key} ${way}`;
            samples.set(key, [...(samples.get(key) ?? []), sample]);
          };
          await aRound({ ...run, measures, sizes, round, heard });
        }
        const found = rowsOf(name, measures, samples);
        printReport(titleOf(place, sizes), found);
        rows.push(...found);
      } finally {
        host.end();
        await place.close();
      }
    }
  } finally {
    for (const client of clients) client.end();
  }
  if (json !== undefined) writeFileSync(json, `${JSON.stringify({ kind, sizes, rows }, undefined, 2)}\n`);
}

/** All measures, each both ways, the other way first each time. */
async function aRound({ place, host, clients, measures, sizes, round, heard }) {
  const shared = new Map();
  for (const way of WAYS) shared.set(way, await place.create());
  for (const [index, measure] of measures.entries()) {
    for (const way of (round + index) % 2 === 0 ? WAYS : WAYS.toReversed()) {
      const store = measure.ownDatabase ? await place.create() : shared.get(way);
      heard(measure, way, await aMeasure({ place, host, clients, measure, sizes, way, store }));
      if (measure.ownDatabase) await place.drop(store);
    }
  }
  for (const store of shared.values()) await place.drop(store);
}

async function aMeasure({ place, host, clients, measure, sizes, way, store }) {
  const url = way === "server" ? await host.do("open", store) : store;
  try {
    let before;
    const databases = {
      flush: () => place.flush(),
      // Between loading and draining: what a job costs is counted from here.
      settle: async () => {
        await place.settle(store);
        before = await cpu(host, clients);
      },
    };
    const sample = await measure.measure({ contender: CLIENT, clients, url, databases, sizes });
    if (!measure.isDrain) return sample;
    const after = await cpu(host, clients);
    return {
      ...sample,
      clientMicros: (after.clients - before.clients) / sizes.drain,
      serverMicros: (after.host - before.host) / sizes.drain,
    };
  } catch (error) {
    throw new Error(`${measure.title}, ${way}: ${error.message}`, { cause: error });
  } finally {
    if (way === "server") await host.do("close");
  }
}

async function cpu(host, clients) {
  const [own, ...others] = await Promise.all([host, ...clients].map((client) => client.do("cpu")));
  return { host: own, clients: others.reduce((sum, micros) => sum + micros, 0) };
}

function titleOf({ durability }, { rounds, drain }) {
  return `${durability}\n${rounds} rounds, drains of ${drain} jobs that do nothing, payload of 100 bytes, default options`;
}
