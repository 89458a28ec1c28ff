import type { Channel } from "../channel.ts";
import { EMPTY } from "./close-part.ts";
import type { Router } from "./load.ts";
import { RouterChannel } from "./router-channel.ts";

export interface RouterHandlers {
  /**
   * Somebody who has no channel sends a frame: answer what is to be said to him, or nothing to give him a channel.
   */
  readonly stranger: (frame: Uint8Array) => Uint8Array | undefined;
  readonly accept: (channel: Channel, peer: string) => void;
  /** The socket cannot be read for the moment. */
  readonly failed: (error: unknown) => void;
}

/** Pause before a socket that failed is read again, in ms. */
const FAILED_MS = 100;

/** A channel for each client of a ROUTER socket, by the routing id that the client chose. */
export class RouterChannels {
  readonly #socket: Router;
  readonly #handlers: RouterHandlers;
  readonly #channels = new Map<string, RouterChannel>();
  #emptied: (() => void) | undefined;

  constructor(socket: Router, handlers: RouterHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    void this.#receive();
  }

  get size(): number {
    return this.#channels.size;
  }

  /** Once every channel is over, which each is a second after its close. */
  async emptied(): Promise<void> {
    if (this.#channels.size > 0) await new Promise<void>((resolve) => (this.#emptied = resolve));
  }

  async #receive(): Promise<void> {
    while (!this.#socket.closed) {
      let message: Buffer[];
      try {
        message = await this.#socket.receive();
      } catch (error) {
        if (this.#socket.closed) return;
        this.#handlers.failed(error);
        await new Promise((resolve) => setTimeout(resolve, FAILED_MS));
        continue;
      }
      const [id, ...parts] = message;
      if (id !== undefined) this.#take(id, parts);
    }
  }

  #take(id: Buffer, parts: readonly Buffer[]): void {
    const key = id.toString("latin1");
    const channel = this.#channels.get(key);
    if (channel !== undefined) return channel.take(parts);
    const [first] = parts;
    // An end of what has ended already.
    if (first === undefined || first.length === 0) return;
    const farewell = this.#handlers.stranger(first);
    if (farewell !== undefined) {
      // Not queued: who sends without listening must not make us keep anything.
      return void this.#socket.send([id, farewell, EMPTY]).catch(() => undefined);
    }
    const opened = new RouterChannel(this.#socket, id, () => {
      this.#channels.delete(key);
      if (this.#channels.size === 0) this.#emptied?.();
    });
    this.#channels.set(key, opened);
    this.#handlers.accept(opened, `zmq:${id.subarray(0, 8).toString("hex")}`);
    opened.take(parts);
  }
}
