import type { MessagePort } from "node:worker_threads";
import type { Channel, ChannelEvents } from "./channel.ts";

/** Bytes taken before the other side is told: seldom enough to cost nothing, far below what counts as slow. */
const TELL_BYTES = 1_048_576;

/**
 * Frames between the threads of one process. A port takes whatever it is given, so each side tells the other how
 * much it has taken: only then does a thread that does not read show. Bytes are a frame, a number is how many were
 * taken, a text is why the channel ends.
 */
export function portChannel(port: MessagePort): Channel {
  let events: ChannelEvents | undefined;
  let isOver = false;
  let isPaused = false;
  let queuedBytes = 0;
  let takenBytes = 0;
  let reason = "the thread at the other end is gone";
  /** Came while nobody was to read; not told as taken, so the other side knows that it waits. */
  let held: Uint8Array[] = [];

  const take = (frame: Uint8Array): void => {
    takenBytes += frame.length;
    if (takenBytes >= TELL_BYTES) {
      port.postMessage(takenBytes);
      takenBytes = 0;
    }
    events?.frame(frame);
  };
  const over = (): void => {
    if (isOver) return;
    isOver = true;
    held = [];
    events?.closed(reason);
  };
  const end = (): void => {
    port.close();
    over();
  };
  port.on("close", over);
  port.on("messageerror", (error) => {
    reason = error.message;
    end();
  });

  return {
    get queuedBytes() {
      return queuedBytes;
    },
    listen: (given) => {
      events = given;
      // What came before waits in the port: listening starts it.
      port.on("message", (message: unknown) => {
        if (isOver) return;
        if (typeof message === "number") queuedBytes -= message;
        else if (typeof message === "string") reason = message;
        else if (isPaused) held.push(message as Uint8Array);
        else take(message as Uint8Array);
      });
    },
    send: (frame) => {
      if (isOver) return;
      // A copy of its own goes over whole: a part of a pool would take the pool with it.
      const copy = new Uint8Array(frame);
      queuedBytes += copy.length;
      port.postMessage(copy, [copy.buffer]);
    },
    pause: () => {
      isPaused = true;
    },
    resume: () => {
      isPaused = false;
      const frames = held;
      held = [];
      for (const frame of frames) {
        // Whoever takes one may have had enough again.
        if (isPaused) held.push(frame);
        else take(frame);
      }
    },
    close: (why) => {
      if (isOver) return;
      port.postMessage(why);
      reason = why;
      end();
    },
    destroy: end,
  };
}
