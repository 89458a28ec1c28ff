import { describe, expect, it } from "vitest";
import { ownFiles, readOwn } from "./support/source-files.ts";

// Goal: docs/features.md promises nothing that no test proves, and hides nothing that is missing.
// Method: its tables are read: every row there is stands in one of them, once; cited tests exist by name, and
// run on the storages that the row names.

/** How many rows each letter has. */
const ROWS = {
  ...{ A: 16, B: 19, C: 11, D: 12, E: 16, F: 13, G: 12 },
  ...{ H: 12, I: 10, J: 17, K: 8, L: 8, M: 9 },
};

/** What the first release must have. */
const REQUIRED =
  "A1 A2 A4 A5 A6 A12 A14 A15 B1 B3 B6 B7 B8 B15 B16 B17 C2 C3 C8 C9 C10 D7 D8 D10 D12 " +
  "E1 E2 E3 E4 E5 E6 E7 E10 E11 E15 F1 F2 F3 F4 F5 F6 F7 F8 F9 F11 G1 G2 G3 G4 G5 G7 G8 G10 G11 G12 " +
  "H1 H2 H3 H5 H8 H12 I1 I2 I3 I4 I6 I7 I8 J1 J2 J4 J5 J6 J15 K1 K2 K4 K5 K6 K7 K8";

const [, builtText = "", openText = ""] = readOwn("docs/features.md").split(/^## (?:Built|Open)$/m);
const built = rowsOf(builtText).map(([row = "", what = "", on = "", proof = ""]) => ({
  ...{ row, what, on },
  citations: citationsIn(proof),
}));
const open = rowsOf(openText).map(([row = "", missing = ""]) => ({ row, missing }));
const committed = ownFiles();

describe("docs/features.md", () => {
  it("has every row once, built or open", () => {
    const all = Object.entries(ROWS).flatMap(([letter, n]) =>
      Array.from({ length: n }, (_, index) => `${letter}${index + 1}`),
    );
    const listed = [...built, ...open].map(({ row }) => row);
    expect(listed.toSorted()).toEqual(all.toSorted());
  });

  it("has built what the first release must have", () => {
    const done = new Set(built.map(({ row }) => row));
    expect(REQUIRED.split(" ").filter((row) => !done.has(row))).toEqual([]);
  });

  it("says of each open row what is missing", () => {
    expect(open.length).toBeGreaterThan(0);
    expect(open.filter(({ missing }) => missing.length < 10)).toEqual([]);
  });

  it.each(built)("$row is proven by tests that exist, where it says", ({ what, on, citations }) => {
    expect(what.length).toBeGreaterThan(20);
    expect(citations.length).toBeGreaterThan(0);
    for (const { file, titles } of citations) {
      expect(committed).toContain(file);
      expect(file.endsWith(".test.ts") || isRunOverAll(file), file).toBe(true);
      expect(titles.length, file).toBeGreaterThan(0);
      const text = readOwn(file);
      for (const title of titles) expect(isTitleIn(text, title), `${file}: ${title}`).toBe(true);
    }
    const files = citations.map(({ file }) => file);
    expect(["all", "–", "memory", "lmdb", "postgres"]).toContain(on);
    expect(on === "all" ? files.filter(runsOnAll) : files).not.toEqual([]);
    const isOfOne = on === "memory" || on === "lmdb" || on === "postgres";
    expect(isOfOne ? files.filter((file) => !runsOn(on, file)) : []).toEqual([]);
  });

  it("is checked in earnest", () => {
    expect(isTitleIn('it("does this", () => {});', "does this")).toBe(true);
    expect(isTitleIn('it("does this", () => {});', "does that")).toBe(false);
    expect(isTitleIn('it("does this, too", () => {});', "does this")).toBe(false);
    expect(isTitleIn('const text = "does this",', "does this")).toBe(false);
    expect(isTitleIn('{ name: "does this", run() {} }', "does this")).toBe(true);
    expect(citationsIn("`a.test.ts`: “one” · “two”; `b.test.ts`: “three”")).toEqual([
      { file: "a.test.ts", titles: ["one", "two"] },
      { file: "b.test.ts", titles: ["three"] },
    ]);
  });
});

/** The cells of every row of every table. */
function rowsOf(text: string): string[][] {
  return text
    .split("\n")
    .filter((line) => /^\| [A-M]\d+ \|/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
    );
}

function citationsIn(proof: string): { readonly file: string; readonly titles: string[] }[] {
  const found: { file: string; titles: string[] }[] = [];
  for (const [, file, title] of proof.matchAll(/`([^`]+)`|“([^”]+)”/g)) {
    if (file !== undefined) found.push({ file, titles: [] });
    else if (title !== undefined) found.at(-1)?.titles.push(title);
  }
  return found;
}

/** Whether a test or a case of a table has this name: a whole literal where such names stand. */
function isTitleIn(text: string, title: string): boolean {
  return text.split(title).some((before, index, pieces) => {
    const after = pieces[index + 1];
    return after !== undefined && /(?:[([]|\bname:)\s*["`]$/.test(before) && /^["`],/.test(after);
  });
}

/** Cases that are defined here and run elsewhere, over every storage. */
function isRunOverAll(file: string): boolean {
  return /^(?:src\/testing\/storage-suite|test\/model)\//.test(file);
}

/** Runs its cases over every storage. */
function runsOnAll(file: string): boolean {
  if (isRunOverAll(file)) return true;
  const text = readOwn(file);
  return /\bstorages\b/.test(text) || (/\bmemory\b/.test(text) && /\blmdb\b/.test(text));
}

/** Runs its cases over this storage. */
function runsOn(storage: string, file: string): boolean {
  // What is killed and frozen shares a storage that outlives it: those of `test/crash/places.ts`.
  const outlives = storage === "lmdb" || storage === "postgres";
  return runsOnAll(file) || file.includes(storage) || (outlives && file.startsWith("test/crash/"));
}
