import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import { LmdbStorage } from "../../src/storage/lmdb/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import type { Storage } from "../../src/storage/storage.ts";

export interface StorageKind {
  readonly label: string;
  /** A fresh and empty storage. */
  create(options?: { readonly clock?: Clock; readonly liveness?: () => number }): Promise<Storage>;
  /** Takes away what `create` left on disk. */
  cleanup(): Promise<void>;
}

/** What `create` has made and `cleanup` has not taken away. */
const folders: string[] = [];

/** Every storage there is: behaviour tests run over all of them. */
export const storages: readonly StorageKind[] = [
  {
    label: "memory",
    create: async (options = {}) => new MemoryStorage(options),
    cleanup: async () => undefined,
  },
  {
    label: "lmdb",
    create: async (options = {}) => {
      const path = mkdtempSync(join(tmpdir(), "jobwright-"));
      folders.push(path);
      return new LmdbStorage({ path, ...options });
    },
    cleanup: async () => {
      for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true });
    },
  },
];
