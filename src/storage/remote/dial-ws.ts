import { WebSocket } from "ws";
import {
  AccessDeniedError,
  InvalidOptionError,
  ProtocolError,
  StorageUnavailableError,
} from "../../errors.ts";
import type { Channel } from "../../wire/channel.ts";
import { wireLimits } from "../../wire/limits.ts";
import { SUBPROTOCOL } from "../../wire/message.ts";
import { socketChannel } from "../../wire/ws-channel.ts";
import { decoded, type Dial } from "./dial.ts";

/** Certificates for `wss:`, as `node:tls` takes them. */
export interface RemoteTls {
  /** Of whoever signed the server's certificate. @default those that Node.js trusts */
  readonly ca?: string | Buffer;
  /** The client's own, where the server asks for one. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}

/**
 * Dial `ws://host:port` or `wss://host:port`; a token may stand as password: `ws://:TOKEN@host`.
 *
 * @throws InvalidOptionError
 */
export function dialWs(
  url: string,
  options: { token?: string | undefined; tls?: RemoteTls | undefined },
): Dial {
  const parsed = parse(url);
  const token = options.token ?? (parsed.password === "" ? undefined : decoded(parsed.password));
  parsed.username = "";
  parsed.password = "";
  const label = parsed.href.replace(/\/$/, "");
  if (options.tls !== undefined && parsed.protocol !== "wss:") {
    throw new InvalidOptionError("tls", "certificates", 'They go with a URL that begins with "wss:".');
  }
  return {
    label,
    connect: (timeoutMs, signal) => connect(parsed.href, label, { ...options, token }, { timeoutMs, signal }),
  };
}

function connect(
  href: string,
  label: string,
  { token, tls }: { token?: string | undefined; tls?: RemoteTls | undefined },
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal | undefined },
): Promise<Channel> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(href, [SUBPROTOCOL], {
      ...tls,
      perMessageDeflate: false,
      // A mask keeps scripts of pages from steering the caches of proxies. Pages may not connect here, and to mask
      // and unmask byte by byte costs both sides a tenth of what a drain costs them.
      generateMask: (mask: Buffer) => void mask.fill(0),
      maxPayload: wireLimits.answerBytes,
      handshakeTimeout: timeoutMs,
      followRedirects: false,
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    });
    const giveUp = (): void => socket.terminate();
    signal?.addEventListener("abort", giveUp);
    socket.once("close", () => signal?.removeEventListener("abort", giveUp));
    socket.once("unexpected-response", (_request, response) => {
      const status = response.statusCode ?? 0;
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        body += part;
        if (body.length >= BODY_LENGTH) response.destroy();
      });
      response.once("close", () => reject(refusal(label, status, body.slice(0, BODY_LENGTH))));
      socket.once("error", () => undefined);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      // An address with several numbers fails with all their errors in one without a message.
      const why = error.message === "" ? (error.code ?? "no connection") : error.message;
      reject(new StorageUnavailableError(`No job server answers at ${label}: ${why}.`, { cause: error }));
    });
    socket.once("open", () => resolve(socketChannel(socket)));
  });
}

/** What is read of a refusal. */
const BODY_LENGTH = 500;

function refusal(label: string, status: number, body: string): Error {
  const said = body.replaceAll(/[\p{Cc}\s]+/gu, " ").trim();
  if (status === 401) return new AccessDeniedError(said || `${label} wants another token.`);
  // Also what a proxy says while the server behind it is away.
  if (status >= 500 || status === 408 || status === 429)
    return new StorageUnavailableError(`${label} does not take connections now: ${said}`);
  return new ProtocolError(`${label} is no job server, or refuses this client (HTTP ${status}): ${said}`);
}

function parse(url: string): URL {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    // Not shown: what cannot be read may hold a token anywhere.
    throw new InvalidOptionError("url", "a text that is no URL", "Use ws://host:port or wss://host:port.");
  }
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
    throw new InvalidOptionError("url", parsed.protocol, "Use ws://host:port or wss://host:port.");
  }
  if (parsed.search !== "" || parsed.hash !== "") {
    throw new InvalidOptionError(
      "url",
      `${parsed.protocol}//${parsed.host}/…`,
      "Leave out what follows `?` or `#`.",
    );
  }
  return parsed;
}
