import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import type * as Lmdb from "lmdb";
import { LmdbStorage } from "./lmdb-storage.ts";

// What is acknowledged is on disk because LMDB syncs before a synchronous transaction returns, unless it
// is told not to. That it waits was measured with delayed syncs; here stands that it is not told otherwise.

interface Opened {
  readonly options: Record<string, unknown>;
  readonly flags: unknown[];
}
const opened = vi.hoisted(() => [] as Opened[]);

vi.mock("lmdb", async (load) => {
  const lmdb = await load<typeof Lmdb>();
  return {
    ...lmdb,
    open: (options: Record<string, unknown>) => {
      const root = lmdb.open(options as never);
      const flags: unknown[] = [];
      const real = root.transactionSync.bind(root);
      root.transactionSync = ((body: () => void, flag?: number) => {
        flags.push(flag);
        return real(body, flag as never);
      }) as typeof root.transactionSync;
      opened.push({ options, flags });
      return root;
    },
  };
});

test("the durable environment syncs each commit before it returns; only the volatile one does not", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jobwright-durable-"));
  const storage = new LmdbStorage({ path: folder });
  await storage.open();
  const [durable, volatile] = opened as [Opened, Opened];
  const before = durable.flags.length;
  const job = {
    ...{ name: "a", queue: "q", payload: "1", maxRetries: 0, timeoutMs: null, tags: [], priority: 0 },
    backoff: { kind: "fixed", delayMs: 1 } as const,
    retention: { completedMs: null, cancelledMs: null, deadMs: null },
  };
  await storage.enqueue([[job]]);
  await storage.close();
  rmSync(folder, { recursive: true });

  expect(opened).toHaveLength(2);
  expect(durable.options["path"]).toMatch(/store\.mdb$/);
  expect(durable.options).toMatchObject({ overlappingSync: false });
  for (const unsafe of ["noSync", "noMetaSync", "mapAsync", "separateFlushed", "useWritemap", "readOnly"]) {
    expect(durable.options).not.toHaveProperty(unsafe);
  }
  // One that has LMDB recover from a writer that died, with nothing in it, and one that stores.
  expect(durable.flags.slice(before)).toEqual([undefined, undefined]);
  expect(volatile.options).toMatchObject({ noSync: true });
});
