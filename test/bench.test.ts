// Goal: the benchmark of the job server runs, and no job is lost or run twice on the way it measures. The long run
// also holds it to its promises. Method: bench/run.mjs as a program, on LMDB and on PostgreSQL; its JSON says what it
// measured. One quiet round is enough for a promise: a measurement can be disturbed, a cost cannot hide.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { judge } from "../bench/gate/judge.mjs";
import { built, root } from "./support/built.ts";
import { temporaryFolder } from "./support/folders.ts";
import { ask } from "./support/postgres/ask.ts";
import { isLong } from "./support/size.ts";

interface Row {
  readonly place: string;
  readonly key: string;
  readonly unit: "ms" | "jobs/s";
  readonly direct: number;
  readonly server: number;
  readonly ratio: number;
  readonly values: { readonly direct: readonly number[]; readonly server: readonly number[] };
  readonly cpuMicros?: { readonly direct: number; readonly clients: number; readonly server: number };
  readonly aims?: readonly { readonly text: string; readonly reached: boolean }[];
}

const MEASURES = ["round-trip", "latency", "one", "concurrent", "bulk-1000", "drain-1", "drain-4"];
const TIMES = ["round-trip", "latency"];
/** Of the rate of the storage used directly. */
const SHARE_MIN = 0.6;
const LMDB_FOUR_WORKERS_MIN = 20_000;

const LONG_MS = 1_800_000;

const folders = temporaryFolder();
beforeAll(built);
afterAll(() => folders.remove());

describe("the job server's benchmark", () => {
  it(
    "measures LMDB and PostgreSQL through it and directly",
    async () => {
      const file = join(folders.make(), "found.json");
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["bench/run.mjs", "server", isLong ? "--full" : "--quick", "--json", file],
        { cwd: root, env: { ...process.env, ...(await serverToUse()) } },
      );
      console.log(`figure: ${stdout}`);
      const { rows } = JSON.parse(readFileSync(file, "utf8")) as { rows: Row[] };
      // Times have two rows, p50 and p99.
      const keys = MEASURES.flatMap((key) => (TIMES.includes(key) ? [key, key] : [key]));
      expect(rows.map(({ place, key }) => `${place} ${key}`)).toEqual(
        ["lmdb", "postgres"].flatMap((place) => keys.map((key) => `${place} ${key}`)),
      );
      for (const { key, direct, server, ratio } of rows) {
        for (const figure of [direct, server, ratio]) expect(figure, key).toBeGreaterThan(0);
      }
      const drains = rows.filter(({ key }) => key.startsWith("drain"));
      for (const { key, cpuMicros, aims } of drains) {
        expect(Object.keys(cpuMicros ?? {})).toEqual(["direct", "clients", "server"]);
        for (const micros of Object.values(cpuMicros ?? {})) expect(micros, key).toBeGreaterThan(0);
        expect(aims?.[0]?.text).toBe(`≥ ${SHARE_MIN} ×`);
      }
      expect(isLong ? missed(drains) : []).toEqual([]);
    },
    isLong ? LONG_MS : undefined,
  );
});

/** The promises that no round kept. */
function missed(drains: readonly Row[]): string[] {
  return drains.flatMap(({ place, key, values }) => {
    const share = Math.max(...values.server.map((rate, i) => rate / (values.direct[i] ?? 0)));
    const rate = Math.max(...values.server);
    const isTooSlow = place === "lmdb" && key === "drain-4" && rate < LMDB_FOUR_WORKERS_MIN;
    return share >= SHARE_MIN && !isTooSlow ? [] : [`${place} ${key}: ${share.toFixed(2)} ×, ${rate} jobs/s`];
  });
}

/** The long run starts one that syncs to disk; a small one uses the tests' own, and leaves nothing there. */
async function serverToUse(): Promise<Record<string, string>> {
  return isLong ? {} : { BENCH_DATABASE_URL: (await ask("shared")).url };
}

describe("the gate against slower releases", () => {
  it("compares pairs taken in turn, so that a machine that drifts is no verdict", () => {
    const drifting = { before: [100, 50, 200], now: [99, 49, 205] };
    const slower = { before: [100, 50, 200], now: [80, 41, 150] };
    expect(judge({ drifting, slower }).map(({ measure, isSlower }) => [measure, isSlower])).toEqual([
      ["drifting", false],
      ["slower", true],
    ]);
    expect(judge({ drifting })[0]).toMatchObject({ before: 100, now: 99, ratio: 0.99 });
  });
});
