import { connect } from "node:net";
import type { PgClient } from "./pg.ts";

/** How long a request to cancel may take to be sent. */
const SEND_MS = 5_000;

/**
 * Ask the server to stop what this connection is doing, as nobody waits for the answer any more: without
 * it a statement that waits for a lock keeps its own locks, also when its client is long gone. The protocol
 * wants a connection of its own for that, and tells nothing back; whatever fails, fails silently.
 */
export function cancelStatement({ host, port, processID, secretKey }: PgClient): void {
  if (typeof processID !== "number" || typeof secretKey !== "number" || port === undefined) return;
  const socket = host?.startsWith("/")
    ? connect(`${host}/.s.PGSQL.${port}`)
    : connect(port, host ?? "localhost");
  const message = Buffer.alloc(16);
  message.writeInt32BE(16, 0);
  message.writeInt32BE(CANCEL_REQUEST, 4);
  message.writeInt32BE(processID, 8);
  message.writeInt32BE(secretKey, 12);
  socket.on("error", () => socket.destroy());
  socket.setTimeout(SEND_MS, () => socket.destroy());
  socket.unref();
  socket.end(message);
  socket.resume();
}

const CANCEL_REQUEST = 80_877_102;
