import { rmSync } from "node:fs";
import type { Clock } from "../../src/clock.ts";
import type { Duration } from "../../src/duration.ts";
import { LmdbStorage } from "../../src/storage/lmdb/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { throughServers } from "./through-server.ts";
import { makeDataFolder } from "./postgres/folder.ts";
import { giveBackSchemas, takeSchema } from "./postgres/schemas.ts";
import { postgres } from "./postgres/server.ts";

export interface StorageKind {
  readonly label: string;
  /** A time after which a process is lost that a test can wait for, and a busy machine does not make pass. */
  readonly lostAfter: Duration;
  /** A fresh and empty storage. */
  create(options?: { readonly clock?: Clock; readonly liveness?: () => number }): Promise<Storage>;
  /** The URL of a fresh and empty storage. */
  url(): Promise<string>;
  /** Takes away what `create` and `url` left on disk. */
  cleanup(): Promise<void>;
}

/** What was made and `cleanup` has not taken away. */
const folders: string[] = [];

function freshFolder(): string {
  const path = makeDataFolder();
  folders.push(path);
  return path;
}

/** Every engine there is. */
export const engines: readonly StorageKind[] = [
  {
    label: "memory",
    lostAfter: "400ms",
    create: async (options = {}) => new MemoryStorage(options),
    url: async () => "memory:",
    cleanup: async () => undefined,
  },
  {
    label: "lmdb",
    lostAfter: "400ms",
    create: async (options = {}) => new LmdbStorage({ path: freshFolder(), ...options }),
    url: async () => `lmdb:${freshFolder()}`,
    cleanup: async () => {
      for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true });
    },
  },
  {
    label: "postgres",
    // Another program answers, and the machine may have others to run first.
    lostAfter: "7s",
    create: async (options = {}) => new PostgresStorage({ ...(await takeSchema()), ...options }),
    url: async () => {
      const url = new URL((await postgres()).url);
      url.searchParams.set("schema", (await takeSchema()).schema);
      return url.href;
    },
    cleanup: giveBackSchemas,
  },
];

/**
 * Every storage there is: behaviour tests run over all of them. With `JOBWRIGHT_THROUGH=ws` the same tests reach
 * each of them through a job server.
 */
export const storages: readonly StorageKind[] =
  process.env["JOBWRIGHT_THROUGH"] === "ws" ? throughServers(engines) : engines;
