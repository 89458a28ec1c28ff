// Goal: what a claim costs does not depend on what else is stored.
// Method: bench/flat.mjs, on both engines: claims beside a backlog and claims alone, in turns; the ratio of the
// medians is what counts. A measurement can be disturbed, a cost that grows cannot hide: one quiet run of three
// is enough, and with no run within bounds the cost has grown.
import { afterAll, describe, expect, it } from "vitest";
import { flat, type FlatRow, KINDS } from "../bench/flat.mjs";
import { LmdbStorage } from "../src/storage/lmdb/index.ts";
import { MemoryStorage } from "../src/storage/memory/index.ts";
import type { Storage } from "../src/storage/storage.ts";
import { temporaryFolder } from "./support/folders.ts";
import { size } from "./support/size.ts";

const BACKLOG = size(50_000, 1_000_000);
const ROUNDS = size(20, 50);
/** The promise. A small run is short of samples and says so with a wider bound. */
const RATIO_MAX = size(3, 2);

const folders = temporaryFolder();
afterAll(() => folders.remove());

const engines: Record<string, () => Promise<Storage>> = {
  memory: async () => new MemoryStorage({ maxJobs: 3_000_000 }),
  lmdb: async () => new LmdbStorage({ path: folders.make() }),
};

describe.each(Object.entries(engines))("%s", (label, create) => {
  it.each(KINDS)("claims 100 jobs as fast beside many that are %s", async (kind) => {
    const rows: FlatRow[] = [];
    for (let run = 0; run < 3; run += 1) {
      rows.push(...(await flat({ create, size: BACKLOG, rounds: ROUNDS, kinds: [kind] })));
      if (rows.some(({ ratio }) => ratio <= RATIO_MAX)) break;
    }
    const shown = rows.map(
      ({ ratio, medianMs, baselineMs }) =>
        `${ratio.toFixed(2)} × (${medianMs.toFixed(3)} ms, alone ${baselineMs.toFixed(3)} ms)`,
    );
    console.log(`figure: ${label}: claim(100) beside ${BACKLOG} ${kind}: ${shown.join(", ")}`);
    expect(Math.min(...rows.map(({ ratio }) => ratio)), shown.join(", ")).toBeLessThanOrEqual(RATIO_MAX);
  });
});
