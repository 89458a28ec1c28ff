import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LmdbStorage } from "../../dist/storage/lmdb/index.js";
import { MemoryStorage } from "../../dist/storage/memory/index.js";
import { PostgresStorage } from "../../dist/storage/postgres/index.js";
import { flat } from "../flat.mjs";
import { Databases } from "../postgres/databases.mjs";
import { startServer } from "../postgres/server.mjs";
import { printTable } from "../print.mjs";
import { atOnce, promotedUnderOldSnapshot, underOldSnapshot } from "./flat-postgres.mjs";

const ROUNDS = 50;
const CLAIMERS = 8;

/** claim(100) beside a million others; see ../flat.mjs. */
export async function flatScenario({ quick }) {
  const size = quick ? 50_000 : 1_000_000;
  const folder = mkdtempSync(join(tmpdir(), "jobwright-flat-"));
  const engines = {
    memory: async () => new MemoryStorage({ maxJobs: 3_000_000 }),
    lmdb: async () => new LmdbStorage({ path: mkdtempSync(join(folder, "store-")) }),
  };
  try {
    for (const [label, create] of Object.entries(engines)) {
      print(titleOf(label, size), await flat({ create, size, rounds: ROUNDS }));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  await postgres(size, quick ? 10_000 : 200_000);
}

/** On a server of its own, set as it comes; every store has a database of its own. */
async function postgres(size, gone) {
  const { default: pg } = await import("pg");
  const server = await startServer();
  const databases = new Databases(server.url);
  try {
    await databases.open();
    const place = async () => {
      const url = await databases.create();
      const hold = async () => {
        const client = new pg.Client({ connectionString: url });
        client.on("error", () => undefined);
        await client.connect();
        await client.query("begin isolation level repeatable read");
        await client.query("select count(*) from jobwright.process");
        return () => client.end();
      };
      return { create: async () => new PostgresStorage({ url }), hold };
    };
    const create = async () => (await place()).create();
    print(titleOf("postgres", size), await flat({ create, size, rounds: ROUNDS, warmsUp: false }));
    const row = await atOnce({ place, claimers: CLAIMERS, rounds: ROUNDS });
    print(`postgres: claim(100), ${gone} jobs gone (limit: 2 × of 100 jobs alone)`, [
      ...(await underOldSnapshot({ place, jobs: gone, rounds: ROUNDS })),
      ...(await promotedUnderOldSnapshot({ place, jobs: gone, rounds: ROUNDS })),
    ]);
    print("postgres: claim(100) of each (limit: 2 × of as many with a store each)", [row]);
    console.log(`  claims of each: ${row.shares.join(", ")}; empty answers: ${row.empty}\n`);
  } finally {
    await databases.close();
    await server.stop();
  }
}

function titleOf(label, size) {
  return `${label}: claim(100) beside ${size} jobs, warm, median of ${ROUNDS} (limit: 2 × of 100 jobs alone)`;
}

function print(title, rows) {
  printTable(
    title,
    rows.map(({ kind, medianMs, baselineMs, ratio }) => [
      kind,
      `${medianMs.toFixed(3)} ms`,
      `alone ${baselineMs.toFixed(3)} ms`,
      `${ratio.toFixed(2)} ×`,
    ]),
  );
}
