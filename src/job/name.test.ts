import { describe, expect, test } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import { checkName } from "./name.ts";

describe("checkName", () => {
  test.each([
    "a",
    "resize",
    "__proto__",
    "constructor",
    "mail/send:v2 (new)",
    "Größe",
    "作業",
    "👩‍💻",
    " ",
    "x".repeat(200),
  ])("takes %j", (name) => {
    expect(checkName(name, "name")).toBe(name);
  });

  test.each([
    ["empty", ""],
    ["too long", "x".repeat(201)],
    ["a NUL", "a\u0000"],
    ["a line break", "a\nb"],
    ["an escape", "\u001b[31m"],
    ["DEL", "a\u007f"],
    ["a C1 control", "a\u0085"],
    ["a line separator", "a\u2028"],
    ["a paragraph separator", "a\u2029"],
    ["half a surrogate pair, first", "a\ud83d"],
    ["half a surrogate pair, last", "\udc69a"],
    ["a number", 7],
    ["null", null],
    ["undefined", undefined],
    ["a String object", new String("a")],
  ])("refuses %s", (_what, name) => {
    expect(() => checkName(name, "queue")).toThrow(InvalidOptionError);
    expect(() => checkName(name, "queue")).toThrow(/^queue is .+\. Use 1 to 200 characters/s);
  });

  test("quotes the value", () => {
    expect(() => checkName("a\nb", "name")).toThrow('name is "a\\nb".');
  });
});
