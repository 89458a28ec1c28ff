import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LmdbStorage } from "../../dist/storage/lmdb/index.js";
import { MemoryStorage } from "../../dist/storage/memory/index.js";
import { flat } from "../flat.mjs";
import { printTable } from "../print.mjs";

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
      const rows = await flat({ create, size, rounds: 50 });
      printTable(
        `${label}: claim(100) beside ${size} jobs, warm, median of 50 (limit: 2 × of 100 jobs alone)`,
        [
          ...rows.map(({ kind, medianMs, baselineMs, ratio }) => [
            kind,
            `${medianMs.toFixed(3)} ms`,
            `alone ${baselineMs.toFixed(3)} ms`,
            `${ratio.toFixed(2)} ×`,
          ]),
        ],
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
