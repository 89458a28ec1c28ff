import type { Channel, ChannelEvents } from "../channel.ts";
import { closeParts, EMPTY, reasonOf } from "./close-part.ts";
import { zmqLimits } from "./limits.ts";
import type { Dealer } from "./load.ts";
import { SendQueue } from "./send-queue.ts";

/** Frames as the parts of messages of a DEALER that is connected to one server, and never to another. */
export function dealerChannel(socket: Dealer): Channel {
  let events: ChannelEvents | undefined;
  /** Why it is over, when it is. */
  let ended: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let received = 0;
  let resumed: { promise: Promise<void>; go: () => void } | undefined;
  const over = (reason: string): void => {
    if (ended !== undefined) return;
    ended = reason;
    clearTimeout(timer);
    queue.stop();
    resumed?.go();
    socket.close();
    events?.closed(reason);
  };
  const queue = new SendQueue(
    (parts) => socket.send(parts as Uint8Array[]),
    (error) => over(error.message),
  );
  const closedByServer = (reason: string): void => {
    if (!queue.isFinished) {
      queue.stop();
      // Nothing comes after an answer, so nothing else shows that it has left.
      socket.linger = zmqLimits.answerMs;
      try {
        socket.send(EMPTY as Buffer).catch(() => undefined);
      } catch {
        // A send is under way to a server that does not read: it will find out by the silence.
      }
    }
    over(reason);
  };
  const receive = async (): Promise<void> => {
    for (;;) {
      let parts: Buffer[];
      try {
        parts = await socket.receive();
      } catch (error) {
        return over(String(error));
      }
      received += 1;
      for (const [index, part] of parts.entries()) {
        if (resumed !== undefined) await resumed.promise;
        if (part.length === 0) return closedByServer(reasonOf(parts[index + 1]));
        events?.frame(part);
        if (ended !== undefined) return;
      }
    }
  };
  socket.events.on("disconnect", () => {
    // What came before is still to be read: it is over after a turn in which nothing was.
    const look = (before: number): void => {
      if (received === before) over("the connection was lost");
      else twoTurns(() => look(received));
    };
    twoTurns(() => look(-1));
  });
  return {
    get queuedBytes() {
      return queue.queuedBytes;
    },
    listen: (given) => {
      events = given;
      if (ended !== undefined) given.closed(ended);
      else void receive();
    },
    send: (frame) => queue.push(frame),
    pause: () => {
      resumed ??= lever();
    },
    resume: () => {
      resumed?.go();
      resumed = undefined;
    },
    close: (reason) => {
      if (timer !== undefined || ended !== undefined) return;
      timer = setTimeout(() => over(reason), zmqLimits.closeMs);
      queue.finish(closeParts(reason));
    },
    destroy: () => over("destroyed"),
  };
}

function twoTurns(next: () => void): void {
  setImmediate(() => setImmediate(next));
}

function lever(): { promise: Promise<void>; go: () => void } {
  let go: () => void = () => undefined;
  const promise = new Promise<void>((resolve) => (go = resolve));
  return { promise, go };
}
