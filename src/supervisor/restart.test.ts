import { describe, expect, it } from "vitest";
import { afterEnd } from "./restart.ts";

const policy = { firstMs: 200, maxMs: 30_000 };

/** The waits of a child that ends again and again after it has worked for this long. */
function waits(n: number, workedMs: number, random: number): number[] {
  let ends = 0;
  return Array.from({ length: n }, () => {
    const next = afterEnd(policy, ends, workedMs, random);
    ends = next.ends;
    return next.inMs;
  });
}

describe("afterEnd", () => {
  it.each<[string, number, number, readonly number[]]>([
    ["doubles up to the longest", 0, 0, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]],
    ["goes on doubling after short work", 29_999, 0, [200, 400, 800]],
    ["begins anew after proven work", 30_000, 0, [200, 200, 200]],
    ["adds up to a fifth at random", 0, 0.5, [220, 440, 880]],
  ])("%s", (_what, workedMs, random, expected) => {
    expect(waits(expected.length, workedMs, random)).toEqual(expected);
  });

  it("stays bounded for ever", () => {
    expect(afterEnd(policy, 1e9, 0, 0.999)).toEqual({ ends: 1e9 + 1, inMs: 35_994 });
    expect(afterEnd({ firstMs: 5, maxMs: 5 }, 0, 0, 0)).toEqual({ ends: 1, inMs: 5 });
  });
});
