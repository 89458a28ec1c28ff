import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { series } from "./series.ts";
import { integer, list, text } from "./shape.ts";

interface Entry {
  readonly id: number;
  readonly name: string;
  readonly tags: readonly string[];
  readonly note?: string;
  readonly secret?: string;
}

const NOTE = text(100);
const shape = series<Entry>(
  { needs: { id: integer(), name: text(100), tags: list(text(10), 5) }, may: { note: NOTE, secret: NOTE } },
  ["id", "secret"],
  100,
);

const entries = fc.array(
  fc.record(
    {
      id: fc.integer({ min: 0, max: 2 }),
      name: fc.constantFrom("a", "b"),
      tags: fc.constantFrom([], ["x"]),
      note: fc.constantFrom("one", "two"),
      secret: fc.constantFrom("s"),
    },
    { requiredKeys: ["id", "name", "tags"] },
  ),
  { maxLength: 20 },
);

describe("a series", () => {
  it("comes out as it went in, whatever is shared", () => {
    fc.assert(
      fc.property(entries, (some) => {
        expect(shape.in(shape.out(some))).toEqual(some);
      }),
    );
  });

  it("leaves out what is as before, and says when something is missing", () => {
    const tags = ["x"];
    expect(
      shape.out([
        { id: 1, name: "a", tags, note: "n", secret: "s" },
        { id: 1, name: "a", tags, note: "n", secret: "s" },
        { id: 2, name: "b", tags },
      ]),
    ).toEqual([
      { id: 1, name: "a", tags: ["x"], note: "n", secret: "s" },
      { id: 1, secret: "s" },
      { id: 2, name: "b", note: null },
    ]);
  });

  it("says what an entry tells in another way than by fields of its own", () => {
    class Told implements Entry {
      readonly id = 1;
      readonly name = "a";
      readonly tags: readonly string[] = [];
      get note(): string {
        return "n";
      }
    }
    expect(shape.in(shape.out([new Told(), new Told()]))).toEqual([
      { id: 1, name: "a", tags: [], note: "n" },
      { id: 1, name: "a", tags: [], note: "n" },
    ]);
  });

  it("takes entries that say everything", () => {
    const all = [
      { id: 1, name: "a", tags: [], note: "n" },
      { id: 2, name: "a", tags: [], note: "n" },
    ];
    expect(shape.in(all)).toEqual(all);
  });

  it("does not multiply what every entry must say itself", () => {
    const first = { id: 1, name: "a", tags: [], secret: "s" };
    expect(() => shape.in([first, {}])).toThrow("1.id is not a whole number.");
    expect(shape.in([first, { id: 2 }])).toEqual([first, { id: 2, name: "a", tags: [] }]);
    expect(() => shape.in([{ id: 1 }])).toThrow("0.name is not a text.");
    expect(() => shape.in([first, 7])).toThrow("1 is not a map.");
  });
});
