import { describe, expect, it } from "vitest";
import { root } from "./support/built.ts";
import { ownFiles, readOwn } from "./support/source-files.ts";

// Goal: docs/features.md promises nothing that no test proves, and hides nothing that is missing.
// Method: its tables are read: every row there is stands in one of them, once; cited tests exist by name. That they
// ran and passed, on the storages that the row names, is checked after a whole run by scripts/check-features.mjs,
// whose judgement is tested here.

interface Features {
  readonly built: readonly {
    readonly row: string;
    readonly what: string;
    readonly on: string;
    readonly citations: readonly { readonly file: string; readonly titles: readonly string[] }[];
  }[];
  readonly notApplying: readonly { readonly row: string; readonly why: string }[];
}

interface RanTest {
  readonly file: string;
  readonly name: string;
  readonly title: string;
  readonly status: string;
}

const { readFeatures, problemsIn, runsIn, testsIn } = (await import(
  new URL("scripts/features.mjs", `file://${root}`).href
)) as {
  readFeatures(text: string): Features;
  problemsIn(features: Features, tests: readonly RanTest[]): string[];
  runsIn(file: string): string;
  testsIn(report: unknown, folder: string): RanTest[];
};

/** How many rows each letter has. */
const ROWS = {
  ...{ A: 16, B: 19, C: 11, D: 12, E: 16, F: 13, G: 12 },
  ...{ H: 12, I: 10, J: 17, K: 8, L: 8, M: 9 },
};

/** Rows that need no test; whoever adds one decides something for the users. */
const NOT_APPLYING = ["E12", "L6", "M3"];

const { built, notApplying } = readFeatures(readOwn("docs/features.md"));
const committed = ownFiles();

describe("docs/features.md", () => {
  it("has every row once: built, or with the reason why it does not apply", () => {
    const all = Object.entries(ROWS).flatMap(([letter, n]) =>
      Array.from({ length: n }, (_, index) => `${letter}${index + 1}`),
    );
    const listed = [...built, ...notApplying].map(({ row }) => row);
    expect(listed.toSorted()).toEqual(all.toSorted());
  });

  it("says why in a sentence", () => {
    expect(notApplying.map(({ row }) => row)).toEqual(NOT_APPLYING);
    expect(notApplying.filter(({ why }) => !/^[A-Z].{40,}\.$/.test(why))).toEqual([]);
  });

  it.each(built)("$row is proven by tests that exist", ({ what, on, citations }) => {
    expect(what.length).toBeGreaterThan(20);
    expect(citations.length).toBeGreaterThan(0);
    for (const { file, titles } of citations) {
      expect(committed).toContain(file);
      expect(runsIn(file).endsWith(".test.ts"), file).toBe(true);
      expect(titles.length, file).toBeGreaterThan(0);
      const text = readOwn(file);
      for (const title of titles) expect(isTitleIn(text, title), `${file}: ${title}`).toBe(true);
    }
    expect(["all", "–", "memory", "lmdb", "postgres"]).toContain(on);
  });

  it("is checked in earnest", () => {
    expect(isTitleIn('it("does this", () => {});', "does this")).toBe(true);
    expect(isTitleIn('it("does this", () => {});', "does that")).toBe(false);
    expect(isTitleIn('it("does this, too", () => {});', "does this")).toBe(false);
    expect(isTitleIn('const text = "does this",', "does this")).toBe(false);
    expect(isTitleIn('{ name: "does this", run() {} }', "does this")).toBe(true);
  });
});

describe("the judgement of what ran", () => {
  const page = (on: string, proof: string): Features =>
    readFeatures(`## Built\n\n| A1 | what it does | ${on} | ${proof} |\n\n## Does not apply, and why\n`);
  const ran = (name: string, status = "passed", file = "test/a.test.ts"): RanTest => ({
    ...{ file, name, status },
    title: name.split(": ").at(-1) ?? "",
  });
  const proof = "`test/a.test.ts`: “one” · “two of %s”";
  const everywhere = ["memory", "lmdb", "postgres"].map((label) => ran(`on ${label}: one`));

  it("is content with what passed on every storage", () => {
    expect(problemsIn(page("all", proof), [...everywhere, ran("two of three")])).toEqual([]);
  });

  it.each<[what: string, on: string, tests: readonly RanTest[], problem: RegExp]>([
    ["did not run", "all", everywhere, /^A1: test\/a\.test\.ts: “two of %s” did not run$/],
    ["failed once", "all", [...everywhere, ran("two of 2"), ran("x: one", "failed")], /“one” failed$/],
    ["was skipped", "–", [ran("one", "skipped"), ran("two of 2")], /“one” was skipped$/],
    ["ran elsewhere", "–", [ran("one", "passed", "b.test.ts"), ran("two of 2")], /“one” did not run$/],
    [
      "lacks a storage",
      "all",
      [...everywhere.slice(1), ran("two of 2")],
      /^A1: none .* memory, lmdb, postgres$/,
    ],
    ["is of another storage", "postgres", [ran("on lmdb: one"), ran("two of 2")], /passed on postgres$/],
  ])("notices what %s", (_what, on, tests, problem) => {
    const problems = problemsIn(page(on, proof), tests);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(problem);
  });

  it("finds the cases of the shared suites where they run, and reads the report of vitest", () => {
    const report = {
      testResults: [
        {
          name: "/checkout/test/storage.test.ts",
          assertionResults: ["memory", "lmdb", "postgres"].map((label) => ({
            ...{ title: "keeps a dead job", status: "passed" },
            fullName: `storage contract: ${label} prune keeps a dead job`,
          })),
        },
      ],
    };
    const cited = page("all", "`src/testing/storage-suite/prune.ts`: “keeps a ${outcome.state} job”");
    expect(problemsIn(cited, testsIn(report, "/checkout/"))).toEqual([]);
    expect(problemsIn(cited, [])).toHaveLength(1);
  });
});

/** Whether a test or a case of a table has this name: a whole literal where such names stand. */
function isTitleIn(text: string, title: string): boolean {
  return text.split(title).some((before, index, pieces) => {
    const after = pieces[index + 1];
    return after !== undefined && /(?:[([]|\bname:)\s*["`]$/.test(before) && /^["`],/.test(after);
  });
}
