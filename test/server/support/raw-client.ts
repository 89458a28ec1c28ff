import { Packr } from "msgpackr";
import { WebSocket } from "ws";

/** Written as somebody elsewhere would: from the document, with a library for msgpack and one for WebSocket. */
const packr = new Packr({ useRecords: false });

export interface RawOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly protocols?: readonly string[];
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
}

/** A client that says what a test wants it to say. */
export class RawClient implements AsyncDisposable {
  readonly socket: WebSocket;
  /** Resolves when the connection has ended, also when it never came about. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  readonly #messages: unknown[] = [];
  #waiter: (() => void) | undefined;
  #isClosed = false;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.binaryType = "nodebuffer";
    socket.on("error", () => undefined);
    socket.on("message", (data) => {
      this.#messages.push(...(packr.unpack(data as Buffer) as unknown[]));
      this.#waiter?.();
    });
    this.closed = new Promise((resolve) => {
      socket.once("close", (code, reason) => {
        this.#isClosed = true;
        this.#waiter?.();
        resolve({ code, reason: reason.toString() });
      });
    });
  }

  /** Connect. @throws Error whose message is the status and the text of an HTTP refusal */
  static connect(url: string, options: RawOptions = {}): Promise<RawClient> {
    const { headers = {}, protocols = ["jobwright"], tls } = options;
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, [...protocols], { headers, perMessageDeflate: false, ...tls });
      const client = new RawClient(socket);
      socket.once("open", () => resolve(client));
      socket.once("error", reject);
      socket.once("unexpected-response", (_request, response) => {
        let body = "";
        response.on("data", (part: Buffer) => (body += part.toString()));
        response.once("end", () => reject(new Error(`${response.statusCode}: ${body}`)));
      });
    });
  }

  /** Connect and say hello. */
  static async greeted(
    url: string,
    options: RawOptions & { readonly token?: string } = {},
  ): Promise<RawClient> {
    const { token, headers = {} } = options;
    const client = await RawClient.connect(url, {
      ...options,
      headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    });
    client.send(["hello", { protocol: 2, client: "test" }]);
    return client;
  }

  /** Send messages in one frame. */
  send(...messages: readonly (readonly unknown[])[]): void {
    this.socket.send(packr.pack(messages));
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  /** Send bytes as they are, past all that a WebSocket puts around them. */
  sendRaw(bytes: Uint8Array): void {
    // oxlint-disable-next-line no-underscore-dangle -- the library shows it to nobody
    (this.socket as unknown as { _socket: { write(bytes: Uint8Array): void } })._socket.write(bytes);
  }

  /** The next message, in order. @throws when the connection ended before it */
  async next(): Promise<readonly unknown[]> {
    while (this.#messages.length === 0) {
      if (this.#isClosed) throw new Error("The connection ended.");
      await new Promise<void>((resolve) => (this.#waiter = resolve));
    }
    return this.#messages.shift() as readonly unknown[];
  }

  /** What came and nobody asked for yet. */
  get unread(): readonly unknown[] {
    return this.#messages;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate();
    await this.closed;
  }
}
