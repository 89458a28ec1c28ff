// Goal: what a claim costs does not depend on what else is stored, on who else claims, or on what is gone.
// Method: bench/flat.mjs, on all engines: claims beside a backlog and claims alone, in turns; the ratio of the
// medians is what counts. A measurement can be disturbed, a cost that grows cannot hide: one quiet run of three
// is enough, and with no run within bounds the cost has grown. PostgreSQL is one of this file's own, set as it comes;
// only the long run has it sync to disk, which takes a time of its own and hides others.
import pg from "pg";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { flat, type FlatRow, KINDS } from "../bench/flat.mjs";
import {
  atOnce,
  type Place,
  promotedUnderOldSnapshot,
  underOldSnapshot,
} from "../bench/scenario/flat-postgres.mjs";
import { LmdbStorage } from "../src/storage/lmdb/index.ts";
import { MemoryStorage } from "../src/storage/memory/index.ts";
import { PostgresStorage } from "../src/storage/postgres/index.ts";
import type { Storage } from "../src/storage/storage.ts";
import { temporaryFolder } from "./support/folders.ts";
import { type LocalServer, startServer } from "./support/postgres/server.ts";
import { isLong, size } from "./support/size.ts";

const BACKLOG = size(50_000, 1_000_000);
/** Jobs processed while a snapshot is held open. */
const GONE = size(10_000, 200_000);
const ROUNDS = size(12, 50);
const CLAIMERS = 8;
/** Rounds of each claimer when all claim at once: together they make many samples. */
const ROUNDS_AT_ONCE = size(9, 50);
/**
 * The promise. A small run is short of samples and shares its processors with other files, and says so with a wider
 * bound: a cost that grows with what is stored would be a hundred times as high all the same.
 */
const RATIO_MAX = size(5, 2);

const folders = temporaryFolder();
let server: Promise<LocalServer> | undefined;
const databases: string[] = [];
// They go with the server. To drop one writes out all others, so that only those of a million are.
afterEach(async () => {
  for (const url of isLong ? databases.splice(0) : []) await (await server)?.dropDatabase(url);
});
afterAll(async () => {
  folders.remove();
  await (await server)?.[Symbol.asyncDispose]();
});

/** A database of its own. */
async function place(): Promise<Place> {
  server ??= startServer({ fsync: isLong, settings: { jit: true } });
  const url = await (await server).createDatabase();
  databases.push(url);
  const hold = async (): Promise<() => Promise<void>> => {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => undefined);
    await client.connect();
    await client.query("begin isolation level repeatable read");
    await client.query("select count(*) from jobwright.process");
    return () => client.end();
  };
  return { create: async () => new PostgresStorage({ url }), hold };
}

const engines: Record<string, () => Promise<Storage>> = {
  memory: async () => new MemoryStorage({ maxJobs: 3_000_000 }),
  lmdb: async () => new LmdbStorage({ path: folders.make() }),
  postgres: async () => (await place()).create(),
};

describe.each(Object.entries(engines))("%s", (label, create) => {
  // Code is compiled once a process; most of what PostgreSQL does is the server's.
  let isWarm = label === "postgres";
  it.each(KINDS)("claims 100 jobs as fast beside many that are %s", async (kind) => {
    await expectFlat(`${label}: claim(100) beside ${BACKLOG}`, async () => {
      const warmsUp = !isWarm;
      isWarm = true;
      return flat({ create, size: BACKLOG, rounds: ROUNDS, kinds: [kind], warmsUp });
    });
  });
});

describe("postgres", () => {
  it("claims 100 jobs as fast while and after many are processed under an old snapshot", async () => {
    await expectFlat(`postgres: claim(100), ${GONE} jobs`, () =>
      underOldSnapshot({ place, jobs: GONE, rounds: ROUNDS }),
    );
  });

  it("claims 100 jobs as fast after many were promoted under an old snapshot", async () => {
    await expectFlat(`postgres: claim(100), ${GONE} jobs`, () =>
      promotedUnderOldSnapshot({ place, jobs: GONE, rounds: ROUNDS }),
    );
  });

  it("claims 100 jobs as fast when others claim at the same time, and everybody gets a share", async () => {
    await expectFlat("postgres: claim(100) of each", async () => {
      const row = await atOnce({ place, claimers: CLAIMERS, rounds: ROUNDS_AT_ONCE });
      console.log(`figure: postgres: claims of each of ${CLAIMERS}: ${row.shares.join(", ")}`);
      expect(row.empty).toBe(0);
      const sum = row.shares.reduce((a, b) => a + b);
      // Some share: how even they are is the machine's doing, too.
      expect(Math.min(...row.shares)).toBeGreaterThan(sum / CLAIMERS / 6);
      return [row];
    });
  });
});

/** Up to three runs, until each of their rows was within bounds once. */
async function expectFlat(what: string, run: () => Promise<readonly FlatRow[]>): Promise<void> {
  const best = new Map<string, number>();
  const shown: string[] = [];
  for (let n = 0; n < 3; n += 1) {
    for (const { kind, ratio, medianMs, baselineMs } of await run()) {
      best.set(kind, Math.min(ratio, best.get(kind) ?? Number.POSITIVE_INFINITY));
      const times = `${medianMs.toFixed(3)} ms, alone ${baselineMs.toFixed(3)} ms`;
      shown.push(`${kind}: ${ratio.toFixed(2)} × (${times})`);
    }
    if ([...best.values()].every((ratio) => ratio <= RATIO_MAX)) break;
  }
  console.log(`figure: ${what}: ${shown.join("; ")}`);
  expect(Math.max(...best.values()), shown.join("; ")).toBeLessThanOrEqual(RATIO_MAX);
}
