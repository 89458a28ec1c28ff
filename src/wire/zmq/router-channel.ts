import type { Channel, ChannelEvents } from "../channel.ts";
import { closeParts, reasonOf } from "./close-part.ts";
import { zmqLimits } from "./limits.ts";
import type { Router } from "./load.ts";
import { SendQueue } from "./send-queue.ts";

/**
 * One client of a ROUTER. The socket answers at once whether that client can be reached and takes more, so that one
 * who does not read holds up nobody else.
 */
export class RouterChannel implements Channel {
  readonly #socket: Router;
  readonly #id: Buffer;
  readonly #gone: () => void;
  readonly #queue: SendQueue;
  #events: ChannelEvents | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #isPaused = false;
  /** What came while it was paused. */
  #unread: Buffer[] = [];
  #unreadBytes = 0;
  /** The reason of its end, once it has said that this is one. */
  #farewell: string | undefined;

  /** @param gone it is over, and its routing id means nothing any more */
  constructor(socket: Router, id: Buffer, gone: () => void) {
    this.#socket = socket;
    this.#id = id;
    this.#gone = gone;
    this.#queue = new SendQueue(
      (parts) => socket.send([id, ...(parts as Buffer[])]),
      // EHOSTUNREACH: its connection is gone.
      () => this.#over("the client cannot be reached"),
    );
  }

  get queuedBytes(): number {
    return this.#queue.queuedBytes;
  }

  listen(events: ChannelEvents): void {
    this.#events = events;
  }

  send(frame: Uint8Array): void {
    this.#queue.push(frame);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#read();
  }

  close(reason: string): void {
    if (this.#timer !== undefined || this.#isOver) return;
    this.#timer = setTimeout(() => this.#over(reason), zmqLimits.closeMs);
    this.#timer.unref();
    this.#queue.finish(closeParts(reason));
    // What it still says is for nobody, but its answer to the close is among it.
    this.resume();
  }

  destroy(): void {
    if (this.#isOver) return;
    this.#leave("the server ended the connection");
    this.#over("destroyed");
  }

  /** The parts of one message of this client. */
  take(parts: readonly Buffer[]): void {
    if (this.#farewell !== undefined) return;
    for (const [index, part] of parts.entries()) {
      if (part.length === 0) {
        this.#farewell = reasonOf(parts[index + 1]);
        break;
      }
      this.#unread.push(part);
      this.#unreadBytes += part.length;
    }
    this.#read();
    if (this.#unreadBytes > zmqLimits.unreadBytes || this.#unread.length > zmqLimits.unreadFrames) {
      this.#leave("more was sent than this server reads");
      this.#over("it sends more than it may");
    }
  }

  #read(): void {
    while (!this.#isPaused && !this.#isOver) {
      const part = this.#unread.shift();
      if (part === undefined) break;
      this.#unreadBytes -= part.length;
      this.#events?.frame(part);
    }
    if (this.#farewell === undefined || this.#unread.length > 0 || this.#isOver) return;
    // Also after a close that has not left yet, and will not.
    if (!this.#queue.isFinished) this.#leave("");
    this.#over(this.#farewell);
  }

  /** Tell it at once that this is the end, if it hears. */
  #leave(reason: string): void {
    try {
      this.#socket.send([this.#id, ...(closeParts(reason) as Buffer[])]).catch(() => undefined);
    } catch {
      // The socket is closed, which tells it as well.
    }
  }

  #over(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#queue.stop();
    this.#unread = [];
    this.#unreadBytes = 0;
    this.#gone();
    this.#events?.closed(reason);
  }
}
