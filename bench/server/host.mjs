// The job server in a process of its own. It is told what to do like a contender: "open" takes the URL of a
// storage and answers the URL of the server in front of it. Default options, through the public API.
import { LmdbStorage } from "../../dist/storage/lmdb/index.js";
import { PostgresStorage } from "../../dist/storage/postgres/index.js";
import { JobServer } from "../../dist/server/index.js";

export function create() {
  let storage;
  let server;
  return {
    async open(url) {
      storage = url.startsWith("lmdb:")
        ? new LmdbStorage({ path: url.slice("lmdb:".length) })
        : new PostgresStorage({ url });
      server = new JobServer({ storage, port: 0 });
      await server.start();
      return server.url;
    },
    async close() {
      await server.stop();
      await storage.close();
    },
  };
}
