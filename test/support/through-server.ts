import { JobServer } from "../../src/server/index.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import type { Storage } from "../../src/storage/storage.ts";
import type { StorageKind } from "./storages.ts";

/** A storage that is reached through a job server of this process, which ends with it. */
export async function throughServer(behind: Storage): Promise<Storage> {
  const server = new JobServer({ storage: behind, port: 0 });
  await server.start();
  const storage = new RemoteStorage({ url: server.url, clock: behind.clock });
  return closingWith(storage, async () => {
    await server.stop();
    await behind.close();
  });
}

/** The same storage, whose first `close` also closes what it stands on. */
function closingWith(storage: RemoteStorage, rest: () => Promise<void>): Storage {
  const close = storage.close.bind(storage);
  let closed: Promise<void> | undefined;
  return Object.assign(storage, {
    close: (): Promise<void> => {
      closed ??= close().then(rest);
      return closed;
    },
  });
}

/** Servers that `url` started. */
const running: { stop(): Promise<void> }[] = [];

/** Storages as they are reached through a job server of their own. */
export function throughServers(kinds: readonly StorageKind[]): readonly StorageKind[] {
  return kinds.map((kind) => ({
    label: `ws over ${kind.label}`,
    lostAfter: kind.lostAfter,
    create: async (options) => throughServer(await kind.create(options)),
    url: async () => {
      const behind = await kind.create();
      const server = new JobServer({ storage: behind, port: 0 });
      await server.start();
      running.push({
        stop: async () => {
          await server.stop();
          await behind.close();
        },
      });
      return server.url;
    },
    cleanup: async () => {
      for (const server of running.splice(0)) await server.stop();
      await kind.cleanup();
    },
  }));
}
