import { readFileSync } from "node:fs";
import { silentLogger } from "../../../src/logger.ts";
import { JobServer, type JobServerOptions } from "../../../src/server/index.ts";
import { RemoteStorage, type RemoteStorageOptions } from "../../../src/storage/remote/index.ts";
import { MemoryStorage } from "../../../src/storage/memory/index.ts";
import type { Storage } from "../../../src/storage/storage.ts";

/** A server of this process with its storage, and clients that end with it. */
export interface Serving extends AsyncDisposable {
  readonly server: JobServer;
  readonly behind: Storage;
  /** An open client. */
  client(options?: Partial<RemoteStorageOptions>): Promise<RemoteStorage>;
}

/** A started server on a free port, over memory unless another storage is named. */
export async function serving(options: Partial<JobServerOptions> = {}): Promise<Serving> {
  const behind = options.storage ?? new MemoryStorage();
  const server = new JobServer({ logger: silentLogger, port: 0, ...options, storage: behind });
  await server.start();
  const clients: RemoteStorage[] = [];
  return {
    server,
    behind,
    client: async (more = {}) => {
      const client = new RemoteStorage({ url: server.url, logger: silentLogger, ...more });
      clients.push(client);
      await client.open();
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await server.stop({ timeout: "1s" });
      await behind.close();
    },
  };
}

/** One of the certificates and keys in `certs`. */
export function pem(file: string): string {
  return readFileSync(new URL(`certs/${file}`, import.meta.url), "utf8");
}
