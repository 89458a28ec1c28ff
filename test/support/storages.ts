import type { Clock } from "../../src/clock.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import type { Storage } from "../../src/storage/storage.ts";

export interface StorageKind {
  readonly label: string;
  /** A fresh and empty storage. */
  create(options?: { readonly clock?: Clock; readonly liveness?: () => number }): Promise<Storage>;
  /** Takes away what `create` left on disk. */
  cleanup(): Promise<void>;
}

/** Every storage there is: behaviour tests run over all of them. */
export const storages: readonly StorageKind[] = [
  {
    label: "memory",
    create: async (options = {}) => new MemoryStorage(options),
    cleanup: async () => undefined,
  },
];
