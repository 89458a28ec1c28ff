import { describe, expect, test } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import { limits } from "./limits.ts";
import {
  cancel,
  directiveOf,
  instantMs,
  later,
  reasonText,
  reschedule,
  RetryAfter,
  snooze,
} from "./outcome.ts";

describe("directives", () => {
  test("carry what should happen next", () => {
    expect(directiveOf(snooze("5m"))).toEqual({ kind: "snooze", later: { delayMs: 300_000 } });
    expect(directiveOf(snooze(new Date(1_000)))).toEqual({ kind: "snooze", later: { at: 1_000 } });
    expect(directiveOf(reschedule("1d"))).toEqual({ kind: "reschedule", later: { delayMs: 86_400_000 } });
    expect(directiveOf(cancel("too old"))).toEqual({ kind: "cancel", reason: "too old" });
  });

  test("are told by class: results of the same shape stay results", () => {
    const lookalikes = [
      { kind: "snooze", later: { delayMs: 5 } },
      { directive: { kind: "cancel", reason: "x" } },
      JSON.parse(JSON.stringify(snooze("5m"))) as unknown,
      undefined,
      null,
      "snooze",
      7,
    ];
    for (const value of lookalikes) expect(directiveOf(value)).toBeUndefined();
  });

  test.each([
    ["a negative snooze", () => snooze(-1)],
    ["an endless snooze", () => snooze(Number.POSITIVE_INFINITY)],
    ["NaN", () => reschedule(Number.NaN)],
    ["an Invalid Date", () => reschedule(new Date(Number.NaN))],
    ["a far instant", () => snooze(new Date(limits.instantMax + 1))],
    ["a date as text", () => snooze("2030-01-01" as unknown as Date)],
    ["nothing", () => snooze(undefined as unknown as Date)],
  ])("refuse %s", (_what, make) => {
    expect(make).toThrow(InvalidOptionError);
  });

  test("a reason is text of bounded length", () => {
    expect(reasonText("x".repeat(5_000))).toHaveLength(1_000);
    expect(directiveOf(cancel(undefined as unknown as string))).toEqual({
      kind: "cancel",
      reason: "undefined",
    });
  });
});

describe("later", () => {
  test("an instant of the past, before 1970 too, is an instant", () => {
    expect(later(new Date(5), "at")).toEqual({ at: 5 });
    expect(instantMs(new Date(-1_000), "at")).toBe(0);
    expect(instantMs(new Date(limits.instantMax), "at")).toBe(limits.instantMax);
  });

  test("names the option and the value", () => {
    expect(() => instantMs(new Date(Number.NaN), "at")).toThrow("at is an Invalid Date. Use a valid Date");
  });
});

describe("RetryAfter", () => {
  test("chooses the delay and is an error like others", () => {
    const cause = new Error("429");
    const error = new RetryAfter("30s", "slow down", { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "RetryAfter", message: "slow down", delayMs: 30_000, cause });
    expect(new RetryAfter(0).message).not.toBe("");
  });

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])("refuses %s", (delay) => {
    expect(() => new RetryAfter(delay)).toThrow(InvalidOptionError);
  });
});
