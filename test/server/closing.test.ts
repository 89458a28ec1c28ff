import { once } from "node:events";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { expect, it } from "vitest";
import { StorageClosedError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import { until } from "../support/world.ts";
import { pem, serving } from "./support/serving.ts";

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

// Guards: whoever was refused and kept the line open, or began a TLS handshake and said no more, held up a stop for ever.
it("a server lets go of those it refused, and its stop waits for nobody who is silent", async () => {
  const tls = { key: pem("server.key"), cert: pem("server.pem") };
  await using open = await serving();
  await using encrypted = await serving({ tls });
  const refused = connectTcp({ host: "127.0.0.1", port: open.server.port, allowHalfOpen: true });
  refused.write("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  const [said] = (await once(refused, "data")) as [Buffer];
  expect(said.toString()).toMatch(/^HTTP\/1\.1 400 /);
  await once(refused, "end");
  // Nobody is there any more: what is written now is sent back.
  refused.on("error", () => undefined);
  await until(() => {
    refused.write("x");
    return refused.destroyed;
  });
  const silent = connectTcp({ host: "127.0.0.1", port: encrypted.server.port });
  silent.on("error", () => undefined);
  await once(silent, "connect");
  // The test's own timeout is the bound.
  await Promise.all([open.server.stop(), encrypted.server.stop({ timeout: 0 })]);
  silent.destroy();
});

// Guards: lines on which nobody ever asked for anything were not counted, and took all the sockets a process may have.
it("a server keeps a bounded number of lines on which nothing is said", async () => {
  await using stage = await serving({ maxConnections: 1 });
  const { port } = stage.server;
  const lines: Socket[] = [];
  let cut = 0;
  while (lines.length < 1_101) {
    const line = connectTcp({ host: "127.0.0.1", port });
    line.on("error", () => undefined);
    line.once("close", () => (cut += 1));
    line.resume();
    lines.push(line);
    // No more at once than a system lets wait.
    if (lines.length % 50 === 0) await Promise.race([once(line, "connect"), once(line, "close")]);
  }
  await until(() => cut >= 100);
  expect(lines.filter((line) => !line.destroyed).length).toBeLessThanOrEqual(1_001);
  // Those who leave make room.
  for (const line of lines) line.destroy();
  await until(() => cut === lines.length);
  await until(() =>
    stage.client({ deadlineMs: 300 }).then(
      () => true,
      () => false,
    ),
  );
}, 25_000);
