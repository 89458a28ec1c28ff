import { isIP } from "node:net";
import { InvalidOptionError } from "../errors.ts";
import { checkKnown } from "../known-options.ts";
import { checkThread } from "../wire/zmq/load.ts";
import { keyBytes, publicKeyOf } from "../wire/zmq/keys.ts";
import { zmqLimits } from "../wire/zmq/limits.ts";
import { isLoopback } from "./loopback.ts";

/** How a job server is reached by ZeroMQ; see docs/zeromq.md. */
export interface ZmqOptions {
  /**
   * `tcp://` with an address of this machine and a port; port 0 chooses a free one. Others than this machine's own
   * need keys or `tokens`.
   *
   * @default "tcp://127.0.0.1:7421"
   */
  readonly address?: string;
  /** The server's secret key, made by `curveKeyPair()`: what is sent is encrypted, and clients know whom they reach. */
  readonly secretKey?: string;
  /** Public keys of the clients that may come in. They may do everything. */
  readonly clients?: readonly string[];
}

/** The same, checked. */
export interface ZmqPlan {
  readonly host: string;
  readonly port: number;
  readonly curve?: {
    readonly secretKey: string;
    readonly publicKey: string;
    /** Absent when tokens decide. */
    readonly clients: readonly Buffer[] | undefined;
  };
}

const KNOWN = ["address", "secretKey", "clients"];
const ADDRESS = "tcp://127.0.0.1:7421";

/** @throws InvalidOptionError, and StateError in a worker thread */
export function checkZmq(options: ZmqOptions, hasTokens: boolean): ZmqPlan {
  if (typeof options !== "object" || options === null) {
    throw new InvalidOptionError("zmq", typeof options, `Use an object with some of ${KNOWN.join(", ")}.`);
  }
  checkKnown("zmq option", options, KNOWN);
  checkThread();
  const { address = ADDRESS, secretKey, clients } = options;
  const { host, port } = parse(address);
  const keys = clients === undefined ? undefined : clientKeys(clients);
  if (secretKey === undefined) {
    if (keys !== undefined) {
      throw new InvalidOptionError(
        "zmq.clients",
        `${keys.length} keys`,
        "They need the server's own `secretKey`: without it nobody shows a key.",
      );
    }
    if (!hasTokens && !isLoopback(host)) {
      throw new InvalidOptionError(
        "zmq.address",
        address,
        "Whoever reaches this address could read, run and remove jobs. Give `secretKey` and `clients`, or `tokens`, " +
          `or listen on "${ADDRESS}".`,
      );
    }
    return { host, port };
  }
  keyBytes("zmq.secretKey", secretKey);
  if (keys === undefined && !hasTokens) {
    throw new InvalidOptionError(
      "zmq.clients",
      "not given",
      "A `secretKey` alone lets in whoever knows the public one: list the clients' public keys, or give `tokens`.",
    );
  }
  return { host, port, curve: { secretKey, publicKey: publicKeyOf(secretKey), clients: keys } };
}

function clientKeys(clients: readonly string[]): readonly Buffer[] {
  if (!Array.isArray(clients) || clients.length === 0 || clients.length > zmqLimits.clients) {
    throw new InvalidOptionError(
      "zmq.clients",
      Array.isArray(clients) ? `${clients.length} keys` : typeof clients,
      `List 1 to ${zmqLimits.clients} public keys.`,
    );
  }
  return clients.map((key, index) => keyBytes(`zmq.clients[${index}]`, key));
}

function parse(address: unknown): { host: string; port: number } {
  const found =
    typeof address === "string" ? /^tcp:\/\/(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) : null;
  const name = found?.[1] ?? found?.[2] ?? "";
  const host = name === "localhost" ? "127.0.0.1" : name;
  const port = Number(found?.[3]);
  if (
    found === null ||
    isIP(host) === 0 ||
    port > 65_535 ||
    (isIP(host) === 6) !== (found[1] !== undefined)
  ) {
    throw new InvalidOptionError(
      "zmq.address",
      address,
      'Use "tcp://127.0.0.1:7421", "tcp://0.0.0.0:7421" or "tcp://[::1]:7421": addresses in numbers.',
    );
  }
  return { host, port };
}
