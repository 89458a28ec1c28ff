import { describe, expect, test } from "vitest";
import { show } from "./show.ts";

describe("show", () => {
  test.each<[unknown, string]>([
    ["a", '"a"'],
    ["a\n\u001b", '"a\\n\\u001b"'],
    [5n, "5n"],
    [Number.NaN, "NaN"],
    [null, "null"],
    [undefined, "undefined"],
    [Symbol("s"), "Symbol(s)"],
    [new Date(0), "1970-01-01T00:00:00.000Z"],
    [new Date(Number.NaN), "an Invalid Date"],
    [() => 1, "a function"],
    [[1], "an array"],
    [
      {
        toString: () => {
          throw new Error("hostile");
        },
      },
      "an object",
    ],
  ])("%o", (value, text) => {
    expect(show(value)).toBe(text);
  });

  test("is short whatever it shows", () => {
    expect(show("x".repeat(1e6)).length).toBeLessThanOrEqual(120);
  });
});
