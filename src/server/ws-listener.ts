import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { type WebSocket, WebSocketServer } from "ws";
import { AccessDeniedError } from "../errors.ts";
import type { Channel } from "../wire/channel.ts";
import { wireLimits } from "../wire/limits.ts";
import { SUBPROTOCOL } from "../wire/message.ts";
import { socketChannel } from "../wire/ws-channel.ts";
import type { Access, Credentials } from "./access.ts";

export interface WsListenerOptions {
  readonly access: Access;
  readonly maxConnections: number;
  /** Whether a name in a Host header is this server's. */
  readonly isOwnHost: (host: string) => boolean;
  readonly accept: (channel: Channel, credentials: Credentials, peer: string) => void;
  readonly refused: (why: string) => void;
}

/** Takes WebSocket connections on an HTTP server. */
export function listenWs(http: Server, options: WsListenerOptions): { close(): void } {
  const sockets = new WebSocketServer({
    noServer: true,
    // Job data compresses well and costs more to compress than to send on the networks that servers stand in.
    perMessageDeflate: false,
    maxPayload: wireLimits.frameBytes,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  let open = 0;
  let isClosed = false;
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // A peer that goes away while it is answered is none of our business.
    socket.on("error", () => undefined);
    const refusal = isClosed ? STOPPING : refusalOf(request, options, open);
    if (refusal !== undefined) {
      options.refused(refusal.why);
      return refuse(socket, refusal);
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      open += 1;
      webSocket.once("close", () => (open -= 1));
      const { remoteAddress, remotePort } = request.socket;
      guardHello(webSocket, socket);
      options.accept(socketChannel(webSocket), credentialsOf(request), `${remoteAddress}:${remotePort}`);
    });
  };
  http.on("upgrade", upgrade);
  return {
    // Whoever knocked just before is told to come again, not that there is no such thing here.
    close: () => {
      isClosed = true;
      sockets.close();
    },
  };
}

interface Refusal {
  readonly status: string;
  readonly why: string;
}

const STOPPING: Refusal = { status: "503 Service Unavailable", why: "The job server is stopping." };

/** Bytes that a first frame takes with what WebSocket puts around it. */
const HELLO_BYTES = wireLimits.helloBytes + 14;
/** Time for the close to be read. */
const CLOSE_MS = 1_000;

/** Before a hello, no more is kept of anybody than a hello: `maxPayload` is for those who were let in. */
function guardHello(webSocket: WebSocket, socket: Duplex): void {
  let bytes = 0;
  let isGreeted = false;
  const count = (part: Buffer): void => {
    bytes += part.length;
    if (!isGreeted && bytes <= HELLO_BYTES) return;
    socket.off("data", count);
    if (isGreeted) return;
    webSocket.pause();
    webSocket.close(1_009, `The first frame is larger than ${wireLimits.helloBytes} bytes.`);
    setTimeout(() => webSocket.terminate(), CLOSE_MS).unref();
  };
  webSocket.once("message", () => (isGreeted = true));
  socket.on("data", count);
}

function refusalOf(request: IncomingMessage, options: WsListenerOptions, open: number): Refusal | undefined {
  const { access, maxConnections, isOwnHost } = options;
  if (open >= maxConnections) {
    return { status: "503 Service Unavailable", why: `There are ${maxConnections} connections already.` };
  }
  // Browsers send it, on behalf of whatever page is open; our clients do not.
  if (request.headers.origin !== undefined) {
    return { status: "403 Forbidden", why: "Pages in browsers may not connect." };
  }
  if (!isOwnHost(request.headers.host ?? "")) {
    return {
      status: "421 Misdirected Request",
      why: "This server has another name. Start it with this one in `hosts`, or `jobwright serve --name`.",
    };
  }
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim());
  if (!offered.includes(SUBPROTOCOL)) {
    return { status: "400 Bad Request", why: `Ask for the subprotocol "${SUBPROTOCOL}".` };
  }
  try {
    // Before the first frame: nobody unknown may make the server hold one.
    access.scopesOf(credentialsOf(request));
  } catch (error) {
    if (error instanceof AccessDeniedError) return { status: "401 Unauthorized", why: error.message };
    throw error;
  }
  return undefined;
}

/** What a request shows of who makes it. */
export function credentialsOf(request: IncomingMessage): Credentials {
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
  return { token, certified: (request.socket as Partial<TLSSocket>).authorized === true };
}

function refuse(socket: Duplex, { status, why }: Refusal): void {
  const challenge = status.startsWith("401") ? "WWW-Authenticate: Bearer\r\n" : "";
  // Who does not end his side would keep a connection that nobody counts, and hold up a stop.
  socket.once("finish", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status}\r\n${challenge}Content-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(why)}\r\nConnection: close\r\n\r\n${why}`,
  );
}
