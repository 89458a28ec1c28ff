import { silentLogger } from "../../../src/logger.ts";
import { Connection } from "../../../src/storage/remote/connection.ts";
import { RemoteClock } from "../../../src/storage/remote/remote-clock.ts";
import type { ChannelEvents } from "../../../src/wire/channel.ts";
import { joinFrame, packMessage } from "../../../src/wire/frame.ts";
import { PROTOCOL } from "../../../src/wire/message.ts";

export const WELCOME: readonly unknown[] = [
  "welcome",
  { protocol: PROTOCOL, server: "fuzz", label: "fuzz", scopes: [], credits: 1, heartbeatMs: 5, now: 1 },
];

/** A client of a server that answers every hello with the same. */
export function fixedConnection(messages: readonly (readonly unknown[])[]): {
  readonly connection: Connection;
  readonly channels: { sent: number; sentWhenClosed: number }[];
} {
  const channels: { sent: number; sentWhenClosed: number }[] = [];
  const connection = new Connection({
    clock: new RemoteClock(),
    logger: silentLogger,
    client: "fuzz",
    heartbeatMs: 1_000,
    dial: {
      label: "fuzz",
      connect: async () => {
        let events: ChannelEvents | undefined;
        let isClosed = false;
        let isAnswered = false;
        const channel = { sent: 0, sentWhenClosed: 0 };
        channels.push(channel);
        const close = (): void => {
          isClosed = true;
          events?.closed("ended");
        };
        return {
          queuedBytes: 0,
          listen: (given) => void (events = given),
          send: () => {
            channel.sent += 1;
            if (isClosed) channel.sentWhenClosed += 1;
            // A ping is answered by a hint for nobody, which passes for a sign of life.
            const told = isAnswered ? [["wake", 1]] : messages;
            isAnswered = true;
            queueMicrotask(() => events?.frame(joinFrame(told.map((message) => packMessage(message)))));
          },
          pause: () => undefined,
          resume: () => undefined,
          close,
          destroy: close,
        };
      },
    },
  });
  return { connection, channels };
}
