import { randomBytes } from "node:crypto";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import {
  AccessDeniedError,
  InvalidOptionError,
  ProtocolError,
  StorageUnavailableError,
} from "../../errors.ts";
import type { Channel } from "../../wire/channel.ts";
import { wireLimits } from "../../wire/limits.ts";
import { dealerChannel } from "../../wire/zmq/dealer-channel.ts";
import { curveKeyPair, keyBytes, publicKeyOf } from "../../wire/zmq/keys.ts";
import { zmqLimits } from "../../wire/zmq/limits.ts";
import { checkThread, type Dealer, loadZmq } from "../../wire/zmq/load.ts";
import { decoded, type Dial } from "./dial.ts";

export interface ZmqDialOptions {
  readonly token?: string | undefined;
  readonly tls?: unknown;
  readonly serverKey?: string | undefined;
  readonly secretKey?: string | undefined;
}

interface Curve {
  readonly curveServerKey: string;
  readonly curvePublicKey: string;
  readonly curveSecretKey: string;
}

const PORT = 7421;
const KNOWN = ["serverKey", "secretKey"];

/**
 * Dial `zmq://host:port`; a token may stand as password, keys behind `?serverKey=` and `&secretKey=`.
 *
 * @throws InvalidOptionError, and StateError in a worker thread
 */
export function dialZmq(url: string, options: ZmqDialOptions): Dial {
  checkThread();
  const { host, port, token, keys } = parse(url);
  if (options.tls !== undefined) {
    throw new InvalidOptionError("tls", "certificates", 'They go with a URL that begins with "wss:".');
  }
  const curve = curveOf(
    options.serverKey ?? keys.get("serverKey"),
    options.secretKey ?? keys.get("secretKey"),
  );
  const label = `zmq://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const shown = options.token ?? token;
  return {
    label,
    ...(shown === undefined ? {} : { token: shown }),
    prepare: async () => {
      await loadZmq();
    },
    connect: async (timeoutMs) => {
      const addresses = await addressesOf(host, label);
      let trouble: unknown;
      for (const address of addresses) {
        try {
          return await connect(address, port, { label, curve, timeoutMs: timeoutMs / addresses.length });
        } catch (error) {
          trouble = error;
          if (!(error instanceof StorageUnavailableError)) break;
        }
      }
      throw trouble;
    },
  };
}

interface Attempt {
  readonly label: string;
  readonly curve: Curve | undefined;
  readonly timeoutMs: number;
}

async function connect(address: string, port: number, attempt: Attempt): Promise<Channel> {
  const { label, curve, timeoutMs } = attempt;
  const { zmq, context } = await loadZmq();
  return new Promise((resolve, reject) => {
    let socket: Dealer;
    try {
      socket = new zmq.Dealer({
        context,
        ipv6: isIP(address) === 6,
        linger: 0,
        // One connection each: a new one is a new session and has a new routing id.
        reconnectInterval: -1,
        // Drawn by ourselves, because nobody may guess it.
        routingId: randomBytes(18).toString("base64url"),
        sendHighWaterMark: zmqLimits.highWaterMark,
        receiveHighWaterMark: zmqLimits.highWaterMark,
        maxMessageSize: wireLimits.answerBytes,
        handshakeInterval: zmqLimits.handshakeMs,
        ...curve,
      });
    } catch (error) {
      return reject(
        new StorageUnavailableError(`ZeroMQ cannot open a socket: ${String(error)}.`, { cause: error }),
      );
    }
    let isSettled = false;
    const fail = (error: Error): void => {
      // From its handshake on the channel looks after it.
      if (isSettled) return;
      isSettled = true;
      clearTimeout(timer);
      socket.close();
      reject(error);
    };
    const timer = setTimeout(
      () => fail(new StorageUnavailableError(`No job server answers at ${label} within ${timeoutMs} ms.`)),
      timeoutMs,
    );
    const nobody = (why: string): void =>
      fail(new StorageUnavailableError(`No job server answers at ${label}: ${why}.`));
    const { events } = socket;
    events.on("handshake", () => {
      if (isSettled) return;
      isSettled = true;
      clearTimeout(timer);
      resolve(dealerChannel(socket));
    });
    events.on("handshake:error:auth", () =>
      fail(
        new AccessDeniedError(
          `${label} does not know this client's key. Put its public key into \`zmq.clients\` there.`,
        ),
      ),
    );
    events.on("handshake:error:protocol", ({ error }) => fail(misunderstanding(error.code, attempt)));
    events.on("handshake:error:other", ({ error }) =>
      nobody(`${error.message}${curve === undefined ? "" : "; check that `serverKey` is its public key"}`),
    );
    events.on("close", () => nobody("the connection was refused"));
    events.on("disconnect", () => nobody("the connection was lost"));
    try {
      socket.connect(`tcp://${isIP(address) === 6 ? `[${address}]` : address}:${port}`);
    } catch (error) {
      nobody(String(error));
    }
  });
}

function misunderstanding(code: string, { label, curve }: Attempt): Error {
  if (code !== "ERR_ZMTP_MECHANISM_MISMATCH") {
    return new ProtocolError(`${label} is no job server, or not by ZeroMQ (${code}).`);
  }
  return new AccessDeniedError(
    curve === undefined
      ? `${label} wants keys. Give the options \`serverKey\` and \`secretKey\`, or put them into the URL.`
      : `${label} does not use keys. Leave out \`serverKey\` and \`secretKey\`, or start it with \`zmq.secretKey\`.`,
  );
}

/** Numbers of a name, in the order of this machine's resolver; ZeroMQ would hold up all its connections for it. */
async function addressesOf(host: string, label: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    throw new StorageUnavailableError(`No job server answers at ${label}: there is no such host.`, {
      cause: error,
    });
  }
}

function curveOf(serverKey: string | undefined, secretKey: string | undefined): Curve | undefined {
  if (serverKey === undefined) {
    if (secretKey === undefined) return undefined;
    throw new InvalidOptionError(
      "serverKey",
      "not given",
      "Give the server's public key with your `secretKey`.",
    );
  }
  keyBytes("serverKey", serverKey);
  if (secretKey !== undefined) keyBytes("secretKey", secretKey);
  // Without a key of its own the client is anybody, over an encrypted connection: a token says who it is.
  const own = secretKey ?? curveKeyPair().secretKey;
  return { curveServerKey: serverKey, curvePublicKey: publicKeyOf(own), curveSecretKey: own };
}

interface Parsed {
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  readonly keys: ReadonlyMap<string, string>;
}

function parse(url: string): Parsed {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    // Not shown: what cannot be read may hold a secret anywhere.
    throw new InvalidOptionError("url", "a text that is no URL", FORM);
  }
  const { hostname, port, pathname, hash, password } = parsed;
  if (hostname === "" || hash !== "" || (pathname !== "" && pathname !== "/")) {
    throw new InvalidOptionError(
      "url",
      "a zmq: URL of another form",
      `${FORM} Write keys with encodeURIComponent().`,
    );
  }
  const keys = new Map<string, string>();
  for (const pair of parsed.search.slice(1).split("&")) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(0, at));
    if (!KNOWN.includes(name)) {
      throw new InvalidOptionError(
        "url",
        "a zmq: URL with other parameters",
        `Known are ${KNOWN.join(" and ")}.`,
      );
    }
    // Not as forms write it: a plus is a plus, and keys have some.
    keys.set(name, decoded(pair.slice(at + 1)));
  }
  return {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? PORT : Number(port),
    token: password === "" ? undefined : decoded(password),
    keys,
  };
}

const FORM = "Use zmq://host:port.";
