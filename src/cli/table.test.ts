import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sheet, table } from "./table.ts";
import { cut, jsonText, visible, widthOf } from "./visible.ts";

describe("table", () => {
  it("aligns columns and leaves nothing behind the last", () => {
    expect(
      table(
        ["ID", "NAME"],
        [
          ["7", "a"],
          ["12345", "long name"],
          ["8", ""],
        ],
        undefined,
      ),
    ).toBe("ID     NAME\n7      a\n12345  long name\n8\n");
  });

  it("makes the widest column narrower first", () => {
    const rows = [["1", "x".repeat(40), "y".repeat(20)]];
    expect(table(["ID", "NAME", "NOTE"], rows, 40)).toBe(
      `ID  NAME               NOTE\n1   ${"x".repeat(16)}…  ${"y".repeat(16)}…\n`.replace(
        /^ID.*$/m,
        `ID  NAME${" ".repeat(15)}NOTE`,
      ),
    );
  });

  it("counts places, not letters", () => {
    expect(
      table(
        ["NAME", "N"],
        [
          ["日本", "1"],
          ["e\u0301a", "2"],
        ],
        undefined,
      ),
    ).toBe("NAME  N\n日本  1\ne\u0301a    2\n");
  });

  it("has a line for each row, none too long, whatever the cells hold", () => {
    const cell = fc.string({ unit: "binary", maxLength: 60 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(cell, cell, cell), { maxLength: 6 }),
        fc.option(fc.integer({ min: 1, max: 90 }), { nil: undefined }),
        (rows, columns) => {
          const lines = table(["A", "B", "C"], rows, columns).split("\n");
          expect(lines).toHaveLength(rows.length + 2);
          for (const line of lines) {
            expect(widthOf(line)).toBeLessThanOrEqual(columns ?? Number.POSITIVE_INFINITY);
            expect(visible(line)).toBe(line);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe("sheet", () => {
  it("puts values below each other, whole", () => {
    expect(
      sheet([
        ["id", "7"],
        ["a name", "x\ny"],
      ]),
    ).toBe("id      7\na name  x\\ny\n");
    expect(sheet([])).toBe("");
  });
});

describe("text for a terminal", () => {
  it.each([
    ["plain äöü 日本", "plain äöü 日本"],
    ["a\nb\tc", String.raw`a\nb\tc`],
    ["\u001b[31m", String.raw`\u001b[31m`],
    ["\u009b\u007f\u0000", String.raw`\u009b\u007f\u0000`],
    ["\u202e\u2066\u200b\ufeff", String.raw`\u202e\u2066\u200b\ufeff`],
    ["\u2028\u2029", String.raw`\u2028\u2029`],
    ["\ud800", String.raw`\ud800`],
    ["\u{e0041}", String.raw`\udb40\udc41`],
  ])("%j is shown as it is meant", (text, shown) => {
    expect(visible(text)).toBe(shown);
  });

  it("is the same value as JSON, with nothing in it that is not shown", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
        const text = jsonText(value);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(visible(text)).toBe(text);
      }),
    );
  });

  it("is cut to its places", () => {
    expect(cut("abcdef", 6)).toBe("abcdef");
    expect(cut("abcdefg", 6)).toBe("abcde…");
    expect(cut("日本語", 5)).toBe("日本…");
    expect(cut("日本語", 4)).toBe("日…");
    expect(cut("ab", 1)).toBe("…");
  });
});
