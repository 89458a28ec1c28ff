import { Packr } from "msgpackr";

const packr = new Packr({ useRecords: false });

/** What is put in the place of something else: other kinds, the extremes, and what means something somewhere. */
const STRANGE: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 53,
  2 ** 63,
  "",
  "x",
  "__proto__",
  "constructor",
  "y".repeat(300),
  [],
  [[]],
  {},
  { kind: "constructor", state: "__proto__", at: "soon" },
  Buffer.from([0xd8]),
  Buffer.alloc(50),
];

/** Tokens that announce more than there is. */
const LIES: readonly (readonly number[])[] = [
  [0xdd, 0xff, 0xff, 0xff, 0xff],
  [0xdc, 0xff, 0xff],
  [0xdf, 0x7f, 0xff, 0xff, 0xff],
  [0xde, 0xff, 0xff],
  [0xdb, 0xff, 0xff, 0xff, 0xf0],
  [0xc6, 0x40, 0x00, 0x00, 0x00],
  [0xc9, 0x10, 0x00, 0x00, 0x00, 0x01],
  [0xc1],
];

export type Random = () => number;

/** Random numbers as whole ones below a bound. */
function below(random: Random, bound: number): number {
  return Math.floor(random() * bound);
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[below(random, from.length)] as T;
}

/**
 * A frame that is almost one of `frames`, given as their messages. One or two of: bits flipped, cut, bytes put in or
 * taken out, lengths that lie, values of another kind, messages doubled, left out or in another order, deep nesting.
 */
export function mutatedFrame(random: Random, frames: readonly (readonly unknown[])[]): Buffer {
  const messages = structuredClone(pick(random, frames)) as unknown[];
  const other = pick(random, frames);
  switch (below(random, 8)) {
    case 0:
      return Buffer.from(packr.pack([...messages, ...messages, ...other]));
    case 1:
      return Buffer.from(packr.pack([...other, ...messages].reverse()));
    case 2: {
      let deep: unknown = pick(random, STRANGE);
      for (let depth = below(random, 60); depth > 0; depth -= 1) deep = random() < 0.5 ? [deep] : { deep };
      return Buffer.from(packr.pack(swapped(random, messages, deep) as unknown[]));
    }
    case 3:
    case 4:
      return Buffer.from(packr.pack(swapped(random, messages, pick(random, STRANGE)) as unknown[]));
    default: {
      let bytes = Buffer.from(packr.pack(messages));
      for (let times = 1 + below(random, 2); times > 0; times -= 1) bytes = garbled(random, bytes);
      return bytes;
    }
  }
}

/** The same bytes, but for some of them. */
export function garbled(random: Random, bytes: Buffer): Buffer<ArrayBuffer> {
  const at = below(random, bytes.length + 1);
  const before = bytes.subarray(0, at);
  switch (below(random, 5)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = (flipped[at] as number) ^ (1 << below(random, 8));
      return flipped;
    }
    case 1:
      return Buffer.from(before);
    case 2:
      return Buffer.concat([before, Buffer.from(pick(random, LIES)), bytes.subarray(at)]);
    case 3:
      return Buffer.concat([
        before,
        Buffer.from(pick(random, LIES)),
        bytes.subarray(at + 1 + below(random, 4)),
      ]);
    default:
      return Buffer.concat([before, bytes.subarray(at + 1 + below(random, 8))]);
  }
}

/** The same value, with something in it replaced, left out, or doubled. */
function swapped(random: Random, value: unknown, by: unknown): unknown {
  if (Array.isArray(value) && value.length > 0 && random() < 0.9) {
    const at = below(random, value.length);
    const copy: unknown[] = [...(value as unknown[])];
    const luck = random();
    if (luck < 0.1) copy.splice(at, 1);
    else if (luck < 0.2) copy.push(copy[at]);
    else copy[at] = swapped(random, copy[at], by);
    return copy;
  }
  if (typeof value === "object" && value !== null && !Buffer.isBuffer(value) && random() < 0.9) {
    const entries = Object.entries(value);
    if (entries.length === 0) return by;
    const at = below(random, entries.length);
    const [key, inner] = entries[at] as [string, unknown];
    const luck = random();
    if (luck < 0.1) entries.splice(at, 1);
    else if (luck < 0.2) entries.push([pick(random, ["__proto__", "more", "toString"]), by]);
    else entries[at] = [key, swapped(random, inner, by)];
    return Object.fromEntries(entries);
  }
  return by;
}
