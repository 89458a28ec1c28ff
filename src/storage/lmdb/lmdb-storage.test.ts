import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, it } from "vitest";
import { storageSuite } from "../../testing/storage-suite/index.ts";
import { LmdbStorage } from "./lmdb-storage.ts";

const folder = mkdtempSync(join(tmpdir(), "jobwright-lmdb-"));
let stores = 0;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

storageSuite("lmdb", (time) => new LmdbStorage({ ...time, path: join(folder, String(++stores)) }), {
  describe,
  it,
});
