import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { seed } from "../../test/support/size.ts";
import { joinFrame, packMessage, unpackFrame } from "./frame.ts";
import { wireLimits } from "./limits.ts";
import { MalformedError } from "./shape.ts";

// Goal: a frame is either read as msgpack means it, or refused before it costs anything.

/** Another writer of msgpack than ours, with other habits: what a client elsewhere may send. */
const other = new Packr({ useRecords: false, variableMapSize: true });
const frame = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);

describe("a frame", () => {
  it("carries any plain value", () => {
    const value = fc.anything({
      withNullPrototype: false,
      withBigInt: false,
      maxDepth: 4,
      key: fc.string().filter((key) => key !== "__proto__"),
      values: [
        fc.integer(),
        fc.maxSafeInteger(),
        fc.double({ noNaN: true }).map((number) => number + 0),
        fc.boolean(),
        fc.constant(null),
        fc.string({ unit: "grapheme" }),
        fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      ],
    });
    fc.assert(
      fc.property(fc.array(fc.array(value, { maxLength: 4 }), { maxLength: 20 }), (messages) => {
        expect(unpackFrame(joinFrame(messages.map((message) => packMessage(message))))).toEqual(messages);
        expect(unpackFrame(other.pack(messages))).toEqual(messages);
      }),
      { seed: seed("wire frames"), numRuns: 200 },
    );
  });

  it("carries every whole number of one byte as itself, never as a reference to something before it", () => {
    const all = Array.from({ length: 256 }, (_, index) => index - 128);
    expect(unpackFrame(joinFrame([packMessage(all)]))).toEqual([all]);
  });

  it.each([0, 1, 15, 16, 17, 255, 256, 65, wireLimits.messages])("joins %i messages", (count) => {
    const messages = Array.from({ length: count }, (_, index) => [index]);
    expect(unpackFrame(joinFrame(messages.map((message) => packMessage(message))))).toEqual(messages);
  });

  it("has a key called __proto__ change nothing", () => {
    const bytes = other.pack([[JSON.parse('{"__proto__": {"polluted": true}}')]]);
    const [message] = unpackFrame(bytes) as [Record<string, unknown>[]];
    expect((message[0] as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.getPrototypeOf(message[0])).toBe(Object.prototype);
  });

  it("may be nested as deep as the limit, and no deeper", () => {
    expect(unpackFrame(other.pack(nested(wireLimits.depth)))).toEqual(nested(wireLimits.depth));
    expect(() => unpackFrame(other.pack(nested(wireLimits.depth + 1)))).toThrow("levels deep");
  });

  it("holds at most as many values as the limit, since each may cost a hundred times its byte", () => {
    const maps = (count: number): Uint8Array => {
      const bytes = new Uint8Array(count + 6).fill(0x80);
      bytes.set([0x91, 0xdd]);
      new DataView(bytes.buffer).setUint32(2, count);
      return bytes;
    };
    // The list of messages and the message are values too.
    expect(unpackFrame(maps(wireLimits.values - 2))).toHaveLength(1);
    expect(() => unpackFrame(maps(wireLimits.values - 1))).toThrow(`more than ${wireLimits.values} values`);
    expect(() => unpackFrame(maps(wireLimits.frameBytes - 6))).toThrow(
      `more than ${wireLimits.values} values`,
    );
  });

  it("has at most as many messages as the limit", () => {
    const messages = Array.from({ length: wireLimits.messages + 1 }, () => packMessage([]));
    expect(() => unpackFrame(joinFrame(messages))).toThrow("has more than 10000 messages");
  });

  const refused: [string, Uint8Array][] = [
    ["nothing", frame()],
    ["a number", frame(1)],
    ["a map", frame(0x80)],
    ["nil", frame(0xc0)],
    ["the byte that msgpack never uses", frame(0x91, 0xc1)],
    ["an extension", frame(0x91, 0xd4, 0x01, 0x00)],
    ["a long extension", frame(0x91, 0xc9, 0xff, 0xff, 0xff, 0xff, 0x01)],
    ["a record of msgpackr", frame(0x91, 0xd4, 0x72, 0x40)],
    ["a time stamp", frame(0x91, 0xd6, 0xff, 0, 0, 0, 0)],
    ["a list of four billion that is not there", frame(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ["a map of four billion that is not there", frame(0x91, 0xdf, 0xff, 0xff, 0xff, 0xff)],
    ["a text of four billion that is not there", frame(0x91, 0xdb, 0xff, 0xff, 0xff, 0xff)],
    ["bytes of four billion that are not there", frame(0x91, 0xc6, 0xff, 0xff, 0xff, 0xff)],
    ["a length cut in two", frame(0x91, 0xdb, 0xff, 0xff)],
    ["a number cut in two", frame(0x91, 0xcf, 0, 0, 0)],
    ["a text cut in two", frame(0x91, 0xa3, 0x61)],
    ["a list with one too few", frame(0x92, 0x01)],
    ["something after its end", frame(0x90, 0x90)],
    ["a list in a list in a list, a million times", new Uint8Array(1_000_000).fill(0x91)],
    ["a map whose key is a map", frame(0x91, 0x81, 0x80, 0x01)],
  ];
  it.each(refused)("is not %s", (_what, bytes) => {
    expect(() => unpackFrame(bytes)).toThrow(MalformedError);
  });

  it("is refused at every place where a valid one is cut", () => {
    const whole = joinFrame([
      packMessage(["call", 1, "get", [[1, 2.5, 300, -70_000, "text", null, { key: true }]]]),
    ]);
    for (let length = 0; length < whole.length; length += 1) {
      expect(() => unpackFrame(whole.subarray(0, length)), `${length} bytes`).toThrow(MalformedError);
    }
  });
});
