// Goal: a thread that reaches a storage through the main thread has the whole contract: the same suite and the
// same errors as beside the storage itself. Both ends are in this thread, with a port between them.
import { MessageChannel } from "node:worker_threads";
import { describe, it } from "vitest";
import { silentLogger } from "../../src/logger.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { ThreadHost } from "../../src/supervisor/thread-host.ts";
import { storageSuite } from "../../src/testing/storage-suite/index.ts";
import { portChannel } from "../../src/wire/port-channel.ts";
import { isLong } from "../support/size.ts";
import { storages } from "../support/storages.ts";

async function throughPort(behind: Storage): Promise<Storage> {
  await behind.open();
  const host = new ThreadHost(behind, silentLogger);
  const storage = new RemoteStorage({
    url: behind.label,
    clock: behind.clock,
    dial: {
      label: behind.label,
      connect: async () => {
        const { port1, port2 } = new MessageChannel();
        host.accept(port2, "a test");
        return portChannel(port1);
      },
    },
  });
  const close = storage.close.bind(storage);
  let closed: Promise<void> | undefined;
  return Object.assign(storage, {
    close: (): Promise<void> => {
      closed ??= close().then(() => {
        host.close();
        return behind.close();
      });
      return closed;
    },
  });
}

/** The channel is the same for all: memory tells of it in little time, LMDB when there is more. */
const behind = storages.filter(({ label }) => label === "memory" || (isLong && label === "lmdb"));

for (const { label, create, cleanup } of behind) {
  storageSuite(
    `port to ${label}`,
    async (options) => throughPort(await create(options)),
    { describe, it },
    { cleanUp: cleanup },
  );
}
