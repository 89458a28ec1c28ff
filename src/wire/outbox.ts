import type { Channel } from "./channel.ts";
import { joinFrame, packMessage } from "./frame.ts";
import { wireLimits } from "./limits.ts";

/** A frame is sent before it grows beyond this, unless one message alone does: others need not wait for it. */
const FRAME_BYTES = 1_048_576;

/** Gathers the messages of a turn into frames. */
export class Outbox {
  readonly #channel: Pick<Channel, "send">;
  #messages: Buffer[] = [];
  #bytes = 0;
  #isDue = false;

  constructor(channel: Pick<Channel, "send">) {
    this.#channel = channel;
  }

  post(message: readonly unknown[]): void {
    const packed = packMessage(message);
    if (this.#bytes > 0 && this.#bytes + packed.length > FRAME_BYTES) this.flush();
    this.#messages.push(packed);
    this.#bytes += packed.length;
    if (this.#messages.length === wireLimits.messages) this.flush();
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.flush();
    });
  }

  /** Send what is here. */
  flush(): void {
    if (this.#messages.length === 0) return;
    const frame = joinFrame(this.#messages);
    this.#messages = [];
    this.#bytes = 0;
    this.#channel.send(frame);
  }
}
