import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { posix } from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "./support/built.ts";
import { command } from "./support/command.ts";
import { ownFiles, readOwn } from "./support/source-files.ts";

// Goal: what people read is true. Method: whatever a document names is looked up, and its samples compile.

const committed = ownFiles();
const documents = committed.filter((path) => path.endsWith(".md"));
const manifest = JSON.parse(readOwn("package.json")) as {
  scripts: Record<string, string>;
  exports: Record<string, string | { default: string }>;
};

describe("the documents", () => {
  it("are there", () => {
    expect(documents).toEqual(
      expect.arrayContaining([
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "README.md",
        "docs/errors.md",
      ]),
    );
  });

  it("link only to what exists", () => {
    expect(documents.flatMap((path) => brokenLinks(path, readOwn(path)))).toEqual([]);
    expect(
      brokenLinks("README.md", "[a](nowhere.md) [b](LICENSE) [c](#none) [d](https://example.com/x)\n"),
    ).toEqual(["README.md: nowhere.md", "README.md: #none"]);
  });

  it("name only commands that package.json has", () => {
    const named = documents.flatMap((path) =>
      [...readOwn(path).matchAll(/\bnpm run (?:-s |--silent )?([a-z][\w:-]*)/g)].map(
        (match) => match[1] ?? "",
      ),
    );
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !(name in manifest.scripts))).toEqual([]);
  });

  it("exist where the sources point to them", () => {
    const named = committed
      .filter((path) => path.startsWith("src/"))
      .flatMap((path) =>
        [...readOwn(path).matchAll(/\bdocs\/[\w/-]+\.md\b/g)].map(([name]) => `${path}: ${name}`),
      );
    expect(named.filter((entry) => !committed.includes(entry.split(": ")[1] ?? ""))).toEqual([]);
  });
});

describe("samples", () => {
  // A sample that imports something from "jobwright" is whole and must compile; others are fragments.
  const samples = documents.flatMap((path) =>
    [...readOwn(path).matchAll(/^```(?:ts|typescript)\n([\s\S]*?)^```$/gm)]
      .map((match, index) => ({ name: `${path.replaceAll(/\W/g, "-")}-${index + 1}`, code: match[1] ?? "" }))
      .filter(({ code }) => /^import .*"jobwright(?:\/\w+)?";/m.test(code)),
  );

  it("are there", () => {
    expect(samples.length).toBeGreaterThan(0);
  });

  it("compile", async () => {
    // Below node_modules, so that they find the same packages as everything else and are nobody's source.
    const folder = `${root}node_modules/.jobwright-samples`;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    for (const { name, code } of samples) writeFileSync(`${folder}/${name}.ts`, `${code}\nexport {};\n`);
    const paths = Object.fromEntries(
      Object.entries(manifest.exports).flatMap(([subpath, target]) =>
        typeof target === "string"
          ? []
          : [
              [
                `jobwright${subpath.slice(1)}`,
                [target.default.replace("./dist/", "../../src/").replace(/\.js$/, ".ts")],
              ],
            ],
      ),
    );
    const compilerOptions = {
      paths,
      declaration: false,
      declarationMap: false,
      isolatedDeclarations: false,
      noUnusedLocals: false,
      noUnusedParameters: false,
    };
    const files = samples.map(({ name }) => `${name}.ts`);
    writeFileSync(
      `${folder}/tsconfig.json`,
      JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, files, include: [] }),
    );
    const output = await command(process.execPath, ["node_modules/typescript/bin/tsc", "-p", folder], root);
    expect(output).toBe("");
    rmSync(folder, { recursive: true, force: true });
  });
});

/** Links of a document to files or headings that do not exist. */
function brokenLinks(path: string, text: string): string[] {
  const prose = text.replaceAll(/^```[\s\S]*?^```/gm, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? "")
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [file = "", heading] = link.split("#");
      const target = file === "" ? path : posix.join(posix.dirname(path), file);
      if (!existsSync(root + target)) return true;
      return heading !== undefined && target.endsWith(".md") && !headings(readOwn(target)).has(heading);
    })
    .map((link) => `${path}: ${link}`);
}

/** Anchors as GitHub and npm make them. */
function headings(text: string): Set<string> {
  const titles = [...text.replaceAll(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ (.*)$/gm)].map(
    (match) => match[1] ?? "",
  );
  return new Set(
    titles.map((title) =>
      title
        .trim()
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
