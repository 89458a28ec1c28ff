import { zmqLimits } from "./limits.ts";

/**
 * Frames on their way into a ZeroMQ socket, in order and one send at a time: the socket throws EBUSY at whoever sends
 * while another send waits. Frames that gather meanwhile travel as the parts of one message.
 */
export class SendQueue {
  readonly #send: (parts: readonly Uint8Array[]) => Promise<void>;
  readonly #failed: (error: Error) => void;
  #frames: Uint8Array[] = [];
  #last: readonly Uint8Array[] | undefined;
  #bytes = 0;
  #isBusy = false;
  #isOver = false;
  #isFinished = false;

  /**
   * @param send one message; a rejection with EAGAIN means that the peer takes no more for now
   * @param failed nothing can be sent any more
   */
  constructor(send: (parts: readonly Uint8Array[]) => Promise<void>, failed: (error: Error) => void) {
    this.#send = send;
    this.#failed = failed;
  }

  /** Bytes that ZeroMQ has not taken yet. */
  get queuedBytes(): number {
    return this.#bytes;
  }

  /** Whether the last message has left. */
  get isFinished(): boolean {
    return this.#isFinished;
  }

  push(frame: Uint8Array): void {
    if (this.#isOver || this.#last !== undefined) return;
    this.#frames.push(frame);
    this.#bytes += frame.length;
    if (!this.#isBusy) void this.#pump();
  }

  /** A message of its own after all others; nothing is taken after it. */
  finish(last: readonly Uint8Array[]): void {
    if (this.#isOver || this.#last !== undefined) return;
    this.#last = last;
    if (!this.#isBusy) void this.#pump();
  }

  /** Send nothing more. */
  stop(): void {
    this.#isOver = true;
    this.#frames = [];
    this.#bytes = 0;
  }

  async #pump(): Promise<void> {
    this.#isBusy = true;
    let refusals = 0;
    for (;;) {
      const parts = this.#next();
      if (parts === undefined) break;
      try {
        await this.#send(parts);
        refusals = 0;
        this.#sent(parts);
      } catch (error) {
        if (this.#isOver) break;
        if ((error as { code?: unknown }).code !== "EAGAIN") {
          this.stop();
          this.#failed(error instanceof Error ? error : new Error(String(error)));
          break;
        }
        // ZeroMQ does not say when this one peer takes more.
        await pause(refusals);
        refusals += 1;
      }
    }
    this.#isBusy = false;
  }

  #next(): readonly Uint8Array[] | undefined {
    if (this.#isOver) return undefined;
    if (this.#frames.length === 0) return this.#last;
    let bytes = 0;
    let count = 0;
    while (count < this.#frames.length && count < zmqLimits.parts) {
      bytes += (this.#frames[count] as Uint8Array).length;
      if (count > 0 && bytes > zmqLimits.messageBytes) break;
      count += 1;
    }
    return this.#frames.slice(0, count);
  }

  #sent(parts: readonly Uint8Array[]): void {
    if (parts === this.#last) {
      this.#isFinished = true;
      return this.stop();
    }
    if (this.#isOver) return;
    this.#frames.splice(0, parts.length);
    for (const { length } of parts) this.#bytes -= length;
  }
}

/** Shortly at first: who reads takes a message every few microseconds. */
function pause(refusals: number): Promise<void> {
  return new Promise((resolve) => {
    if (refusals < 3) setImmediate(resolve);
    else setTimeout(resolve, Math.min(zmqLimits.retryMs, 2 ** (refusals - 3)));
  });
}
