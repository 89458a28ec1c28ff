import { describe, expect, it } from "vitest";
import { root } from "./support/built.ts";
import { ownFiles, readOwn } from "./support/source-files.ts";

// Goal: the list of mutants does not rot while nobody runs it. `npm run mutants` runs it; that takes minutes.
// Method: every entry is whole, its text stands exactly once in the sources, and its tests exist.

interface Mutant {
  readonly name: string;
  readonly why: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly tests: readonly string[];
}

const { MUTANTS } = (await import(new URL("scripts/mutant-list.mjs", `file://${root}`).href)) as {
  readonly MUTANTS: readonly Mutant[];
};
const committed = ownFiles();

describe("the mutants", () => {
  it("are there, each with a name of its own", () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(40);
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    for (const { name } of MUTANTS) expect(name).toMatch(/^[a-z0-9]+(?:-[a-z0-9]+)*$/);
  });

  it.each(MUTANTS)("$name is whole and fits the sources", (mutant) => {
    expect(Object.keys(mutant).sort()).toEqual(["file", "find", "name", "replace", "tests", "why"]);
    expect(mutant.why.length).toBeGreaterThan(20);
    expect(mutant.file).toMatch(/^src\/.*(?<!\.test)\.ts$/);
    expect(mutant.replace).not.toBe(mutant.find);
    expect(readOwn(mutant.file).split(mutant.find).length - 1, `"${mutant.find}" in ${mutant.file}`).toBe(1);
  });

  it.each(MUTANTS)("$name names tests that exist", ({ tests: [file = "", flag, pattern, ...rest] }) => {
    expect(committed).toContain(file);
    expect(file).toMatch(/\.test\.ts$/);
    expect(rest).toEqual([]);
    if (flag === undefined) return;
    expect(flag).toBe("-t");
    // `npm run mutants` refuses a pattern that selects nothing; here only what would select everything.
    expect(pattern ?? "").toMatch(/\w{3}/);
  });
});
