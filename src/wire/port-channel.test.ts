import { MessageChannel } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import type { Channel } from "./channel.ts";
import { portChannel } from "./port-channel.ts";

interface End {
  readonly channel: Channel;
  readonly frames: string[];
  readonly reasons: string[];
}

function end(channel: Channel): End {
  const frames: string[] = [];
  const reasons: string[] = [];
  channel.listen({
    frame: (bytes) => void frames.push(Buffer.from(bytes).toString("latin1")),
    closed: (reason) => void reasons.push(reason),
  });
  return { channel, frames, reasons };
}

function pair(): [End, End] {
  const { port1, port2 } = new MessageChannel();
  return [end(portChannel(port1)), end(portChannel(port2))];
}

/** The test's own timeout is the bound. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

describe("portChannel", () => {
  it("carries frames in order, also those sent before anyone listens", async () => {
    const { port1, port2 } = new MessageChannel();
    const one = portChannel(port1);
    for (const text of ["a", "b", "c"]) one.send(Buffer.from(text));
    const other = end(portChannel(port2));
    await until(() => other.frames.length === 3);
    expect(other.frames).toEqual(["a", "b", "c"]);
    one.close("done");
    await until(() => other.reasons.length === 1);
  });

  it("leaves the sender's bytes alone and sends no more than the frame", async () => {
    const { port1, port2 } = new MessageChannel();
    const sizes: number[] = [];
    port2.on("message", (bytes: Uint8Array) => void sizes.push(bytes.buffer.byteLength));
    const pooled = Buffer.from("of a pool of 8 KiB");
    const one = portChannel(port1);
    one.send(pooled);
    await until(() => sizes.length === 1);
    expect(sizes).toEqual([pooled.length]);
    expect(pooled.toString()).toBe("of a pool of 8 KiB");
    one.destroy();
  });

  it("knows how much the other side has not taken", async () => {
    const [one, other] = pair();
    const frame = Buffer.alloc(700_000);
    other.channel.pause();
    for (let n = 0; n < 6; n += 1) one.channel.send(frame);
    // A turn of both ends: it came, and nobody took it.
    other.channel.send(Buffer.from("x"));
    await until(() => one.frames.length === 1);
    expect(one.channel.queuedBytes).toBe(6 * 700_000);
    expect(other.frames).toEqual([]);

    other.channel.resume();
    expect(other.frames).toHaveLength(6);
    await until(() => one.channel.queuedBytes < 1_048_576);
    one.channel.destroy();
  });

  it("can be paused again by what was held", async () => {
    const { port1, port2 } = new MessageChannel();
    const one = portChannel(port1);
    const other = portChannel(port2);
    const frames: string[] = [];
    other.listen({
      frame: (bytes) => {
        frames.push(Buffer.from(bytes).toString());
        other.pause();
      },
      closed: () => undefined,
    });
    for (const text of ["a", "b", "c"]) one.send(Buffer.from(text));
    for (const n of [1, 2, 3]) {
      await until(() => frames.length === n);
      // The rest has come as well by now, or comes while it is paused.
      await new Promise((resolve) => setImmediate(resolve));
      expect(frames).toHaveLength(n);
      other.resume();
    }
    expect(frames).toEqual(["a", "b", "c"]);
    one.destroy();
  });

  it("ends on both sides, once, after what was sent, with the reason", async () => {
    const [one, other] = pair();
    one.channel.send(Buffer.from("last"));
    one.channel.close("enough");
    one.channel.close("again");
    one.channel.send(Buffer.from("too late"));
    await until(() => other.reasons.length === 1);
    other.channel.destroy();
    expect(one.reasons).toEqual(["enough"]);
    expect(other).toMatchObject({ frames: ["last"], reasons: ["enough"] });
  });

  it("ends when the other side is gone without a word", async () => {
    const { port1, port2 } = new MessageChannel();
    const one = end(portChannel(port1));
    port2.close();
    await until(() => one.reasons.length === 1);
    expect(one.reasons).toEqual(["the thread at the other end is gone"]);
  });
});
