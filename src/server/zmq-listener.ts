import { isIP } from "node:net";
import { monotonicMs } from "../clock.ts";
import { InvalidOptionError, StorageUnavailableError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Channel } from "../wire/channel.ts";
import { failureOf } from "../wire/failure.ts";
import { joinFrame, packMessage, unpackFrame } from "../wire/frame.ts";
import { wireLimits } from "../wire/limits.ts";
import type { ToClient } from "../wire/message.ts";
import { zmqLimits } from "../wire/zmq/limits.ts";
import { loadZmq, type Router } from "../wire/zmq/load.ts";
import { RouterChannels } from "../wire/zmq/router-channels.ts";
import { openDoor } from "../wire/zmq/zap.ts";
import type { Credentials } from "./access.ts";
import type { ZmqPlan } from "./zmq-options.ts";

export interface ZmqListenerOptions {
  readonly plan: ZmqPlan;
  readonly maxConnections: number;
  readonly heartbeatMs: number;
  readonly logger: Logger;
  readonly accept: (channel: Channel, credentials: Credentials, peer: string) => void;
  readonly refused: (why: string) => void;
}

export interface ZmqListener {
  /** Where clients on this machine reach it, with the server's public key and without a token. */
  readonly url: string;
  /** Once every session was closed: each has a second to take what was sent. Nobody comes in meanwhile. */
  close(): Promise<void>;
}

/**
 * Silence of a peer below the protocol after which its connection is cut, in heartbeats: later than a session judges,
 * because one that does not read looks like one that is not there.
 */
const SILENT_BEATS = 8;

/** Takes ZeroMQ connections. @throws InvalidOptionError, MissingDependencyError, StateError */
export async function listenZmq(options: ZmqListenerOptions): Promise<ZmqListener> {
  const { plan, maxConnections, heartbeatMs, logger, accept, refused } = options;
  const { host, port, curve } = plan;
  const loaded = await loadZmq();
  const door =
    curve === undefined
      ? undefined
      : await openDoor(loaded, {
          keys: curve.clients,
          refused: () => {
            refused("unknown key");
            logger.warn("the job server refused a ZeroMQ client whose public key is not in `zmq.clients`");
          },
        });
  const socket = new loaded.zmq.Router({
    context: loaded.context,
    ipv6: isIP(host) === 6,
    linger: 0,
    // Who cannot be reached is an error of that one client instead of a message that vanishes ...
    mandatory: true,
    // ... and who takes no more is one at once, instead of a wait that holds up all others.
    sendTimeout: 0,
    sendHighWaterMark: zmqLimits.highWaterMark,
    receiveHighWaterMark: zmqLimits.highWaterMark,
    maxMessageSize: wireLimits.frameBytes,
    handshakeInterval: zmqLimits.handshakeMs,
    // A ROUTER cannot cut one peer off. ZeroMQ does it where nothing comes back, and gives up what is kept for it.
    heartbeatInterval: heartbeatMs,
    heartbeatTimeout: SILENT_BEATS * heartbeatMs,
    ...(curve === undefined || door === undefined
      ? {}
      : {
          curveServer: true,
          curveSecretKey: curve.secretKey,
          zapDomain: door.domain,
          // Without an answer from the door nobody comes in.
          zapEnforceDomain: true,
        }),
  });
  try {
    await bind(socket, `tcp://${isIP(host) === 6 ? `[${host}]` : host}:${port}`);
  } catch (error) {
    socket.close();
    door?.close();
    throw addressError(error, plan);
  }
  const bound = Number(/:(\d+)$/.exec(socket.lastEndpoint ?? "")?.[1] ?? port);
  let isClosing = false;
  const credentials: Credentials = { proven: curve?.clients !== undefined };
  const channels: RouterChannels = new RouterChannels(socket, {
    stranger: (frame) => {
      if (!isHello(frame)) return one(["bye", "This connection is not known here. Say hello again."]);
      if (isClosing) return one(["bye", "The job server is stopping."]);
      if (channels.size < maxConnections) return undefined;
      const why = `There are ${maxConnections} connections already.`;
      refused(why);
      return one(["refused", failureOf(new StorageUnavailableError(why))]);
    },
    accept: (channel, peer) => accept(channel, credentials, peer),
    failed: (error) => logger.error(`the job server's ZeroMQ socket failed: ${String(error)}`),
  });
  return {
    url: urlOf(host, bound, curve?.publicKey),
    close: async () => {
      isClosing = true;
      await channels.emptied();
      socket.close();
      door?.close();
    },
  };
}

/** A socket that was closed keeps its address for a moment: for a thousandth of a second as a rule. */
const FREED_MS = 500;

/** Bind, also to the address of a server that has just stopped. */
async function bind(socket: Router, address: string): Promise<void> {
  const until = monotonicMs() + FREED_MS;
  for (;;) {
    try {
      return await socket.bind(address);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EADDRINUSE" || monotonicMs() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

/** Whether somebody begins, or goes on with what has ended: a server that was started again knows nobody. */
function isHello(frame: Uint8Array): boolean {
  if (frame.length > wireLimits.helloBytes) return false;
  try {
    const [first] = unpackFrame(frame);
    return Array.isArray(first) && first[0] === "hello";
  } catch {
    return false;
  }
}

function one(message: ToClient): Buffer {
  return joinFrame([packMessage(message)]);
}

function urlOf(host: string, port: number, publicKey: string | undefined): string {
  const near = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  const key = publicKey === undefined ? "" : `?serverKey=${encodeURIComponent(publicKey)}`;
  return `zmq://${isIP(near) === 6 ? `[${near}]` : near}:${port}${key}`;
}

function addressError(error: unknown, { host, port }: ZmqPlan): Error {
  const remedy: Readonly<Record<string, string>> = {
    EADDRINUSE: "Another program listens there: stop it, or choose another port.",
    EADDRNOTAVAIL: "This machine has no such address.",
    ENODEV: "This machine has no such address.",
    EACCES: "This user may not listen there: use a port above 1023.",
  };
  const found = remedy[(error as { code?: string }).code ?? ""];
  return found === undefined
    ? (error as Error)
    : new InvalidOptionError("zmq.address", `tcp://${host}:${port}`, found);
}
