// oxlint-disable vitest/no-conditional-expect -- what must hold depends on the value that was drawn
import { isDeepStrictEqual } from "node:util";
import { runInNewContext } from "node:vm";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidPayloadError, InvalidValueError, PayloadTooLargeError } from "../errors.ts";
import { limits } from "./limits.ts";
import { checkJson, parsePayload, payloadText, toJsonText, valueText } from "./payload.ts";

describe("what JSON carries", () => {
  const shared = { a: 1 };
  test.each<[string, unknown]>([
    ["null", null],
    ["zero", 0],
    ["numbers", [1, -1.5, 1e21, 1e-7, 2 ** 53, Number.MAX_VALUE, Number.MIN_VALUE]],
    ["booleans", [true, false]],
    ["the empty string", ""],
    ["strings", ['"', "\\", "a\nb\tc", "\u0000", "\u007f\u2028", "Größe", "👩‍💻", "x".repeat(1_000)]],
    ["lone surrogates", ["\ud83d", "\udc69", "a\ud83db"]],
    ["empty containers", [{}, [], [[]], { a: {} }]],
    ["a nested object", { file: "a.jpg", size: { width: 200, height: null }, tags: ["a", "b"] }],
    ["strange keys", { "": 1, 'a"b': 2, "\ud83d": 3, "\u0000": 4, toString: 5, constructor: 6, length: 7 }],
    ["a toJSON that is data", { toJSON: "no function" }],
    ["the same object twice", [shared, shared]],
  ])("%s", (_what, value) => {
    const text = payloadText("job", value);
    expect(text).toBe(JSON.stringify(value));
    expect(isDeepStrictEqual(parsePayload(text), value)).toBe(true);
  });

  test("undefined properties are dropped, as everywhere in JSON", () => {
    expect(payloadText("job", { a: undefined, b: 1, c: undefined })).toBe('{"b":1}');
    expect(payloadText("job", { a: undefined })).toBe("{}");
  });

  test("-0 becomes 0", () => {
    expect(payloadText("job", [-0])).toBe("[0]");
  });

  test("an object without a prototype, and objects of another realm", () => {
    expect(payloadText("job", Object.assign(Object.create(null) as object, { a: 1 }))).toBe('{"a":1}');
    expect(payloadText("job", runInNewContext("({ a: [1, { b: 2 }] })"))).toBe('{"a":[1,{"b":2}]}');
  });

  test("properties named by symbols are left out", () => {
    expect(payloadText("job", { a: 1, [Symbol("mark")]: 2 })).toBe('{"a":1}');
  });

  test("a getter that works is read once", () => {
    let reads = 0;
    const value = {
      get a() {
        return ++reads;
      },
    };
    expect(payloadText("job", value)).toBe('{"a":1}');
    expect(reads).toBe(1);
  });

  test("exactly the depth limit", () => {
    expect(checkJson(nested(limits.jsonDepth))).toBeUndefined();
    expect(checkJson(nested(limits.jsonDepth + 1))?.message).toContain("more than 100 levels");
  });
});

describe("a key __proto__", () => {
  const text = '{"__proto__":{"isAdmin":true},"nested":{"__proto__":1}}';

  test("goes in and comes back as an own key", () => {
    const value = JSON.parse(text) as object;
    expect(payloadText("job", value)).toBe(text);
    const back = parsePayload(payloadText("job", value)) as object;
    expect(isDeepStrictEqual(back, value)).toBe(true);
    expect(Object.keys(back)).toEqual(["__proto__", "nested"]);
  });

  test("pollutes nothing", () => {
    const back = parsePayload(text) as { isAdmin?: boolean };
    expect(back.isAdmin).toBeUndefined();
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
  });
});

class Point {
  x = 1;
}
class Money {
  toJSON(): string {
    return "1 EUR";
  }
}
class List extends Array<number> {}

describe("what JSON does not carry", () => {
  const cycle: { list: unknown[] } = { list: [] };
  cycle.list.push(cycle);
  const sparse = [1, 2, 3];
  delete sparse[1];
  const throwing = {
    get secret() {
      throw new Error("no entry");
    },
  };
  const hostile = {
    get secret() {
      throw Object.defineProperty(new Error("x"), "message", {
        get() {
          throw new Error("y");
        },
      });
    },
  };
  const { proxy: revoked, revoke } = Proxy.revocable({}, {});
  revoke();
  const hidden = Object.defineProperty({ a: 1n }, "toJSON", { value: () => ({ a: 1 }), enumerable: false });

  const cases: [string, unknown, (string | number)[], string][] = [
    ["undefined", undefined, [], "Use null"],
    [
      "undefined in an array",
      { list: [1, undefined] },
      ["list", 1],
      "undefined in an array comes back as null",
    ],
    ["a hole in an array", { list: sparse }, ["list", 1], "A hole in an array comes back as null"],
    ["NaN", { n: Number.NaN }, ["n"], "NaN is no JSON number"],
    ["Infinity", [Number.NEGATIVE_INFINITY], [0], "-Infinity is no JSON number"],
    ["a BigInt", { a: [{ id: 5n }] }, ["a", 0, "id"], "value.toString()"],
    ["a function", { run() {} }, ["run"], "no functions"],
    ["a class", { type: Point }, ["type"], "no functions"],
    ["a symbol", [Symbol("a")], [0], "no symbols"],
    ["a Date", { when: new Date(0) }, ["when"], "date.toISOString()"],
    ["an Invalid Date", new Date(Number.NaN), [], "invalid"],
    ["a Map", { m: new Map() }, ["m"], "Object.fromEntries(map)"],
    ["a Set", { s: new Set() }, ["s"], "[...set]"],
    ["a RegExp", { r: /a/ }, ["r"], "regexp.source"],
    ["a Buffer", { b: Buffer.from("a") }, ["b"], "base64"],
    ["a typed array", { b: new Float64Array(2) }, ["b"], "base64"],
    ["an ArrayBuffer", new ArrayBuffer(2), [], "base64"],
    ["an Error", new Error("x"), [], "{ name, message }"],
    ["a Promise", { later: Promise.resolve(1) }, ["later"], "Await it"],
    ["an instance", { at: new Point() }, ["at"], "An instance of Point"],
    ["an instance with toJSON", { price: new Money() }, ["price"], "An instance of Money"],
    ["an own toJSON", { toJSON: () => 1 }, ["toJSON"], "no functions"],
    ["a hidden toJSON", hidden, ["a"], "BigInt"],
    ["a boxed number", { n: new Number(1) }, ["n"], "An instance of Number"],
    ["a boxed string", [new String("a")], [0], "An instance of String"],
    ["a URL", new URL("http://a.example"), [], "An instance of URL"],
    ["an array's subclass", List.from([1]), [], "An instance of List"],
    ["an array with names", { match: /a/.exec("a") }, ["match"], "named properties"],
    ["an object with a prototype", Object.create({ a: 1 }), [], "prototype"],
    ["a cycle", cycle, [], "contains itself"],
    ["too deep", nested(101), [], "more than 100 levels deep"],
    ["a getter that throws", { a: throwing }, ["a", "secret"], 'Reading it threw "no entry"'],
    ["a getter that throws a hostile error", hostile, ["secret"], "Reading it threw"],
    ["a revoked proxy", { p: [revoked] }, ["p", 0], "Reading it threw"],
    [
      "a proxy whose traps throw",
      { p: new Proxy({}, { ownKeys: () => [][0] as never }) },
      ["p"],
      "Reading it threw",
    ],
  ];

  test.each(cases)("%s", (_what, value, path, message) => {
    const problem = checkJson(value);
    expect(problem?.message).toContain(message);
    // A cycle and a depth are met wherever the limit is reached.
    if (!["contains itself", "more than 100 levels deep"].includes(message))
      expect(problem?.path).toEqual(path);

    const refused = thrownBy(() => payloadText("resize", value));
    expect(refused).toBeInstanceOf(InvalidPayloadError);
    expect((refused as InvalidPayloadError).issues).toEqual([problem]);
    expect((refused as InvalidPayloadError).message).toContain('The payload of "resize" is invalid.');
    expect(thrownBy(() => valueText("The result", value, 1_000))).toBeInstanceOf(InvalidValueError);
  });

  test("names the place in a result, too", () => {
    expect(() => valueText("The result of job 7", { a: [{ b: 1n }] }, 100)).toThrow(
      "The result of job 7 cannot be stored. At a[0].b: JSON has no BigInt.",
    );
    expect(() => valueText("The result", 1n, 100)).toThrow(
      "The result cannot be stored. JSON has no BigInt.",
    );
  });

  test("a long key is cut in the path", () => {
    expect(checkJson({ ["k".repeat(5_000)]: 1n })?.path[0]).toHaveLength(100);
  });
});

describe("size", () => {
  const kibi = (n: number): string => "x".repeat(n * 1_024);

  test("exactly the limit is taken, one byte more is not", () => {
    const limit = limits.payloadBytes;
    expect(payloadText("job", "x".repeat(limit - 2))).toHaveLength(limit);
    expect(() => payloadText("job", "x".repeat(limit - 1))).toThrow(PayloadTooLargeError);
    expect(() => payloadText("job", "x".repeat(limit - 1))).toThrow(
      `The payload of "job" is ${limit + 1} bytes of JSON; the limit is ${limit}.`,
    );
  });

  test("bytes count, not characters", () => {
    expect(toJsonText("ü".repeat(10), { bytes: 22, depth: 1 }).kind).toBe("text");
    expect(toJsonText("ü".repeat(10), { bytes: 21, depth: 1 })).toEqual({
      kind: "large",
      bytes: 22,
      complete: true,
    });
    expect(toJsonText("漢".repeat(10), { bytes: 31, depth: 1 })).toEqual({
      kind: "large",
      bytes: 32,
      complete: true,
    });
  });

  test("a value above its limit is an InvalidValueError with the remedy", () => {
    expect(valueText("The result", "abc", 5)).toBe('"abc"');
    expect(() => valueText("The result", "abcd", 5)).toThrow(InvalidValueError);
    expect(() => valueText("The result", "abcd", 5)).toThrow("It is 6 bytes of JSON; the limit is 5.");
  });

  test("parts shared so often that the text would not fit into the world are refused soon", () => {
    let value: unknown = kibi(1);
    for (let level = 0; level < 90; level++) value = [value, value];
    expect(() => payloadText("job", value)).toThrow(PayloadTooLargeError);
    expect(() => payloadText("job", value)).toThrow("as far as it was counted");
    expect(() => valueText("The result", value, 1_000)).toThrow("at least");
  });
});

describe("properties", () => {
  const key = fc.oneof(
    { weight: 5, arbitrary: fc.string({ maxLength: 5 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom("__proto__", "toJSON", "constructor", "", "0", "\ud800", "\u2028"),
    },
  );
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.constantFrom("\ud83d", "\udc69x", '\\"', "\u0000"),
  );
  const leaf = fc.oneof(
    text,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
  );
  const { json } = fc.letrec<{ json: unknown }>((tie) => ({
    json: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      leaf,
      fc.array(tie("json"), { maxLength: 5 }),
      fc.array(fc.tuple(key, tie("json")), { maxLength: 5 }).map(objectOf),
    ),
  }));

  test("20,000 JSON values come back equal, byte for byte as JSON.stringify writes them", () => {
    fc.assert(
      fc.property(json, (value) => {
        const stored = payloadText("job", value);
        expect(stored).toBe(JSON.stringify(value));
        expect(isDeepStrictEqual(parsePayload(stored), asStored(value))).toBe(true);
      }),
      { numRuns: 20_000 },
    );
  });

  test("20,000 values of any kind: taken if and only if they come back equal", () => {
    let taken = 0;
    let refused = 0;
    const anything = fc.anything({
      key,
      maxDepth: 3,
      maxKeys: 4,
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withUnicodeString: true,
      withNullPrototype: true,
    } as fc.ObjectConstraints);
    fc.assert(
      fc.property(anything, (value) => {
        const fits = comesBackEqual(value);
        expect(checkJson(value) === undefined).toBe(fits);
        if (fits) {
          taken++;
          expect(payloadText("job", value)).toBe(JSON.stringify(value));
        } else {
          refused++;
        }
      }),
      { numRuns: 20_000 },
    );
    // Both verdicts were really tried.
    expect(Math.min(taken, refused)).toBeGreaterThan(1_000);
  });

  test("one bad value anywhere is found, with its path", () => {
    const bad = fc.constantFrom<unknown>(
      1n,
      Number.NaN,
      new Date(0),
      new Map(),
      () => 1,
      Symbol("s"),
      new Point(),
    );
    const step = fc.oneof(fc.constantFrom("a", "__proto__", "b c"), fc.nat({ max: 3 }));
    fc.assert(
      fc.property(bad, fc.array(step, { maxLength: 20 }), json, (poison, path, beside) => {
        const value = path.reduceRight<unknown>(
          (inner, at) =>
            typeof at === "number"
              ? [...Array.from({ length: at }, () => beside), inner, beside]
              : objectOf([
                  ["beside", beside],
                  [at, inner],
                ]),
          poison,
        );
        expect(checkJson(value)?.path).toEqual(path);
      }),
      { numRuns: 2_000 },
    );
  });
});

function nested(levels: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

/** An object with these own keys, `__proto__` included. */
function objectOf(entries: readonly (readonly [string, unknown])[]): object {
  const object = {};
  for (const [key, value] of entries) {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  }
  return object;
}

/** The oracle: JSON itself, asked whether it brings the value back. */
function comesBackEqual(value: unknown): boolean {
  try {
    const text = JSON.stringify(value) as string | undefined;
    return text !== undefined && isDeepStrictEqual(JSON.parse(text), asStored(value));
  } catch {
    return false;
  }
}

/** The value with what we document as dropped dropped: undefined properties, `-0`, the missing prototype. */
function asStored(value: unknown): unknown {
  if (Object.is(value, -0)) return 0;
  if (Array.isArray(value))
    return Object.assign([...(value as unknown[])].map(asStored), hasHole(value) ? { hole: true } : {});
  if (typeof value !== "object" || value === null) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return value;
  return objectOf(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, asStored(item)]),
  );
}

function hasHole(array: readonly unknown[]): boolean {
  return Object.keys(array).length < array.length;
}

function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (thrown) {
    return thrown;
  }
  return undefined;
}
