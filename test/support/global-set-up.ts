import { type AddressInfo, createServer, type Socket } from "node:net";
import { ASK_VARIABLE, type Reply } from "./postgres/ask.ts";
import type { Host } from "./postgres/host.ts";

/**
 * A place where the test processes ask for PostgreSQL. A run that never asks pays for one socket; the
 * first who does has the server started here, and it is stopped when the run ends.
 */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  // Each project of the configuration calls this; one server serves them all.
  if (process.env[ASK_VARIABLE] !== undefined) return undefined;
  let host: Promise<Host> | undefined;
  const server = createServer((socket) => {
    host ??= import("./postgres/host.ts").then((module) => new module.Host());
    void host.then((made) => answer(socket, made));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  server.unref();
  process.env[ASK_VARIABLE] = `${(server.address() as AddressInfo).port}`;

  return async () => {
    server.close();
    await (await host)?.close();
  };
}

async function answer(socket: Socket, host: Host): Promise<void> {
  socket.on("error", () => undefined);
  const question = await new Promise<string>((resolve) => {
    socket.setEncoding("utf8").once("data", resolve);
  });
  const reply = await (question === "shared" ? host.shared() : host.template()).then(
    (made): Reply => ({ answer: made }),
    (error: Error): Reply => ({ error: error.message }),
  );
  socket.end(JSON.stringify(reply));
}
