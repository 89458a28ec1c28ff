import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { connect } from "../../src/connect.ts";
import { defineJob, fixed, silentLogger } from "../../src/index.ts";
import { built } from "../support/built.ts";
import { postgres } from "../support/postgres/server.ts";
import { randomFrom, seed, size } from "../support/size.ts";
import { until } from "../support/world.ts";
import { figure } from "./faults/fleet.ts";

// Goal: a job that a batch completes in a transaction has the row of that transaction, once, whatever dies when.
// Method: processes that kill themselves in the middle of batches and are started anew; jobs that fail once beside
// jobs that do not, by savepoint and by bisection; a table that would show a second row.

const JOBS = size(100, 2_000);
/** Every so many kill their process the first time they run, at one of these places; in batches apart. */
const DEADLY_EVERY = 25;
/** Of a hundred, so many fail the first time. */
const FAILING = 10;
const PLACES = ["begin", "written", "committed"] as const;
const PROCESSES = 2;
/** Short, so that the jobs of who died are soon rescued. */
const LOST_AFTER_MS = 700;

beforeAll(async () => {
  if (process.env["JOBWRIGHT_DIST"] === undefined) await built();
});

test("one row for each job of a batch, through kills", { timeout: 600_000 }, async () => {
  const server = await postgres();
  const url = await server.createDatabase();
  const schema = server.freshSchema();
  const outside = new pg.Pool({ connectionString: url, max: 2 });
  await outside.query("create table row (n int, attempt int, by int)");
  const jobs = await connect(`${url}?schema=${schema}`, { logger: silentLogger });
  const random = randomFrom(seed("batches under kills"));
  const payloads = Array.from({ length: JOBS }, (_, n) => ({
    n,
    fails: random() * 100 < FAILING,
    dieAt: n % DEADLY_EVERY === 0 ? PLACES[(n / DEADLY_EVERY) % PLACES.length] : null,
  }));
  const again = { maxRetries: Number.POSITIVE_INFINITY, backoff: fixed(5) };
  const batch = defineJob({ name: "batch", ...again });
  for (let n = 0; n < JOBS; n += 50) await jobs.enqueueMany(batch, payloads.slice(n, n + 50));

  const over = new AbortController();
  let died = 0;
  const live = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const child = start({ url, schema, lostAfterMs: LOST_AFTER_MS });
      const kill = (): void => void child.kill("SIGKILL");
      over.signal.addEventListener("abort", kill);
      const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
      over.signal.removeEventListener("abort", kill);
      if (signal !== "SIGKILL") throw new Error(`A process ended by itself (${code}).`);
      if (!over.signal.aborted) died += 1;
    }
  };
  const fleet = Promise.all(Array.from({ length: PROCESSES }, live));
  const since = performance.now();
  const done = until(async () => (await jobs.count({ state: "completed" })).n === JOBS);
  await Promise.race([done, fleet]);
  over.abort();
  await fleet;

  const { rows } = await outside.query<{ n: number; attempt: number }>(
    "select n, attempt from row order by n",
  );
  expect(rows.map(({ n }) => n)).toEqual(payloads.map(({ n }) => n));
  const failed = payloads.filter(({ fails }) => fails).length;
  const repeated = rows.filter(({ attempt }) => attempt > 1).length;
  figure(
    `batches: ${JOBS} jobs completed in transactions, one row each, through ${died} deaths in the middle of batches; ` +
      `${failed} failed once, ${repeated} were completed by a later attempt; ${Math.round(performance.now() - since)} ms`,
  );
  expect(died).toBeGreaterThan(0);
  expect(repeated).toBeGreaterThanOrEqual(failed);
  await jobs.close();
  await outside.end();
});

function start(where: object): ChildProcess {
  return fork(fileURLToPath(new URL("./child/batcher.mjs", import.meta.url)), {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    env: { ...process.env, BATCHER: JSON.stringify(where) },
    execArgv: [],
  });
}
