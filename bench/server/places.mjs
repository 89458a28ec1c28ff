// Where the jobs of this scenario are stored: each measure gets stores of its own, and all are gone at the end.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Databases } from "../postgres/databases.mjs";
import { startServer } from "../postgres/server.mjs";

/** @param {(url: string) => Promise<void>} install makes the tables in a new database, once */
export function openPlaces(install) {
  return { lmdb: openLmdb, postgres: () => openPostgres(install) };
}

async function openLmdb() {
  const folder = mkdtempSync(join(tmpdir(), "jobwright-bench-server-"));
  return {
    durability: "LMDB: every acknowledgement is a commit synced to disk, finished jobs kept",
    create: async () => `lmdb:${mkdtempSync(join(folder, "store-"))}`,
    settle: async () => undefined,
    flush: async () => undefined,
    drop: async (url) => rmSync(url.slice("lmdb:".length), { recursive: true, force: true }),
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function openPostgres(install) {
  const server = await startServer();
  const databases = new Databases(server.url);
  const close = async () => {
    await databases.close();
    await server.stop();
  };
  try {
    await databases.open();
    const { fsync, synchronous_commit, full_page_writes, server_version } = await databases.facts();
    const template = await databases.create();
    await install(template);
    return {
      durability:
        `PostgreSQL ${server_version}: every acknowledgement is a commit${fsync === "on" ? " synced to disk" : ""}, finished jobs kept ` +
        `(fsync ${fsync}, synchronous_commit ${synchronous_commit}, full_page_writes ${full_page_writes})`,
      create: () => databases.create(template),
      settle: (url) => databases.settle(url),
      flush: () => databases.flush(),
      drop: (url) => databases.drop(url),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
