import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * A pooler in transaction mode, as far as its clients can tell: a few connections to the server, each lent to a
 * client for one transaction only. So prepared statements, settings and `LISTEN` of one client are found by the
 * next, or by nobody. Passwords and TLS are beyond it.
 */
export class TransactionPooler implements AsyncDisposable {
  /** How often a connection to the server went from one client to another. */
  changes = 0;
  readonly #target: number;
  readonly #size: number;
  readonly #mode: "transaction" | "statement";
  readonly #clients = new Set<Socket>();
  readonly #backends = new Set<Backend>();
  readonly #idle: Backend[] = [];
  readonly #waiting: ((backend: Backend) => void)[] = [];
  #server: Server | undefined;
  #port = 0;

  private constructor(target: number, size: number, mode: "transaction" | "statement") {
    this.#target = target;
    this.#size = size;
    this.#mode = mode;
  }

  /**
   * Pass transactions on to a server on a port of 127.0.0.1, over so many connections.
   *
   * @param mode "statement" refuses transactions of several statements, as PgBouncer does then
   */
  static async start(
    target: number,
    size: number,
    mode: "transaction" | "statement" = "transaction",
  ): Promise<TransactionPooler> {
    const pooler = new TransactionPooler(target, size, mode);
    const server = createServer({ noDelay: true }, (socket) => pooler.#take(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    pooler.#server = server;
    pooler.#port = (server.address() as AddressInfo).port;
    return pooler;
  }

  /** A URL of the server, changed to lead through the pooler. */
  url(target: string): string {
    const url = new URL(target);
    url.port = `${this.#port}`;
    return url.href;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    for (const client of this.#clients) client.destroy();
    for (const backend of this.#backends) backend.socket.destroy();
    await closed;
  }

  #take(socket: Socket): void {
    this.#clients.add(socket);
    let backend: Backend | undefined;
    let greeting: Buffer | undefined;
    /** Messages of a client that waits for a connection to the server. */
    let held: Buffer[] = [];
    let isAsking = false;
    const link = async (): Promise<void> => {
      isAsking = true;
      const lent = await this.#lend(greeting as Buffer);
      isAsking = false;
      if (socket.destroyed) {
        this.#giveBack(lent);
        return;
      }
      backend = lent;
      if (lent.last !== undefined && lent.last !== socket) this.changes += 1;
      lent.last = socket;
      lent.answer = (message, isOver) => {
        socket.write(message);
        if (!isOver) return;
        backend = undefined;
        this.#giveBack(lent);
        if (held.length > 0) void link();
      };
      lent.lost = () => socket.destroy();
      for (const message of held.splice(0)) lent.send(message);
    };
    const messages = new Messages((message) => {
      if (greeting === undefined) {
        if (message.readInt32BE(4) !== PROTOCOL_3) {
          socket.destroy();
          return;
        }
        greeting = message;
        messages.isGreeted = true;
        // Whoever greets is answered by a server once, and hears what that one said.
        void this.#lend(greeting).then((lent) => {
          socket.write(lent.welcome);
          this.#giveBack(lent);
        });
      } else if (message[0] === TERMINATE) socket.end();
      else if (this.#mode === "statement" && /^begin/i.test(message.toString("utf8", 5))) socket.end(REFUSAL);
      else if (backend !== undefined) backend.send(message);
      else {
        held = [...held, message];
        if (!isAsking) void link();
      }
    });
    socket.on("data", (chunk) => messages.add(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#clients.delete(socket);
      // In the middle of a transaction: nobody may go on with it.
      backend?.socket.destroy();
    });
  }

  async #lend(greeting: Buffer): Promise<Backend> {
    const idle = this.#idle.shift();
    if (idle !== undefined) return idle;
    if (this.#backends.size >= this.#size) return new Promise((resolve) => this.#waiting.push(resolve));
    const backend = new Backend(this.#target, greeting);
    this.#backends.add(backend);
    backend.socket.on("close", () => {
      this.#backends.delete(backend);
      const index = this.#idle.indexOf(backend);
      if (index >= 0) this.#idle.splice(index, 1);
      void this.#serveNext(greeting);
    });
    await backend.ready;
    return backend;
  }

  /** Somebody waits for a connection, and one more can be made. */
  async #serveNext(greeting: Buffer): Promise<void> {
    const next = this.#waiting.shift();
    if (next !== undefined) next(await this.#lend(greeting));
  }

  #giveBack(backend: Backend): void {
    backend.answer = () => undefined;
    backend.lost = () => undefined;
    if (backend.socket.destroyed) return;
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(backend);
    else next(backend);
  }
}

const PROTOCOL_3 = 196_608;
const [TERMINATE, QUERY, SYNC, READY] = Buffer.from("XQSZ");
const IDLE = "I".charCodeAt(0);

/** What PgBouncer says. */
const REFUSAL = error("FATAL", "08P01", "transaction blocks not allowed in statement pooling mode");

function error(severity: string, code: string, text: string): Buffer {
  const fields = Buffer.from(`S${severity}\0V${severity}\0C${code}\0M${text}\0\0`);
  const head = Buffer.from("E\0\0\0\0");
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

/** One connection to the server. */
class Backend {
  readonly socket: Socket;
  /** Resolves when it takes statements. */
  readonly ready: Promise<void>;
  /** Everything the server says to a new client. */
  welcome: Buffer = Buffer.alloc(0);
  last: Socket | undefined;
  lost: () => void = () => undefined;
  answer: (message: Buffer, isOver: boolean) => void = () => undefined;
  #unanswered = 0;

  constructor(port: number, greeting: Buffer) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket.write(greeting);
    let greeted: () => void = () => undefined;
    this.ready = new Promise((resolve) => (greeted = resolve));
    let isReady = false;
    const messages = new Messages((message) => {
      const isDone = message[0] === READY;
      if (isReady) {
        if (isDone) this.#unanswered -= 1;
        this.answer(message, isDone && this.#unanswered === 0 && message[5] === IDLE);
        return;
      }
      this.welcome = Buffer.concat([this.welcome, message]);
      if (!isDone) return;
      isReady = true;
      greeted();
    });
    messages.isGreeted = true;
    this.socket.on("data", (chunk) => messages.add(chunk));
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      greeted();
      this.lost();
    });
  }

  send(message: Buffer): void {
    if (message[0] === QUERY || message[0] === SYNC) this.#unanswered += 1;
    this.socket.write(message);
  }
}

/** Cuts a stream into messages: a letter and a length, except for the first one of a client. */
class Messages {
  isGreeted = false;
  readonly #each: (message: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(each: (message: Buffer) => void) {
    this.#each = each;
  }

  add(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const start = this.isGreeted ? 1 : 0;
      if (this.#rest.length < start + 4) return;
      const end = start + this.#rest.readInt32BE(start);
      if (this.#rest.length < end) return;
      const message = this.#rest.subarray(0, end);
      this.#rest = this.#rest.subarray(end);
      this.#each(message);
    }
  }
}
