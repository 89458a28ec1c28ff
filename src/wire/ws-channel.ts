import type { WebSocket } from "ws";
import type { Channel, ChannelEvents } from "./channel.ts";

/** Time for the other side to answer a close. */
const CLOSE_MS = 1_000;
/** What a WebSocket's close frame can hold. */
const REASON_BYTES = 123;

/** Frames as the binary messages of a WebSocket. */
export function socketChannel(socket: WebSocket): Channel {
  let events: ChannelEvents | undefined;
  let trouble: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  socket.binaryType = "nodebuffer";
  socket.on("error", (error) => (trouble = error.message));
  socket.on("message", (data, isBinary) => {
    if (isBinary) events?.frame(data as Buffer);
    else {
      trouble = "It sent a text message; the protocol is binary.";
      socket.close(1_003, trouble);
    }
  });
  socket.on("close", (code, reason) => {
    clearTimeout(timer);
    events?.closed(
      trouble ?? (reason.length > 0 ? reason.toString() : `the connection was closed (${code})`),
    );
  });
  return {
    get queuedBytes() {
      return socket.bufferedAmount;
    },
    listen: (given) => {
      events = given;
    },
    // Failures to send come as the end of the connection.
    send: (frame) => {
      if (socket.readyState === socket.OPEN) socket.send(frame, { binary: true }, () => undefined);
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close: (reason) => {
      if (timer !== undefined) return;
      timer = setTimeout(() => socket.terminate(), CLOSE_MS);
      timer.unref();
      // Its close frame is not seen while it is not read.
      if (socket.isPaused) socket.resume();
      socket.close(1_000, cutToBytes(reason));
    },
    destroy: () => socket.terminate(),
  };
}

function cutToBytes(text: string): string {
  let cut = text.slice(0, REASON_BYTES);
  while (Buffer.byteLength(cut) > REASON_BYTES) cut = cut.slice(0, -1);
  return cut.toWellFormed();
}
