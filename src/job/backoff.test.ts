import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import { type Backoff, backoffMs, checkBackoff, exponential, fixed, linear } from "./backoff.ts";

const YEAR_MS = 365 * 86_400_000;
const attempts = fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 2 ** 31 }));
/** Uniform in [0, 1), as the rules ask for. */
const randoms = fc.oneof(
  fc.constantFrom(0, 1 - 2 ** -53),
  fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
);
const jitters = fc.double({ min: 0, max: 1, noNaN: true });
/** Growth that reaches any cap within 2,500 attempts, or none at all. */
const factors = fc.oneof(fc.constant(1), fc.double({ min: 1.01, max: 100, noNaN: true }));
const delays = fc.oneof(fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: 0, max: YEAR_MS }));

describe("backoffMs", () => {
  test("doubles from 2 s to an hour by default", () => {
    const waits = [1, 2, 3, 4, 5, 11, 12, 13].map((attempt) => backoffMs(exponential(), attempt, 0));
    expect(waits).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 2_048_000, 3_600_000, 3_600_000]);
    expect(backoffMs(exponential(), 1, 0.5)).toBe(2_200);
  });

  test("grows by a step", () => {
    const waits = [1, 2, 3, 4].map((attempt) => backoffMs(linear({ step: "10s", max: "30s" }), attempt, 0));
    expect(waits).toEqual([10_000, 20_000, 30_000, 30_000]);
    expect(backoffMs(linear({ step: "10s", jitter: 1 }), 1, 0.5)).toBe(15_000);
  });

  test("stays the same", () => {
    expect([1, 2, 2 ** 31].map((attempt) => backoffMs(fixed("3s"), attempt, 0.9))).toEqual([
      3_000, 3_000, 3_000,
    ]);
  });

  test("exponential: in [b, b · (1 + j)], whole and finite, for every attempt up to 2^31", () => {
    fc.assert(
      fc.property(
        delays,
        factors,
        delays,
        jitters,
        attempts,
        randoms,
        (firstMs, factor, maxMs, jitter, attempt, random) => {
          const backoff: Backoff = { kind: "exponential", firstMs, factor, maxMs, jitter };
          // Without powers, so that this is no copy of the code: growing by hand until the cap is met.
          let base = firstMs;
          const steps = factor === 1 || firstMs === 0 ? 0 : attempt - 1;
          for (let n = 0; n < steps && base < maxMs; n++) base *= factor;
          base = Math.min(base, maxMs);
          const ms = backoffMs(backoff, attempt, random);
          expect(Number.isSafeInteger(ms)).toBe(true);
          // Rounding to whole ms, and powers against products, may differ in the last place.
          const slack = 1 + base * 1e-9;
          expect(ms).toBeGreaterThanOrEqual(base - slack);
          expect(ms).toBeLessThanOrEqual(base * (1 + jitter) + slack);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test("linear: in [b, b · (1 + j)], whole and finite, for every attempt up to 2^31", () => {
    fc.assert(
      fc.property(delays, delays, jitters, attempts, randoms, (stepMs, maxMs, jitter, attempt, random) => {
        const base = Math.min(stepMs * attempt, maxMs);
        const ms = backoffMs({ kind: "linear", stepMs, maxMs, jitter }, attempt, random);
        expect(Number.isSafeInteger(ms)).toBe(true);
        expect(ms).toBeGreaterThanOrEqual(base - 1);
        expect(ms).toBeLessThanOrEqual(base * (1 + jitter) + 1);
      }),
      { numRuns: 2_000 },
    );
  });

  test("never shrinks from one attempt to the next", () => {
    fc.assert(
      fc.property(delays, factors, delays, attempts, (firstMs, factor, maxMs, n) => {
        const backoff: Backoff = { kind: "exponential", firstMs, factor, maxMs, jitter: 0 };
        expect(backoffMs(backoff, n + 1, 0)).toBeGreaterThanOrEqual(backoffMs(backoff, n, 0));
      }),
    );
  });

  // Goal: a thousand jobs that an outage fails in one second do not come back in one second.
  // Method: 10,000 waits with seeded randomness; count them by the second they end in. Beyond attempt 9 a
  // second's share is so small that chance alone exceeds it half over.
  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9])("10,000 failures of attempt %i spread evenly", (attempt) => {
    const jobs = 10_000;
    const backoff = exponential();
    const random = seeded(attempt);
    const buckets = new Map<number, number>();
    for (let job = 0; job < jobs; job++) {
      const second = Math.floor(backoffMs(backoff, attempt, random()) / 1_000);
      buckets.set(second, (buckets.get(second) ?? 0) + 1);
    }
    const widthMs = 2_000 * 2 ** (attempt - 1) * 0.2;
    const fairShare = jobs * Math.min(1, 1_000 / widthMs);
    expect(Math.max(...buckets.values())).toBeLessThanOrEqual(1.5 * fairShare);
  });
});

describe("makers", () => {
  test("say the backoff as data", () => {
    expect(exponential()).toEqual({
      kind: "exponential",
      firstMs: 2_000,
      factor: 2,
      maxMs: 3_600_000,
      jitter: 0.2,
    });
    expect(linear({ step: "1m" })).toEqual({ kind: "linear", stepMs: 60_000, maxMs: 3_600_000, jitter: 0.2 });
    expect(fixed(5)).toEqual({ kind: "fixed", delayMs: 5 });
  });

  test.each([
    ["a factor that shrinks", () => exponential({ factor: 0.5 }), "backoff.factor is 0.5."],
    ["a factor beyond 100", () => exponential({ factor: 101 }), "backoff.factor is 101."],
    ["NaN as factor", () => exponential({ factor: Number.NaN }), "backoff.factor is NaN."],
    ["jitter above 1", () => exponential({ jitter: 1.1 }), "backoff.jitter is 1.1."],
    ["negative jitter", () => linear({ step: 1, jitter: -0.1 }), "backoff.jitter is -0.1."],
    ["a negative first wait", () => exponential({ first: -1 }), "backoff.first is -1."],
    [
      "an endless first wait",
      () => exponential({ first: Number.POSITIVE_INFINITY }),
      "backoff.first is Infinity.",
    ],
    ["an endless cap", () => exponential({ max: Number.POSITIVE_INFINITY }), "backoff.max is Infinity."],
    ["more than a year", () => fixed("366d"), 'backoff is "366d".'],
    ["NaN as delay", () => fixed(Number.NaN), "backoff is NaN."],
    ["a step that is no duration", () => linear({ step: "1 minute" as "1m" }), 'backoff.step is "1 minute".'],
  ])("refuse %s", (_what, make, message) => {
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(message);
  });
});

describe("checkBackoff", () => {
  test("takes what the makers make, and makes the same of it", () => {
    for (const made of [
      exponential(),
      exponential({ first: 0, jitter: 0 }),
      linear({ step: 0 }),
      fixed("1h"),
    ]) {
      expect(checkBackoff(JSON.parse(JSON.stringify(made)))).toEqual(made);
    }
  });

  test.each([
    ["text", "5s"],
    ["a number", 5],
    ["null", null],
    ["undefined", undefined],
    ["no kind", { firstMs: 5 }],
    ["an unknown kind", { kind: "fibonacci" }],
    ["a missing part", { kind: "exponential", firstMs: 5, factor: 2, maxMs: 5 }],
    ["a missing delay", { kind: "fixed" }],
    ["NaN inside", { kind: "linear", stepMs: Number.NaN, maxMs: 1, jitter: 0 }],
    [
      "a factor that would be a power of 10^9",
      { kind: "exponential", firstMs: 1, factor: 1e9, maxMs: 1, jitter: 0 },
    ],
  ])("refuses %s", (_what, value) => {
    expect(() => checkBackoff(value)).toThrow(InvalidOptionError);
  });
});

/** A small generator with a seed (mulberry32): the statistics above must not depend on luck. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
