import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  blockedKey,
  endedKey,
  flowKey,
  instantKey,
  type Kind,
  limitDigest,
  orderedTextKey,
  pairKey,
  placeKey,
  readBlocked,
  readEndedKey,
  readInstantKey,
  readPlace,
  readTimed,
  readWhole,
  textGroup,
  textKey,
  textWholeKey,
  timedKey,
  wholeKey,
  wholeTextKey,
} from "./keys.ts";

const whole = fc.maxSafeNat();
const instant = fc.double({ noNaN: true }).map((value) => value + 0);
const place = fc.tuple(
  fc.constantFrom<Kind>(0, 1),
  fc.nat(2 ** 32 - 1),
  fc.integer({ min: -1_000, max: 1_000 }),
  whole,
);
const anyText = fc.string({ unit: "binary", maxLength: 400 });

/** How two lists of numbers stand, part by part. */
function order(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return (a[i] as number) < (b[i] as number) ? -1 : 1;
  }
  return 0;
}

function keepsOrder<T extends readonly number[]>(
  parts: fc.Arbitrary<T>,
  key: (parts: T) => Uint8Array,
): void {
  fc.assert(
    // Half of the pairs differ in one part only: unrelated ones rarely get beyond the first.
    fc.property(parts, parts, fc.nat(3), (a, b, shared) => {
      const near = b.map((value, i) => (i < shared ? (a[i] as number) : value)) as unknown as T;
      for (const other of [b, near]) {
        expect(Math.sign(Buffer.compare(key(a), key(other)))).toBe(order(a, other));
      }
    }),
    { numRuns: 2_000 },
  );
}

describe("keys stand in the order of their parts", () => {
  test("whole numbers", () => keepsOrder(fc.tuple(whole), ([a]) => wholeKey(a)));
  test("places", () => keepsOrder(place, ([a, b, c, d]) => placeKey(a, b, c, d)));
  test("instants", () => keepsOrder(fc.tuple(instant, whole), ([a, b]) => instantKey(a, b)));
  test("ends", () => keepsOrder(fc.tuple(fc.nat(255), instant, whole), ([a, b, c]) => endedKey(a, b, c)));
  test("blocked jobs of one limit key", () => {
    const parts = fc.tuple(fc.nat(2 ** 32 - 2), fc.integer({ min: -1_000, max: 1_000 }), whole);
    const digest = limitDigest("s", "k");
    keepsOrder(parts, ([lane, priority, seq]) => blockedKey(digest, lane, priority, seq));
    expect(readBlocked(blockedKey(digest, 7, -3, 9))).toEqual({ digest, lane: 7 });
  });
  test("buckets", () =>
    keepsOrder(fc.tuple(fc.nat(2 ** 32 - 1), fc.nat(255), instant), ([a, b, c]) => flowKey(a, b, c)));
  test("instants before texts", () => {
    const text = fc.string({ unit: "binary", maxLength: 420 });
    fc.assert(
      fc.property(instant, text, text, (at, a, b) => {
        const [x, y] = [timedKey(at, orderedTextKey(a)), timedKey(at, orderedTextKey(b))];
        // Beyond the longest names only difference counts.
        const isShort = a.length <= 400 && b.length <= 400;
        const sign = Math.sign(Buffer.compare(x, y));
        const expected = a < b ? -1 : a > b ? 1 : 0;
        expect(isShort ? sign : Math.abs(sign)).toBe(isShort ? expected : Math.abs(expected));
        expect(readTimed(x)).toEqual({ instant: at, key: Buffer.from(orderedTextKey(a)) });
      }),
    );
  });
  test("pairs", () => keepsOrder(fc.tuple(whole, whole), ([a, b]) => pairKey(a, b)));
});

describe("keys can be read back", () => {
  test("whole numbers, the largest included", () => {
    fc.assert(fc.property(whole, (a) => void expect(readWhole(wholeKey(a))).toBe(a)));
    expect(readWhole(wholeKey(Number.MAX_SAFE_INTEGER))).toBe(Number.MAX_SAFE_INTEGER);
  });
  test("places", () => {
    fc.assert(
      fc.property(
        place,
        ([kind, lane, priority, seq]) =>
          void expect(readPlace(placeKey(kind, lane, priority, seq))).toEqual({ kind, lane, priority, seq }),
      ),
    );
  });
  test("instants, also fractions and those before 1970", () => {
    fc.assert(
      fc.property(
        instant,
        whole,
        (a, b) => void expect(readInstantKey(instantKey(a, b))).toEqual({ instant: a, whole: b }),
      ),
    );
    expect(readInstantKey(instantKey(-0, 1)).instant).toBe(0);
  });
  test("ends", () => {
    fc.assert(
      fc.property(
        fc.nat(255),
        instant,
        whole,
        (state, endedAt, chunk) =>
          void expect(readEndedKey(endedKey(state, endedAt, chunk))).toEqual({ state, endedAt, chunk }),
      ),
    );
  });
});

describe("text keys are injective", () => {
  const differ = (key: (...parts: string[]) => Uint8Array): void => {
    fc.assert(
      fc.property(anyText, anyText, anyText, anyText, (a, b, c, d) => {
        const isSame = a === c && b === d;
        expect(Buffer.compare(key(a, b), key(c, d)) === 0).toBe(isSame);
        expect(key(a, b).length).toBeLessThanOrEqual(1_978);
      }),
    );
  };
  test("with their parts kept apart", () => differ((a, b) => textKey(a, b)));
  test("parts that join to the same text differ", () => {
    expect(textKey("ab", "c")).not.toEqual(textKey("a", "bc"));
    expect(textKey('a","b')).not.toEqual(textKey("a", "b"));
  });
  test("lone surrogates stay apart", () => expect(textKey("\ud800")).not.toEqual(textKey("\ud801")));
  test("beyond the length of a key", () => {
    const long = "€".repeat(2_000);
    expect(textKey(long, "a")).not.toEqual(textKey(long, "b"));
  });
  test("a number keeps its texts together", () => {
    expect(Buffer.compare(wholeTextKey(7, "z"), wholeTextKey(8, "a"))).toBe(-1);
    expect(Buffer.from(textWholeKey("p", 7)).subarray(0, 32)).toEqual(textGroup("p"));
  });
});
