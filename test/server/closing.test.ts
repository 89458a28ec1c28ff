import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { expect, it } from "vitest";
import { StorageClosedError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";

// Guards: a process that had closed its storage went on for ten seconds, the time a connection may take.
it("close lets go of a connection that does not come about", async () => {
  const silent = createServer();
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const storage = new RemoteStorage({ url: `ws://127.0.0.1:${port}`, logger: silentLogger });
  const refused = storage.open().catch((error: unknown) => error);
  const [socket] = (await once(silent, "connection")) as [Socket];
  const gone = once(socket.resume(), "close");
  await storage.close();
  expect(await refused).toBeInstanceOf(StorageClosedError);
  await gone;
  silent.close();
});
