import { describe, expect, it } from "vitest";
import {
  anyNumber,
  boolean,
  dictionary,
  eitherField,
  integer,
  list,
  literal,
  MalformedError,
  number,
  oneOf,
  orNothing,
  orNull,
  record,
  type Shape,
  text,
  variants,
} from "./shape.ts";

// Goal: a shape lets through what the protocol says and nothing else, and names the place of the rest.

const point = record<{ readonly x: number; readonly note?: string }>({
  needs: { x: integer(-9, 9) },
  may: { note: text(3) },
});
const kind = variants<{ kind: "a"; n: number } | { kind: "b" }, "kind">("kind", {
  a: record<{ kind: "a"; n: number }>({ needs: { kind: literal("a"), n: integer() }, may: {} }),
  b: record<{ kind: "b" }>({ needs: { kind: literal("b") }, may: {} }),
});
const either = eitherField(
  "at",
  record<{ readonly at: number }>({ needs: { at: number() }, may: {} }),
  record<{ readonly delayMs: number }>({ needs: { delayMs: number() }, may: {} }),
);
const words = dictionary(text(9), text(3), 2);

const NOT: readonly unknown[] = [undefined, null, true, 1, "1", [], {}, Buffer.from("x")];

describe("a shape refuses all that is of another kind:", () => {
  const table: [string, Shape<never>, readonly unknown[]][] = [
    ["text", text(9) as never, ["1", Buffer.from("ab")]],
    ["integer", integer() as never, [1]],
    ["number", number() as never, [1]],
    ["anyNumber", anyNumber as never, [1]],
    ["boolean", boolean as never, [true]],
    ["oneOf", oneOf("1") as never, ["1"]],
    ["literal", literal(true) as never, [true]],
    ["list", list(integer(), 9) as never, [[]]],
    ["dictionary", words as never, [[]]],
    ["record", point as never, [{ x: 1 }]],
    ["variants", kind as never, [{ kind: "b" }]],
    ["eitherField", either as never, [{ at: 1 }]],
    ["orNull", orNull(point) as never, [null, { x: 1 }]],
    ["orNothing", orNothing(point) as never, [undefined, null, { x: 1 }]],
  ];
  it.each(table)("%s", (_name, shape, good) => {
    for (const value of good) expect(() => shape.in(value)).not.toThrow();
    const known = new Set(good.map((value) => JSON.stringify(value)));
    for (const value of NOT) {
      // An odd number of bytes makes no text of two-byte units; but what is there is a text.
      if (known.has(JSON.stringify(value)) || (_name === "text" && value instanceof Uint8Array)) continue;
      expect(() => shape.in(value), String(JSON.stringify(value))).toThrow(MalformedError);
    }
  });
});

describe("limits", () => {
  const table: [string, Shape<never>, unknown, unknown][] = [
    ["text", text(3) as never, "abc", "abcd"],
    ["text as bytes", text(3) as never, Buffer.alloc(6), Buffer.alloc(8)],
    ["integer above", integer(-5, 5) as never, 5, 6],
    ["integer below", integer(-5, 5) as never, -5, -6],
    ["integer", integer() as never, 2 ** 53 - 1, 2 ** 53],
    ["number above", number(0, 1) as never, 1, 1.000_001],
    ["number below", number(0, 1) as never, 0, -0.000_001],
    ["number", number() as never, 1e308, Number.POSITIVE_INFINITY],
    ["not a number", number() as never, 0, Number.NaN],
    ["list", list(integer(), 2) as never, [1, 2], [1, 2, 3]],
    [
      "dictionary",
      words as never,
      [
        ["a", ""],
        ["b", ""],
      ],
      [
        ["a", ""],
        ["b", ""],
        ["c", ""],
      ],
    ],
  ];
  it.each(table)("%s: the last is let in, the next is not", (_name, shape, last, next) => {
    expect(() => shape.in(last)).not.toThrow();
    expect(() => shape.in(next)).toThrow(MalformedError);
  });
});

describe("a text", () => {
  it("crosses as text when UTF-8 can carry it, else as its UTF-16 units", () => {
    const shape = text(9);
    expect(shape.out("\ud83d\ude00")).toBe("\ud83d\ude00");
    expect(shape.out("a\ud800")).toEqual(Buffer.from([0x61, 0x00, 0x00, 0xd8]));
    expect(shape.in(Buffer.from([0x61, 0x00, 0x00, 0xd8]))).toBe("a\ud800");
  });
});

describe("a dictionary", () => {
  it("has keys that mean nothing to JavaScript", () => {
    const value = words.in([
      ["__proto__", "p"],
      ["toString", "t"],
    ]);
    expect(Object.entries(value)).toEqual([
      ["__proto__", "p"],
      ["toString", "t"],
    ]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(words.out(value)).toEqual([
      ["__proto__", "p"],
      ["toString", "t"],
    ]);
  });

  it.each([[[["a"]]], [[["a", "b", "c"]]], [[{ 0: "a", 1: "b" }]], [[[1, "b"]]]])(
    "has pairs, not %j",
    (value) => {
      expect(() => words.in(value)).toThrow(MalformedError);
    },
  );
});

describe("a record", () => {
  it("passes over fields it does not know, also those that JavaScript does", () => {
    const found = point.in({ x: 1, y: 2, constructor: 3 });
    expect(found).toStrictEqual({ x: 1 });
  });

  it("does not send what is not there, and does not send what it does not know", () => {
    expect(point.out({ x: 1, note: undefined, y: 2 } as never)).toStrictEqual({ x: 1 });
  });

  it("finds nothing on the prototype of what came", () => {
    expect(() => point.in({})).toThrow("x is not a whole number.");
  });

  it("names the place of what is wrong, from outside to inside", () => {
    const nested = record<{ readonly points: readonly { x: number }[] }>({
      needs: { points: list(point, 9) as never },
      may: {},
    });
    expect(() => nested.in({ points: [{ x: 1 }, { x: 10 }] })).toThrow("points.1.x is not between -9 and 9.");
  });
});

describe("variants", () => {
  it.each([{ kind: "c" }, { kind: "__proto__" }, { kind: "constructor" }, {}, null, 1])(
    "are not %j",
    (value) => {
      expect(() => kind.in(value)).toThrow("kind is none of a, b.");
    },
  );
});
