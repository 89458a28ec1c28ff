import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { root } from "./support/built.ts";
import { type ExportedName, exportedNames } from "./support/public-names.ts";
import { readOwn } from "./support/source-files.ts";

// Goal: nothing becomes public by accident, nothing public goes without a word, nothing is undocumented.
// Method: the exports of each subpath are compared with public-names.json. A wanted change is written
// there by `JOBWRIGHT_UPDATE=1 npm test -- test/public-names.test.ts` and is then seen in the review.

const LIST = new URL("public-names.json", import.meta.url);

type Names = Record<string, { values: string[]; types: string[] }>;

const manifest = JSON.parse(readOwn("package.json")) as {
  exports: Record<string, string | { default: string }>;
};
const subpaths = Object.entries(manifest.exports).flatMap(([subpath, target]) =>
  typeof target === "string"
    ? []
    : [{ subpath, source: target.default.replace("./dist/", "src/").replace(/\.js$/, ".ts") }],
);

describe("the public names", () => {
  it("are those of public-names.json", () => {
    const names: Names = Object.fromEntries(
      subpaths.map(({ subpath, source }) => {
        const exported = exportedNames(source);
        return [subpath, { values: ofKind(exported, "value"), types: ofKind(exported, "type") }];
      }),
    );
    if (process.env["JOBWRIGHT_UPDATE"] === "1") writeFileSync(LIST, `${JSON.stringify(names, null, 2)}\n`);
    expect(names).toEqual(JSON.parse(readFileSync(LIST, "utf8")));
  });

  it.each(subpaths)("of $subpath are there at run time", async ({ source }) => {
    const module = (await import(/* @vite-ignore */ `${root}${source}`)) as object;
    expect(Object.keys(module).toSorted()).toEqual(ofKind(exportedNames(source), "value").toSorted());
  });

  it.each(subpaths)("of $subpath have docstrings", ({ source }) => {
    const silent = exportedNames(source).filter(({ documented }) => !documented);
    expect(silent.map(({ name, path }) => `${path}: ${name}`)).toEqual([]);
  });

  it("are described by types beside each file", () => {
    for (const [subpath, target] of Object.entries(manifest.exports)) {
      if (typeof target === "string") continue;
      expect(target, subpath).toEqual({
        types: target.default.replace(/\.js$/, ".d.ts"),
        default: target.default,
      });
    }
    expect(subpaths.filter(({ source }) => !existsSync(root + source))).toEqual([]);
  });
});

function ofKind(names: readonly ExportedName[], kind: ExportedName["kind"]): string[] {
  return names.filter((one) => one.kind === kind).map(({ name }) => name);
}
