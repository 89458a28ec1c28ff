// oxlint-disable vitest/no-conditional-expect -- what must hold depends on the value that was drawn
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Duration, toMs, toMsOrNull } from "./duration.ts";
import { InvalidOptionError } from "./errors.ts";

const DAY_MS = 86_400_000;
const MAX_MS = 36_525 * DAY_MS;

describe("toMs", () => {
  test.each<[Duration, number]>([
    [0, 0],
    [250, 250],
    [0.6, 1],
    ["0s", 0],
    ["250ms", 250],
    ["15s", 15_000],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["1d", DAY_MS],
    ["1.5h", 5_400_000],
    ["0.0004s", 0],
    ["1.0005s", 1_001],
    ["36525d", MAX_MS],
  ])("%s is %i ms", (duration, ms) => {
    expect(toMs(duration, "in")).toBe(ms);
  });

  test.each([
    "",
    "5",
    "ms",
    "5 minutes",
    "5 m",
    " 5m",
    "5m ",
    "5M",
    "1w",
    "1m30s",
    "-5m",
    "+5m",
    ".5h",
    "5.h",
    "1e3s",
    "0x5s",
    "٥m",
    "Infinityms",
    "NaNs",
    Number.NaN,
    null,
    undefined,
    true,
    5n,
    {},
    ["5m"],
    new Date(5),
  ])("refuses %o as no duration", (value) => {
    const parse = (): number => toMs(value as Duration, "shutdownTimeout");
    expect(parse).toThrow(InvalidOptionError);
    expect(parse).toThrow(/^shutdownTimeout is .* Use a number of milliseconds or text like/s);
  });

  test.each([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("refuses %s", (value) => {
    expect(() => toMs(value, "in")).toThrow(`in is ${value}.`);
  });

  test.each<Duration>([-1, MAX_MS + 1, "36526d", `${"9".repeat(400)}d` as "9d"])(
    "refuses %s as out of range",
    (value) => {
      expect(() => toMs(value, "in")).toThrow(`Use 0 ms to ${MAX_MS} ms.`);
    },
  );

  test("keeps the caller's range, bounds included", () => {
    const range = { min: 10, max: "1s".length * 10 };
    expect(toMs(10, "in", range)).toBe(10);
    expect(toMs(20, "in", range)).toBe(20);
    expect(() => toMs("9ms", "in", range)).toThrow('in is "9ms". Use 10 ms to 20 ms.');
    expect(() => toMs(21, "in", range)).toThrow("in is 21.");
    // The range applies to what is stored, after rounding.
    expect(toMs(9.5, "in", range)).toBe(10);
    expect(() => toMs(0.4, "timeout", { min: 1 })).toThrow("timeout is 0.4.");
  });

  test("text and number agree, and both are whole", () => {
    const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: DAY_MS } as const;
    fc.assert(
      fc.property(
        fc.nat({ max: 36_525_000 }),
        fc.constantFrom(...(["ms", "s", "m", "h", "d"] as const)),
        (thousandths, unit) => {
          const text = `${thousandths / 1_000}${unit}` as Duration;
          const ms = toMs(text, "in");
          expect(ms).toBe(toMs((thousandths / 1_000) * units[unit], "in"));
          expect(Number.isSafeInteger(ms)).toBe(true);
          expect(Math.abs(ms - (thousandths * units[unit]) / 1_000)).toBeLessThanOrEqual(0.5 + 1e-3);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("whatever it is given: whole ms in range, or the typed error", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.anything(), fc.double(), fc.string(), fc.stringMatching(/^-?\d*\.?\d*(ms|s|m|h|d)?$/)),
        (value) => {
          try {
            const ms = toMs(value as Duration, "in");
            expect(Number.isSafeInteger(ms) && ms >= 0 && ms <= MAX_MS).toBe(true);
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(InvalidOptionError);
          }
        },
      ),
      { numRuns: 5_000 },
    );
  });
});

describe("toMsOrNull", () => {
  test("Infinity is null, the rest as toMs", () => {
    expect(toMsOrNull(Number.POSITIVE_INFINITY, "timeout")).toBeNull();
    expect(toMsOrNull("1s", "timeout")).toBe(1_000);
    expect(() => toMsOrNull(Number.NEGATIVE_INFINITY, "timeout")).toThrow("timeout is -Infinity.");
    expect(() => toMsOrNull(Number.NaN, "timeout")).toThrow("timeout is NaN.");
    expect(() => toMsOrNull(0, "timeout", { min: 1 })).toThrow(InvalidOptionError);
  });
});
