import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, isIP, type Socket } from "node:net";
import { monotonicMs } from "../clock.ts";
import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError, StateError } from "../errors.ts";
import { checkKnown } from "../known-options.ts";
import { lineLogger, type Logger, safeLogger } from "../logger.ts";
import type { Service } from "../service.ts";
import type { Storage } from "../storage/storage.ts";
import type { Channel } from "../wire/channel.ts";
import { Access, type AccessToken, type Credentials } from "./access.ts";
import { Counters } from "./counters.ts";
import { answerHttp } from "./http-routes.ts";
import { Session, type SessionDeps } from "./session.ts";
import { isLoopback } from "./loopback.ts";
import { listenWs } from "./ws-listener.ts";
import { listenZmq, type ZmqListener } from "./zmq-listener.ts";
import { checkZmq, type ZmqOptions, type ZmqPlan } from "./zmq-options.ts";

/** How a job server is made. */
export interface JobServerOptions {
  /** What it offers. It is opened with the server and stays yours to close. */
  readonly storage: Storage;
  /** 0 chooses a free one. @default 7420 */
  readonly port?: number;
  /** The address to listen on. Others than this machine's own need `tokens` or client certificates. @default "127.0.0.1" */
  readonly host?: string;
  /** Names by which clients call this server, where a proxy or a name service leads to it. */
  readonly hosts?: readonly string[];
  /** Who may do what; a plain text may do everything. @default none: whoever reaches the address */
  readonly tokens?: readonly (string | AccessToken)[];
  /** Serve `wss:` and `https:`. With `ca`, clients must show a certificate that it signed. */
  readonly tls?: {
    readonly key: string | Buffer;
    readonly cert: string | Buffer;
    readonly ca?: string | Buffer;
  };
  /** Take connections by ZeroMQ too; `{}` is "tcp://127.0.0.1:7421". Needs the package `zeromq`. @default none */
  readonly zmq?: ZmqOptions;
  /** By WebSocket, and as many again by ZeroMQ. @default 2_000 */
  readonly maxConnections?: number;
  /** Calls a second of one connection; who makes more is read more slowly. @default 20_000 */
  readonly callsPerSecond?: number;
  /** How often clients show that they are there; after three times as long in silence they are gone. @default "5s" */
  readonly heartbeat?: Duration;
  /** What else is served on this port: requests for paths that are not the server's own. */
  readonly fallback?: (request: IncomingMessage, response: ServerResponse) => void;
  /** @default warnings and errors as lines on standard error */
  readonly logger?: Logger;
}

const KNOWN: readonly (keyof JobServerOptions)[] = [
  "storage",
  "port",
  "host",
  "hosts",
  "tokens",
  "tls",
  "zmq",
  "maxConnections",
  "callsPerSecond",
  "heartbeat",
  "fallback",
  "logger",
];
/** Looks at the sessions in a heartbeat. */
const TICKS = 10;
/** Longest time between two looks, in ms: who calls too often waits for one. */
const TICK_MS_MAX = 100;
/** Connections by HTTP at once, beside those of clients; more are cut off. */
const HTTP_CONNECTIONS = 1_000;
/** Time for the first line and the headers of a request. */
const HEADERS_MS = 10_000;
/** How long `stop` waits for calls that go on, by default. */
const STOP_MS = 10_000;

/**
 * A storage for others: spawners and workers reach it by WebSocket, people and monitors by HTTP, on one port; and by
 * ZeroMQ on another, where wanted.
 *
 * @example
 * await using server = new JobServer({ storage: new LmdbStorage({ path: "./jobs" }) });
 * await server.start();
 * const jobs = await connect(server.url);
 */
export class JobServer implements Service {
  readonly #options: JobServerOptions;
  readonly #access: Access;
  readonly #counters = new Counters();
  readonly #logger: Logger;
  readonly #host: string;
  readonly #heartbeatMs: number;
  readonly #zmqPlan: ZmqPlan | undefined;
  readonly #sessions = new Set<Session>();
  /** Every connection below HTTP, those that have not said a word among them. */
  readonly #sockets = new Set<Socket>();
  #http: Server | undefined;
  #websockets: { close(): void } | undefined;
  #zmq: ZmqListener | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  /** @throws InvalidOptionError */
  constructor(options: JobServerOptions) {
    checkKnown("JobServer option", options, KNOWN);
    const {
      storage,
      port = 7420,
      host = "127.0.0.1",
      hosts = [],
      tokens = [],
      tls,
      maxConnections,
      callsPerSecond,
    } = options;
    if (typeof storage?.exchange !== "function") {
      throw new InvalidOptionError(
        "storage",
        storage,
        "Hand in a storage, for example new LmdbStorage({ path }).",
      );
    }
    checkInteger("port", port, 0, 65_535);
    checkInteger("maxConnections", maxConnections ?? 1, 1, 1_000_000);
    checkInteger("callsPerSecond", callsPerSecond ?? 1, 1, 1_000_000_000);
    if (typeof host !== "string" || host === "") {
      throw new InvalidOptionError("host", host, 'Use an address like "127.0.0.1" or "0.0.0.0".');
    }
    if (!Array.isArray(hosts) || !hosts.every((name) => typeof name === "string" && name !== "")) {
      throw new InvalidOptionError("hosts", hosts, 'Use a list of names like "jobs.example.com".');
    }
    if (!Array.isArray(tokens))
      throw new InvalidOptionError("tokens", typeof tokens, "Use a list of tokens.");
    this.#heartbeatMs = toMs(options.heartbeat ?? "5s", "heartbeat", { min: 20, max: 3_600_000 });
    this.#access = new Access(tokens, tls?.ca !== undefined);
    if (this.#access.isOpen && !isLoopback(host)) {
      throw new InvalidOptionError(
        "host",
        host,
        "Whoever reaches this address could read, run and remove jobs. Give `tokens`, or `tls` with a `ca` for " +
          'client certificates, or listen on "127.0.0.1".',
      );
    }
    this.#zmqPlan = options.zmq === undefined ? undefined : checkZmq(options.zmq, tokens.length > 0);
    this.#host = host;
    this.#options = options;
    this.#logger = safeLogger(options.logger ?? lineLogger());
  }

  /** The port it listens on, once it has started. @throws StateError before */
  get port(): number {
    const address = this.#http?.address() as AddressInfo | null | undefined;
    if (address === null || address === undefined)
      throw new StateError("The job server does not listen. Call start().");
    return address.port;
  }

  /** Where clients on this machine reach it, without a token. @throws StateError before it has started */
  get url(): string {
    const anywhere = this.#host === "0.0.0.0" ? "127.0.0.1" : this.#host === "::" ? "::1" : this.#host;
    const host = isIP(anywhere) === 6 ? `[${anywhere}]` : anywhere;
    return `${this.#options.tls === undefined ? "ws" : "wss"}://${host}:${this.port}`;
  }

  /** The same by ZeroMQ, with the server's public key. @throws StateError before it has started, or without `zmq` */
  get zmqUrl(): string {
    if (this.#zmq === undefined) {
      throw new StateError(
        "The job server does not listen by ZeroMQ. Give the option `zmq`, and call start().",
      );
    }
    return this.#zmq.url;
  }

  /**
   * Open the storage and listen. Twice is fine.
   *
   * @throws InvalidOptionError when the address cannot be had, MissingDependencyError for `zmq` without its package,
   * and what the storage's `open` throws
   */
  start(): Promise<void> {
    if (this.#stopped !== undefined) {
      return Promise.reject(new StateError("The job server was stopped. Make a new one."));
    }
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  async #start(): Promise<void> {
    const { storage, port = 7420, tls, maxConnections = 2_000 } = this.#options;
    await storage.open();
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      answerHttp(request, response, {
        storage,
        access: this.#access,
        counters: this.#counters,
        isOwnHost: (host) => this.#isOwnHost(host),
        isStopping: () => this.#stopped !== undefined,
        fallback: this.#options.fallback,
      }).catch((error: unknown) => {
        this.#logger.error(
          `the job server failed to answer ${request.method} ${request.url}: ${String(error)}`,
        );
        response.destroy();
      });
    };
    // Before anybody is let in on the other side: it may fail.
    const http = tls === undefined ? createServer(answer) : encrypted(tls, answer);
    const zmq =
      this.#zmqPlan === undefined
        ? undefined
        : await listenZmq({
            plan: this.#zmqPlan,
            maxConnections,
            heartbeatMs: this.#heartbeatMs,
            logger: this.#logger,
            accept: (channel, credentials, peer) => this.#accept(channel, credentials, peer),
            refused: () => (this.#counters.refused += 1),
          });
    // Beside clients there are probes and pages; who only keeps a line open is neither.
    http.maxConnections = maxConnections + HTTP_CONNECTIONS;
    http.headersTimeout = HEADERS_MS;
    http.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      http.once("error", reject);
      http.listen(port, this.#host, () => {
        http.off("error", reject);
        resolve();
      });
    }).catch(async (error: unknown) => {
      for (const session of [...this.#sessions]) session.destroy();
      await zmq?.close();
      throw addressError(error, this.#host, port);
    });
    http.on("error", (error) => this.#logger.error(`the job server's socket failed: ${error.message}`));
    this.#http = http;
    this.#zmq = zmq;
    this.#websockets = listenWs(http, {
      access: this.#access,
      maxConnections,
      isOwnHost: (host) => this.#isOwnHost(host),
      accept: (channel, credentials, peer) => this.#accept(channel, credentials, peer),
      refused: () => (this.#counters.refused += 1),
    });
    this.#ticker = setInterval(() => this.#tick(), Math.min(TICK_MS_MAX, this.#heartbeatMs / TICKS));
    this.#ticker.unref();
  }

  /**
   * Stop: nothing new is taken, calls that go on are answered, and clients look for the server again.
   *
   * @param options.timeout how long calls may go on. @default "10s"
   */
  stop(options: { timeout?: Duration } = {}): Promise<void> {
    const timeoutMs = toMs(options.timeout ?? STOP_MS, "timeout", { min: 0, max: 86_400_000 });
    this.#stopped ??= this.#stop(timeoutMs);
    return this.#stopped;
  }

  async #stop(timeoutMs: number): Promise<void> {
    await this.#started?.catch(() => undefined);
    const http = this.#http;
    if (http === undefined) return;
    const closed = new Promise<void>((resolve) => {
      http.close(() => resolve());
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([Promise.all([...this.#sessions].map((session) => session.stop())), late]);
    // Only now: calls may have waited for their client to read.
    clearInterval(this.#ticker);
    this.#websockets?.close();
    const allClosed = Promise.all([closed, this.#zmq?.close()]);
    // Their close frames are on the way; who does not answer them is cut off.
    await Promise.race([allClosed, late, pause(CLOSE_MS)]);
    clearTimeout(timer);
    for (const session of [...this.#sessions]) session.destroy();
    // Also those that HTTP does not know: in the middle of a handshake, or upgraded.
    for (const socket of [...this.#sockets]) socket.destroy();
    await allClosed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #accept(channel: Channel, credentials: Credentials, peer: string): void {
    const { storage, callsPerSecond = 20_000 } = this.#options;
    const deps: SessionDeps = {
      storage,
      access: this.#access,
      counters: this.#counters,
      logger: this.#logger,
      server: "jobwright",
      heartbeatMs: this.#heartbeatMs,
      callsPerSecond,
      ended: (session) => {
        this.#sessions.delete(session);
        this.#counters.connections = this.#sessions.size;
      },
    };
    const session = new Session(channel, credentials, peer, deps);
    this.#sessions.add(session);
    this.#counters.connections = this.#sessions.size;
    if (this.#stopped !== undefined) void session.stop();
  }

  #tick(): void {
    const now = monotonicMs();
    for (const session of [...this.#sessions]) session.tick(now);
  }

  /** A page of a stranger can make a browser send anything here, but not under another name than its own. */
  #isOwnHost(header: string): boolean {
    const { hosts } = this.#options;
    const host = header
      .replace(/:\d+$/, "")
      .replace(/^\[(.*)\]$/, "$1")
      .toLowerCase();
    if (hosts?.some((name) => name.toLowerCase() === host)) return true;
    // Elsewhere a token is asked for, which no page knows.
    return isLoopback(this.#host) ? isLoopback(host) : hosts === undefined || host === this.#host;
  }
}

/** Time for the close frames of all connections. */
const CLOSE_MS = 1_500;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

function checkInteger(option: string, value: unknown, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
    throw new InvalidOptionError(option, value, `Use a whole number from ${min} to ${max}.`);
  }
}

function encrypted(tls: NonNullable<JobServerOptions["tls"]>, answer: RequestListener): Server {
  try {
    return createTlsServer(
      { ...tls, ...(tls.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true }) },
      answer,
    );
  } catch (error) {
    // OpenSSL says what is wrong with the form, and nothing of what stands there.
    const why = error instanceof Error ? error.message : "unknown";
    throw new InvalidOptionError("tls", "a key or a certificate", `They cannot be used: ${why}. Use PEM.`);
  }
}

function addressError(error: unknown, host: string, port: number): Error {
  const { code } = error as { code?: string };
  const remedy: Readonly<Record<string, string>> = {
    EADDRINUSE: "Another program listens there: stop it, or choose another port.",
    EADDRNOTAVAIL: "This machine has no such address.",
    EACCES: "This user may not listen there: use a port above 1023.",
    ENOTFOUND: "There is no such host.",
  };
  const found = code === undefined ? undefined : remedy[code];
  return found === undefined ? (error as Error) : new InvalidOptionError("address", `${host}:${port}`, found);
}
