import { randomBytes, timingSafeEqual } from "node:crypto";
import { monotonicMs } from "../../clock.ts";
import type { Reply, Zmq } from "./load.ts";

/** Where ZeroMQ asks who may come in, by RFC 27. */
const ADDRESS = "inproc://zeromq.zap.01";
const VERSION = "1.0";

interface Door {
  readonly keys: readonly Buffer[] | undefined;
  readonly refused: () => void;
}

/** One handler serves the whole context: whose door it is, the domain says. */
const doors = new Map<string, Door>();
let handler: Promise<Reply> | undefined;
/** An address is free again some time after its socket was closed: in a thousandth of a second as a rule. */
const FREED_MS = 2_000;

/**
 * Let in the clients with these public keys, and nobody else. Without somebody who answers, CURVE would let in any
 * client that knows the server's public key.
 *
 * @param door.keys 32 bytes each; absent when a token decides instead
 * @returns the domain to give to the server's socket
 */
export async function openDoor(loaded: Zmq, door: Door): Promise<{ domain: string; close(): void }> {
  const domain = `jobwright-${randomBytes(9).toString("base64url")}`;
  const close = (): void => {
    if (!doors.delete(domain) || doors.size > 0) return;
    handler?.then(
      (socket) => socket.close(),
      () => undefined,
    );
    handler = undefined;
  };
  doors.set(domain, door);
  handler ??= listen(loaded);
  try {
    await handler;
  } catch (error) {
    close();
    throw error;
  }
  return { domain, close };
}

async function listen({ zmq, context }: Zmq): Promise<Reply> {
  const until = monotonicMs() + FREED_MS;
  for (;;) {
    const socket = new zmq.Reply({ context, linger: 0 });
    try {
      socket.bindSync(ADDRESS);
      void answer(socket);
      return socket;
    } catch (error) {
      socket.close();
      if ((error as { code?: unknown }).code !== "EADDRINUSE" || monotonicMs() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

async function answer(socket: Reply): Promise<void> {
  while (!socket.closed) {
    try {
      const [version, id, domain, , , mechanism, key] = await socket.receive();
      const isAllowed = String(version) === VERSION && mayEnter(String(domain), String(mechanism), key);
      const [status, text] = isAllowed ? ["200", "OK"] : ["400", "unknown key"];
      await socket.send([VERSION, id ?? "", status, text, "", ""]);
    } catch {
      // The socket was closed, or somebody sent what is no question; without an answer nobody comes in.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

function mayEnter(domain: string, mechanism: string, key: Buffer | undefined): boolean {
  const door = doors.get(domain);
  if (door === undefined || mechanism !== "CURVE" || key === undefined) return false;
  if (door.keys === undefined) return true;
  let isKnown = false;
  // All are compared, however early one fits: the time says nothing about them.
  for (const known of door.keys) {
    if (known.length === key.length && timingSafeEqual(known, key)) isKnown = true;
  }
  if (!isKnown) door.refused();
  return isKnown;
}
