import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** Which bytes: what clients send, or what the server answers. */
export type Direction = "requests" | "answers";

/** Bytes on their way are kept, at most so many in each direction of a connection; then the sender waits. */
const HELD_BYTES_MAX = 4 * 1024 * 1024;

/** What can be done to one connection, or to all of them, also those to come. */
export interface Faults {
  /** Every byte arrives so much later, in order. */
  delay(ms: number): void;
  /** Bytes arrive in pieces of this size, each a packet of its own. */
  split(bytes: number): void;
  /**
   * Half-open: nothing arrives any more and nobody is told, not even when the other side goes away. What
   * was sent meanwhile arrives after `heal`, as after a network's outage.
   */
  freeze(direction?: Direction): void;
  /** End connections in order (FIN), as an idle time-out on the way does. */
  cut(): void;
  /** End connections at once (RST), as a crashed machine that is back does. */
  reset(): void;
  /** What is open and what comes is passed on, at once and whole. */
  heal(): void;
}

/**
 * A TCP proxy on a port of its own that does to connections what networks do.
 *
 * ```ts
 * await using proxy = await TcpProxy.start(server.port);
 * const pool = new pg.Pool({ connectionString: proxy.url(server.url) });
 * proxy.freeze("answers"); // commits reach the server, and nobody hears of it
 * ```
 */
export class TcpProxy implements Faults, AsyncDisposable {
  /** Connections taken since the start, refused ones not among them. */
  taken = 0;
  readonly #target: number;
  readonly #open = new Set<ProxiedConnection>();
  readonly #state: State = healthy();
  #server: Server | undefined;
  #port = 0;
  #waiters: { readonly count: number; readonly resolve: () => void }[] = [];

  private constructor(target: number) {
    this.#target = target;
  }

  /** Pass connections on to a port of 127.0.0.1. */
  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await proxy.accept();
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  /** The connections that are open now, oldest first. */
  get connections(): readonly ProxiedConnection[] {
    return [...this.#open];
  }

  /** A URL of the target, changed to lead through the proxy. */
  url(target: string): string {
    const url = new URL(target);
    url.hostname = "127.0.0.1";
    url.port = `${this.#port}`;
    return url.href;
  }

  /** Resolves when so many connections have been taken since the start. */
  whenTaken(count: number): Promise<void> {
    if (this.taken >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ count, resolve }));
  }

  /** Refuse new connections (ECONNREFUSED); open ones go on. */
  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    // Its callback waits for the open connections too, which may stay; it listens no more at once.
    server?.close();
    await new Promise(setImmediate);
  }

  /** Take connections (again), on the same port as before. */
  async accept(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#take(client));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(this.#port, "127.0.0.1", resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  delay(ms: number): void {
    this.#state.delayMs = ms;
    for (const one of this.#open) one.delay(ms);
  }

  split(bytes: number): void {
    this.#state.splitBytes = bytes;
    for (const one of this.#open) one.split(bytes);
  }

  freeze(direction?: Direction): void {
    freeze(this.#state, direction);
    for (const one of this.#open) one.freeze(direction);
  }

  heal(): void {
    Object.assign(this.#state, healthy());
    for (const one of this.#open) one.heal();
  }

  cut(): void {
    for (const one of this.#open) one.cut();
  }

  reset(): void {
    for (const one of this.#open) one.reset();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse();
    this.reset();
  }

  #take(client: Socket): void {
    const connection = new ProxiedConnection(client, this.#target, structuredClone(this.#state));
    this.#open.add(connection);
    void connection.closed.then(() => this.#open.delete(connection));
    this.taken += 1;
    this.#waiters = this.#waiters.filter(({ count, resolve }) => {
      if (this.taken < count) return true;
      resolve();
      return false;
    });
  }
}

/** One client's connection through the proxy. */
export class ProxiedConnection implements Faults {
  /** Resolves when neither side is open any more. */
  readonly closed: Promise<void>;
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #state: State;
  readonly #pipes: Readonly<Record<Direction, Pipe>>;

  constructor(client: Socket, target: number, state: State) {
    this.#client = client;
    this.#server = connect({ port: target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    this.#state = state;
    this.#pipes = {
      requests: new Pipe(client, this.#server, state, "requests"),
      answers: new Pipe(this.#server, client, state, "answers"),
    };
    this.closed = Promise.all([isClosed(client), isClosed(this.#server)]).then(() => undefined);
  }

  /** Bytes that have been passed on. */
  passed(direction: Direction): number {
    return this.#pipes[direction].passed;
  }

  delay(ms: number): void {
    this.#state.delayMs = ms;
  }

  split(bytes: number): void {
    this.#state.splitBytes = bytes;
  }

  freeze(direction?: Direction): void {
    freeze(this.#state, direction);
  }

  heal(): void {
    Object.assign(this.#state, healthy());
    this.#pipes.requests.wake();
    this.#pipes.answers.wake();
  }

  cut(): void {
    this.#client.end();
    this.#server.end();
  }

  reset(): void {
    this.#client.resetAndDestroy();
    this.#server.resetAndDestroy();
  }
}

interface State {
  delayMs: number;
  splitBytes: number;
  frozen: Record<Direction, boolean>;
}

function healthy(): State {
  return { delayMs: 0, splitBytes: Infinity, frozen: { requests: false, answers: false } };
}

function freeze(state: State, direction: Direction | undefined): void {
  for (const one of ["requests", "answers"] as const) {
    if (direction === undefined || direction === one) state.frozen[one] = true;
  }
}

/** One direction of a connection: what came and is not passed on yet, in order. */
class Pipe {
  passed = 0;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #state: State;
  readonly #direction: Direction;
  readonly #parts: { readonly part: Buffer | "end" | "reset"; readonly at: number }[] = [];
  #heldBytes = 0;
  #isPumping = false;
  #wakeUp = new AbortController();

  constructor(from: Socket, to: Socket, state: State, direction: Direction) {
    this.#from = from;
    this.#to = to;
    this.#state = state;
    this.#direction = direction;
    from.on("data", (chunk: Buffer) => this.#add(chunk));
    from.on("end", () => this.#add("end"));
    from.on("error", () => this.#add("reset"));
  }

  /** Look again, because the faults have changed. */
  wake(): void {
    this.#wakeUp.abort();
    this.#wakeUp = new AbortController();
    void this.#pump();
  }

  #add(part: Buffer | "end" | "reset"): void {
    this.#parts.push({ part, at: performance.now() });
    if (typeof part !== "string") this.#heldBytes += part.length;
    if (this.#heldBytes > HELD_BYTES_MAX) this.#from.pause();
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    for (let first = this.#parts[0]; first !== undefined; first = this.#parts[0]) {
      if (this.#state.frozen[this.#direction]) break;
      const waitMs = first.at + this.#state.delayMs - performance.now();
      if (waitMs > 0) {
        await pause(waitMs, undefined, { signal: this.#wakeUp.signal }).catch(() => undefined);
        continue;
      }
      this.#parts.shift();
      if (typeof first.part === "string") this.#finish(first.part);
      else await this.#pass(first.part, first.at);
    }
    this.#isPumping = false;
  }

  async #pass(chunk: Buffer, at: number): Promise<void> {
    const piece = chunk.subarray(0, this.#state.splitBytes);
    const rest = chunk.subarray(piece.length);
    if (rest.length > 0) this.#parts.unshift({ part: rest, at });
    this.#heldBytes -= piece.length;
    if (this.#heldBytes <= HELD_BYTES_MAX) this.#from.resume();
    if (!this.#to.writable) return;
    this.passed += piece.length;
    await new Promise<void>((resolve) => this.#to.write(piece, () => resolve()));
    // A turn of the event loop, so that the next piece is a packet of its own.
    if (rest.length > 0) await new Promise(setImmediate);
  }

  #finish(how: "end" | "reset"): void {
    if (how === "end") this.#to.end();
    else this.#to.resetAndDestroy();
  }
}

function isClosed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}
