// Goal: when the disk takes no more, every call fails with a typed error or succeeds, what was
// acknowledged is there, no rejection is left unhandled, and all goes on when there is room.
// Method: a process whose files may not grow beyond a limit of the kernel enqueues until nothing fits any
// more; then one without the limit opens the same folder.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { LmdbStorage } from "../../src/storage/lmdb/index.ts";
import type { NewJob } from "../../src/storage/storage.ts";
import { built, root } from "../support/built.ts";

beforeAll(built);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "jobwright-full-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const job: NewJob = {
  name: "a",
  queue: "q",
  payload: JSON.stringify("x".repeat(2_000)),
  maxRetries: 0,
  backoff: { kind: "fixed", delayMs: 1 },
  timeoutMs: null,
  retention: { completedMs: null, cancelledMs: null, deadMs: null },
  tags: [],
  priority: 0,
};

/** Enqueues until nothing fits, reads on, and prints what it was answered. */
const filler = `
  import { LmdbStorage } from ${JSON.stringify(`file://${root}dist/storage/lmdb/index.js`)};
  // Without a listener the signal that comes with the limit ends the process.
  process.on("SIGXFSZ", () => {});
  let unhandled = 0;
  process.on("unhandledRejection", () => unhandled++);
  const storage = new LmdbStorage({ path: process.argv[1] });
  await storage.open();
  const acknowledged = [];
  const codes = {};
  for (let i = 0; i < 60; i++) {
    try {
      const [answer] = await storage.enqueue([Array.from({ length: 100 }, () => (${JSON.stringify(job)}))]);
      acknowledged.push(...answer.jobs.map(({ id }) => id));
    } catch (error) {
      codes[error.code] = (codes[error.code] ?? 0) + 1;
    }
  }
  const missing = (await storage.get(acknowledged)).filter((one) => one === undefined).length;
  const { n } = await storage.count({});
  await storage.close();
  console.log(JSON.stringify({ acknowledged, codes, missing, n, unhandled }));
`;

interface Filled {
  readonly acknowledged: number[];
  readonly codes: Record<string, number>;
  readonly missing: number;
  readonly n: number;
  readonly unhandled: number;
}

test("a disk that is full loses nothing, and the store goes on when there is room", async () => {
  // In blocks of 512 bytes or of 1,024, as the shell counts them: 4 or 8 MB.
  const script = 'ulimit -f 8192 && exec "$0" --input-type=module --eval "$1" "$2"';
  const output = await new Promise<string>((resolve, reject) => {
    execFile("sh", ["-c", script, process.execPath, filler, folder], (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
  });
  const filled = JSON.parse(output) as Filled;
  expect(filled.acknowledged.length).toBeGreaterThan(100);
  expect(filled).toMatchObject({ missing: 0, unhandled: 0, n: filled.acknowledged.length });
  const failed = Object.values(filled.codes).reduce((sum, times) => sum + times, 0);
  expect(failed).toBe(60 - filled.acknowledged.length / 100);
  expect(failed).toBeGreaterThan(0);
  for (const code of Object.keys(filled.codes)) {
    // A write that is taken in part is all that LMDB tells of; that the disk is full, the disk must say.
    expect(["JOBWRIGHT_STORAGE_FULL", "JOBWRIGHT_STORAGE_UNAVAILABLE"]).toContain(code);
  }

  const storage = new LmdbStorage({ path: folder });
  await storage.open();
  const stored = await storage.get(filled.acknowledged);
  expect(stored.every((one) => one?.state === "available")).toBe(true);
  await storage.enqueue([[job]]);
  expect((await storage.count({})).n).toBe(filled.acknowledged.length + 1);
  await storage.close();
});
