// PostgreSQL: ours with default options against graphile-worker and pg-boss, each as installed and tuned as
// its documentation says, and against a raw floor; one run, one server at default durability, one Node.
// Rounds go over all measures, and each measure over all contenders, beginning with another one each round:
// a machine whose speed drifts treats all alike.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { bringNode, bringPeers, versionOf } from "../postgres/bring.mjs";
import { Client } from "../postgres/client.mjs";
import { CONTENDERS } from "../postgres/contenders.mjs";
import { Databases } from "../postgres/databases.mjs";
import { MEASURES } from "../postgres/measures.mjs";
import { printReport, rowsOf } from "../postgres/report.mjs";
import { startServer } from "../postgres/server.mjs";

const ROUNDS = 3;
/** Most client processes a measure uses. */
const PROCESSES = 4;

const SMOKE = { latency: 20, one: 200, concurrent: 1_000, bulk: 5_000, drain: 3_000, limitMs: 2_100 };
const FULL = { latency: 500, one: 5_000, concurrent: 50_000, bulk: 100_000, drain: 100_000, limitMs: 15_000 };
const WARM_UP = { latency: 5, one: 200, concurrent: 1_000, bulk: 2_000, drain: 2_000, limitMs: 500 };

/** @param {{ full?: boolean, size?: number, json?: string, without?: string[], measures?: string[] }} options */
export async function postgres({ full = false, size, json, without = [], measures: only }) {
  const sizes = { ...(full ? FULL : SMOKE), ...(size === undefined ? {} : { bulk: size, drain: size }) };
  const contenders = chosen(CONTENDERS, (key) => !without.includes(key), without, "--without");
  const measures = chosen(
    MEASURES,
    (key) => only === undefined || only.includes(key),
    only ?? [],
    "--measures",
  );

  const say = (text) => process.stderr.write(`${text}\n`);
  await bringPeers(say);
  const node = await bringNode(say);
  const server = await startServer();
  const databases = new Databases(server.url);
  const entrants = [];
  try {
    await databases.open();
    const facts = await databases.facts();
    // One after the other, and before anything is measured: whoever cannot take part says so at once.
    for (const contender of contenders) entrants.push(await enter(contender, { databases, node }));
    say("warming up");
    const leaveOut = (measure, contender) => measure.runs && contender.polls;
    const warm = MEASURES.filter(({ key }) => ["concurrent", "bulk-1000", "drain-4"].includes(key));
    await aRound({ measures: warm, entrants, databases, sizes: WARM_UP, heard: () => undefined, leaveOut });

    const samples = new Map();
    for (let round = 0; round < ROUNDS; round += 1) {
      const heard = (measure, contender, sample) => {
        const key = `${measure.key} ${contender.key}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
      };
      say(`round ${round + 1} of ${ROUNDS}`);
      const isRepeat = !full && round > 0;
      await aRound({
        measures,
        entrants: rotated(entrants, round),
        databases,
        sizes,
        heard,
        leaveOut: (measure, contender) => isRepeat && leaveOut(measure, contender),
      });
    }
    report({ full, sizes, facts, node, json, contenders, measures, samples });
  } finally {
    for (const { clients } of entrants) for (const client of clients) client.end();
    await databases.close();
    await server.stop();
  }
}

async function enter(contender, { databases, node }) {
  const clients = await Promise.all(
    Array.from({ length: PROCESSES }, () => Client.start(contender, { node })),
  );
  const template = await databases.create();
  try {
    await clients[0].do("install", template);
  } catch (error) {
    for (const client of clients) client.end();
    throw new Error(
      `${contender.title} cannot take part (\`--without ${contender.key}\` leaves it out):\n${error.message}`,
      { cause: error },
    );
  }
  return { contender, clients, template };
}

/** All measures, each over all contenders. What it needs is made before the first and dropped after the last. */
async function aRound({ measures, entrants, databases, sizes, heard, leaveOut }) {
  const urls = new Map();
  await Promise.all(
    entrants.flatMap(({ contender, template }) =>
      [...new Set(measures.map(databaseOf))].map(async (kind) => {
        urls.set(`${kind} ${contender.key}`, await databases.create(template));
      }),
    ),
  );
  for (const measure of measures) {
    for (const { contender, clients } of entrants) {
      if (leaveOut(measure, contender)) continue;
      const url = urls.get(`${databaseOf(measure)} ${contender.key}`);
      try {
        heard(measure, contender, await measure.measure({ contender, clients, url, databases, sizes }));
      } catch (error) {
        throw new Error(`${measure.title}: ${contender.title}: ${error.message}`, { cause: error });
      }
    }
  }
  await Promise.all([...urls.values()].map((url) => databases.drop(url)));
}

function databaseOf({ key, ownDatabase = false }) {
  return ownDatabase ? key : "shared";
}

function report({ full, sizes, facts, node, json, contenders, measures, samples }) {
  const versions = {
    jobwright: JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version,
    "graphile-worker": versionOf("graphile-worker"),
    "pg-boss": versionOf("pg-boss"),
    pg: versionOf("pg"),
    postgres: facts.server_version,
    node: execFileSync(node, ["--version"], { encoding: "utf8" }).trim().slice(1),
  };
  const machine = { cores: cpus().length, cpu: cpus()[0]?.model.trim() };
  const { fsync, synchronous_commit, full_page_writes, shared_buffers } = facts;
  const durability = { fsync, synchronous_commit, full_page_writes, shared_buffers };
  console.log("postgres: peers and floor in one run");
  console.log(`  versions: ${list(versions, " ")}`);
  console.log(`  machine: ${machine.cores} cores for server and clients together, ${machine.cpu}`);
  console.log(`  server: ${list(durability, "=")}`);
  console.log(`  jobs: ${list(sizes, " ")}; ${ROUNDS} rounds; payload of 100 bytes; handlers do nothing`);
  for (const { title, keeps } of contenders) console.log(`  ${title}: ${keeps}`);
  console.log(`  *: stopped after ${sizes.limitMs} ms, the rate of its runs until then`);
  if (!full) {
    console.log("  A smoke: too short for figures to quote, and of what polls one round only. Use --full.");
  }
  const run = { measures, contenders, samples };
  printReport("", run);
  if (json === undefined) return;
  const rows = rowsOf(run);
  writeFileSync(json, `${JSON.stringify({ full, sizes, versions, machine, durability, rows }, null, 2)}\n`);
}

function list(facts, between) {
  return Object.entries(facts)
    .map(([name, value]) => `${name}${between}${value}`)
    .join(", ");
}

function chosen(all, isChosen, named, flag) {
  const unknown = named.filter((key) => !all.some((one) => one.key === key));
  if (unknown.length > 0) {
    throw new Error(`Unknown ${flag} ${unknown.join(", ")}. Known: ${all.map(({ key }) => key).join(", ")}.`);
  }
  return all.filter(({ key }) => isChosen(key));
}

function rotated(all, by) {
  const start = all.length === 0 ? 0 : by % all.length;
  return [...all.slice(start), ...all.slice(0, start)];
}
