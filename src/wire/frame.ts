import { Packr } from "msgpackr";
import { wireLimits } from "./limits.ts";
import { MalformedError } from "./shape.ts";

// Plain msgpack without extensions, so that any msgpack library reads it.
const packr = new Packr({
  useRecords: false,
  encodeUndefinedAsNil: true,
  int64AsType: "number",
  mapsAsObjects: true,
});

export function packMessage(message: readonly unknown[]): Buffer {
  return packr.pack(message);
}

/** One frame: the messages of a turn, as one list. */
export function joinFrame(messages: readonly Buffer[]): Buffer {
  const { length } = messages;
  return Buffer.concat([
    length < 16 ? Buffer.of(0x90 + length) : Buffer.of(0xdc, length >> 8, length & 0xff),
    ...messages,
  ]);
}

/** @throws MalformedError */
export function unpackFrame(bytes: Uint8Array): readonly unknown[] {
  checkFrame(bytes);
  let messages: unknown;
  try {
    messages = packr.unpack(bytes);
  } catch (error) {
    throw new MalformedError(`cannot be read: ${error instanceof Error ? error.message : String(error)}`, [
      "frame",
    ]);
  }
  if (!Array.isArray(messages)) throw new MalformedError("is not a list of messages.", ["frame"]);
  if (messages.length > wireLimits.messages) {
    throw new MalformedError(`has more than ${wireLimits.messages} messages.`, ["frame"]);
  }
  return messages;
}

/**
 * Walk over a frame before it is unpacked. Whoever unpacks believes the lengths it reads: five bytes that promise a
 * list of a hundred million entries would cost a gigabyte. Here each entry must be there, and extensions, which make
 * objects of other kinds, are refused.
 */
function checkFrame(bytes: Uint8Array): void {
  const { length } = bytes;
  /** Values still to come, at each depth. */
  const left = new Uint32Array(wireLimits.depth + 1);
  let depth = 0;
  let at = 0;
  let values = 1;
  left[0] = 1;
  for (;;) {
    while (left[depth] === 0) {
      if (depth === 0) {
        if (at !== length) throw new MalformedError("goes on after its end.", ["frame"]);
        return;
      }
      depth -= 1;
    }
    (left[depth] as number) -= 1;
    if (at >= length) throw new MalformedError("ends too early.", ["frame"]);
    const token = bytes[at] as number;
    at += 1;
    let inside = -1;
    if (token < 0x80 || token >= 0xe0 || token === 0xc0 || token === 0xc2 || token === 0xc3) continue;
    else if (token < 0x90) inside = 2 * (token & 0x0f);
    else if (token < 0xa0) inside = token & 0x0f;
    else if (token < 0xc0) at += token & 0x1f;
    else {
      const size = SIZES[token - 0xc0] as number;
      if (size === 0)
        throw new MalformedError(`has a value of kind 0x${token.toString(16)}, an extension.`, ["frame"]);
      if (size > 0) at += size;
      else {
        if (at - size > length) throw new MalformedError("ends too early.", ["frame"]);
        const count = unsigned(bytes, at, -size);
        at -= size;
        if (token < 0xdc) at += count;
        else inside = token < 0xde ? count : 2 * count;
      }
    }
    if (at > length) throw new MalformedError("ends too early.", ["frame"]);
    if (inside > 0) {
      // Each value takes a byte at least.
      if (inside > length - at) throw new MalformedError("ends too early.", ["frame"]);
      values += inside;
      if (values > wireLimits.values) {
        throw new MalformedError(`has more than ${wireLimits.values} values.`, ["frame"]);
      }
      if (depth === wireLimits.depth)
        throw new MalformedError(`is more than ${depth} levels deep.`, ["frame"]);
      depth += 1;
      left[depth] = inside;
    }
  }
}

function unsigned(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let index = 0; index < size; index += 1) value = value * 256 + (bytes[at + index] as number);
  return value;
}

/** By token from 0xc0: bytes that follow; negative: bytes that hold a length; 0: not allowed. */
const SIZES: readonly number[] = [
  ...[0, 0, 0, 0, -1, -2, -4, 0, 0, 0], // nil, -, false, true, bin 8/16/32, ext 8/16/32
  ...[4, 8, 1, 2, 4, 8, 1, 2, 4, 8], // float 32/64, uint 8/16/32/64, int 8/16/32/64
  ...[0, 0, 0, 0, 0], // fixext
  ...[-1, -2, -4, -2, -4, -2, -4], // str 8/16/32, array 16/32, map 16/32
];
