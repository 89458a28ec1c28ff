import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { WebSocketServer } from "ws";
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
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // A peer that goes away while it is answered is none of our business.
    socket.on("error", () => undefined);
    const refusal = refusalOf(request, options, open);
    if (refusal !== undefined) {
      options.refused(refusal.why);
      return refuse(socket, refusal);
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      open += 1;
      webSocket.once("close", () => (open -= 1));
      const { remoteAddress, remotePort } = request.socket;
      options.accept(socketChannel(webSocket), credentialsOf(request), `${remoteAddress}:${remotePort}`);
    });
  };
  http.on("upgrade", upgrade);
  return {
    close: () => {
      http.off("upgrade", upgrade);
      sockets.close();
    },
  };
}

interface Refusal {
  readonly status: string;
  readonly why: string;
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
    return { status: "421 Misdirected Request", why: "This server has another name. Start it with `hosts`." };
  }
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim());
  if (!offered.includes(SUBPROTOCOL)) {
    return { status: "400 Bad Request", why: `Ask for the subprotocol "${SUBPROTOCOL}".` };
  }
  try {
    // Whoever brings no token may still bring one with its hello.
    const credentials = credentialsOf(request);
    if (credentials.token !== undefined) access.scopesOf(credentials);
  } catch (error) {
    if (error instanceof AccessDeniedError) return { status: "401 Unauthorized", why: error.message };
    throw error;
  }
  return undefined;
}

function credentialsOf(request: IncomingMessage): Credentials {
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
  return { token, proven: (request.socket as Partial<TLSSocket>).authorized === true };
}

function refuse(socket: Duplex, { status, why }: Refusal): void {
  const challenge = status.startsWith("401") ? "WWW-Authenticate: Bearer\r\n" : "";
  socket.end(
    `HTTP/1.1 ${status}\r\n${challenge}Content-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(why)}\r\nConnection: close\r\n\r\n${why}`,
  );
}
