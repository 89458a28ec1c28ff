import { join } from "node:path";
import { silentLogger } from "../../src/logger.ts";
import { LmdbStorage } from "../../src/storage/lmdb/index.ts";
import { PostgresStorage } from "../../src/storage/postgres/index.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { postgres } from "../support/postgres/server.ts";

/** A storage that several processes can share: what the crash tests run on. */
export interface Place {
  readonly label: "lmdb" | "postgres";
  /**
   * The silence limit of tests that kill and go on. A killed process keeps its jobs for so long on PostgreSQL; on
   * LMDB its death is noticed at once, whatever the limit.
   */
  readonly lostAfterMs: number;
  /** Where a process can be killed at an exact step; see the failpoints of `child/store.mjs`. */
  readonly steps: readonly Step[];
  /** A store that is still empty, for one scene with a folder of its own. */
  create(home: string): Promise<Store>;
}

/** An instant of a write. */
export interface Step {
  readonly write: string;
  readonly when: string;
  /** How often a process comes to it from its start until it has done some work. */
  readonly most: number;
}

/** The store of one scene. */
export interface Store {
  /** As for `connect`. */
  readonly url: string;
  /** A storage on it in this very process, with the code under `src`. */
  storage(): Storage;
  remove(): Promise<void>;
}

export const lmdb: Place = {
  label: "lmdb",
  lostAfterMs: 3_000,
  steps: ["writeDurable", "writeVolatile"].flatMap((write) =>
    ["before", "inside", "after"].map((when) => ({ write, when, most: 15 })),
  ),
  create: async (home) => {
    const path = join(home, "store");
    return {
      url: `lmdb:${path}`,
      storage: () => new LmdbStorage({ path }),
      // It goes with the folder of the scene.
      remove: async () => undefined,
    };
  },
};

const onPostgres: Place = {
  label: "postgres",
  lostAfterMs: 1_000,
  steps: [
    // Alone in its transaction; "sent" is a statement whose answer nobody will read.
    ...["before", "sent", "after"].map((when) => ({ write: "statement", when, most: 20 })),
    // Several in one; "inside" is before the commit, "sent" is a commit whose answer nobody will read.
    ...["before", "inside", "sent", "after"].map((when) => ({ write: "transaction", when, most: 6 })),
  ],
  create: async () => {
    const { url, freshSchema, query } = await postgres();
    const schema = freshSchema();
    const withSchema = new URL(url);
    withSchema.searchParams.set("schema", schema);
    return {
      url: withSchema.href,
      storage: () => new PostgresStorage({ url, schema, logger: silentLogger }),
      remove: async () => void (await query(`drop schema if exists ${schema} cascade`)),
    };
  },
};

export const places: readonly Place[] = [lmdb, onPostgres];
